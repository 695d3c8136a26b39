"""Clips of the DST extension: every published form is read and exported unchanged, and exported
episodes pass its checks.
"""

from __future__ import annotations

import copy
import json
import random
from dataclasses import replace
from typing import Any

import pytest

from prospect_core.cli.commands import prospect
from prospect_core.data.dataset import Dataset
from prospect_core.data.formats.proassist import (
    episode_from_proassist_dst,
    episode_from_proassist_row,
    episode_to_proassist_dst,
    read_proassist_episodes,
)
from prospect_core.data.formats.proassist_dst_changes import ANNOTATED, REPAIRED
from prospect_core.timeline import DialogState, Episode, Event, Step, Task
from prospect_core.util.errors import UserError
from prospect_core.util.json_io import dump_json, load_json
from tests.helpers.commands import call
from tests.helpers.dst_validators import collator_events, flat_timestamp_problems, training_format_problems
from tests.helpers.proassist_rows import PREPARED, clips_of_training, narration

STEPS = [
    {"type": "step", "id": "S1", "start_ts": 5.0, "end_ts": 10.0, "name": "boil"},
    {"type": "step", "id": "S2", "start_ts": 10.0, "end_ts": 20.0, "name": "pour"},
]


def again(episode: Episode) -> Episode:
    return load_json(Episode, dump_json(episode), "x").validate()


def update(time: float, step: str, change: str, start: int, end: int) -> dict[str, Any]:
    return {
        "role": "DST_UPDATE", "time": time, "content": [{"id": step, "transition": change}], "start_frame": start,
        "end_frame": end, "dst_state": {}, "labels": "x", "speaking": 0, "dst_update": 1,
    }  # fmt: skip


def said(time: float, role: str, text: str, start: int, end: int) -> dict[str, Any]:
    return {
        "role": role, "content": text, "time": time, "labels": f"{role}|generic", "start_frame": start, "end_frame": end,
        "speaking": int(role == "assistant"), "dst_update": 0,
    }  # fmt: skip


def clip(**changes: Any) -> dict[str, Any]:
    """A whole dialogue as the extension writes it.

    It has no ``frames_file``. Each turn lasts from the end of the previous turn to its own time,
    and the last one ends on ``end_frame_idx``.
    """
    turns = [
        {"role": "system", "content": "Help.", "start_frame": 0, "end_frame": 1, "labels": "system|generic"},
        update(5.0, "S1", "start", 0, 10),
        said(5.0, "user", "What now?", 10, 10),
        said(5.1, "assistant", "Boil it.", 10, 10),
        update(10.0, "S1", "complete", 10, 20),
        update(10.0, "S2", "start", 20, 20),
        said(14.0, "assistant", "Pour it.", 20, 28),
        update(20.0, "S2", "complete", 28, 40),
        said(20.0, "assistant", "Done.", 40, 40),
    ]
    whole = {
        "video_uid": "assembly_nusar_a", "inferred_goal": "tea", "inferred_knowledge": "Tea\n1. boil\n2. pour",
        "video_labels": {}, "conversation": turns, "dst": STEPS, "user_type": "no_talk", "start_frame_idx": 0,
        "end_frame_idx": 40, "_dst_transitions": [], "metadata": {"user_type": "no_talk", "knowledge": []},
        "seq_len": 90, "dataset": "assembly101", "clip_idx": 0, "max_seq_len": 4096, "num_tokens_per_img": 1, "fps": 2,
        "quality": 3.5, "id": "0", "start_frame": 0, "end_frame": 40, "initial_dst_state": {},
    }  # fmt: skip
    return {**whole, **changes}


def test_dst_clip_without_frames_file_is_read():
    episode = episode_from_proassist_dst(clip()).validate()
    assert (episode.start_frame, episode.end_frame, episode.video) == (0, 40, "frames/nusar_a.arrow")
    assert episode.transitions() == [
        (10, "S1", "start"),
        (20, "S1", "complete"),
        (20, "S2", "start"),
        (39, "S2", "complete"),
    ]
    assert [(u.frame, u.text) for u in episode.utterances()] == [(11, "Boil it."), (28, "Pour it."), (39, "Done.")]
    assert json.dumps(episode_to_proassist_dst(again(episode))) == json.dumps(clip())


def test_dst_clip_wrong_initial_state_is_repaired():
    turns = clip()["conversation"]
    first = clip(conversation=turns[:7], initial_dst_state={"S1": "completed", "S2": "in_progress"}, end_frame_idx=20)
    episode = episode_from_proassist_dst(first).validate()
    assert episode.initial is None
    assert episode.meta[REPAIRED] == "S1 completed -> not_started; S2 in_progress -> not_started"
    # the turn at 14.0 s is after the clip's stated end, which covers only updates
    assert episode.end_frame == 29
    assert episode_to_proassist_dst(again(episode)) == first


def test_dst_clip_later_part_infers_initial_states():
    turns = clip()["conversation"]
    second = clip(conversation=[turns[0], *turns[6:]], initial_dst_state={}, start_frame_idx=30, clip_idx=1)
    episode = episode_from_proassist_dst(second).validate()
    assert episode.initial == DialogState(("S1", "S2"), ("completed", "in_progress"))
    # the turn at 14.0 s, which both clips have, is before this clip's stated start
    assert episode.start_frame == 28
    assert episode_to_proassist_dst(again(episode)) == second


def test_dst_clips_of_one_video_are_separate_episodes(tmp_path):
    clips = [clip(user_type=user, id=str(k)) for k, user in enumerate(("no_talk", "talk_some", "talk_more"))]
    (tmp_path / "test.json").write_text(json.dumps(clips))
    assert len({episode.id for episode in read_proassist_episodes(tmp_path / "test.json")}) == 3


@pytest.mark.parametrize(
    ("words", "kept", "carried"),
    [
        (("start", "pause", "resume", "complete"), ["start", "complete"], "S1->pause at 2 s; S1->resume at 3 s"),
        (("start", "cancel"), ["start"], "S1->cancel at 2 s"),
        (("start", "fail", "start"), ["start"], "S1->fail at 2 s; S1->start at 3 s"),
        (("start", "complete", "reset", "start"), ["start", "complete", "reopen"], "S1->reset at 3 s"),
        (("start", "complete", "start"), ["start", "complete", "reopen"], None),
        (("start", "complete", "complete"), ["start", "complete"], "S1->complete at 3 s"),
    ],
)
def test_dst_clip_changes_are_applied_or_carried(words, kept, carried):
    turns = [update(float(k), "S1", word, 2 * k, 2 * k + 1) for k, word in enumerate(words, 1)]
    given = clip(conversation=turns, dst=STEPS[:1])
    episode = episode_from_proassist_dst(given).validate()
    assert [change for _, _, change in episode.transitions()] == kept
    assert episode.meta.get(ANNOTATED) == carried
    assert episode_to_proassist_dst(again(episode)) == given


def test_dst_clip_events_form_round_trips():
    events = [
        {"frame_idx": 4, "speaking": 0, "dst_update": 1, "dst_updates": ["S1->start"], "response": None},
        {
            "frame_idx": 9,
            "speaking": 1,
            "dst_update": 1,
            "dst_updates": ["S1->complete", "S2->start"],
            "response": "Pour.",
        },
    ]
    given = {"video_uid": "v", "clip_idx": 0, "start_frame": 2, "end_frame": 12, "events": events, "dataset": "wtag"}
    episode = episode_from_proassist_dst(given).validate()
    assert episode.transitions() == [(4, "S1", "start"), (9, "S1", "complete"), (9, "S2", "start")]
    assert [(u.frame, u.text) for u in episode.utterances()] == [(9, "Pour.")]
    assert (episode.start_frame, episode.end_frame, episode.fps) == (2, 12, 2.0)
    assert json.dumps(episode_to_proassist_dst(again(episode))) == json.dumps(given)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"conversation": [update(1.0, "S1", "begin", 0, 1)]}, "turn 0 (DST_UPDATE): transition 'begin' is unknown"),
        (
            {"conversation": [{**update(1.0, "S1", "start", 0, 1), "content": [7]}]},
            "turn 0 (DST_UPDATE): 7 is not an update",
        ),
        ({"conversation": [{**said(1.0, "user", "x", 0, 1), "time": None}]}, "turn 0 (user): time is None"),
        (
            {"conversation": [update(1.0, "S9", "start", 0, 1)]},
            "turn 0 names step 'S9'; the clip's steps (dst): S1, S2",
        ),
        ({"end_frame_idx": "9"}, "end_frame_idx is '9'"),
        ({"fps": 0}, "fps is 0"),
        ({"initial_dst_state": {"S1": "asleep"}}, "the initial state names 'asleep'"),
    ],
)
def test_dst_clip_error_names_field(changes, line):
    with pytest.raises(UserError) as error:
        episode_from_proassist_dst(clip(**changes))
    assert line in str(error.value)


def test_dst_clip_with_altered_keys_round_trips():
    for seed in range(200):
        rng = random.Random(seed)
        given = clip()
        for key in (
            "user_type",
            "id",
            "video_labels",
            "quality",
            "metadata",
            "initial_dst_state",
            "inferred_knowledge",
        ):
            if rng.random() < 0.4:
                given.pop(key)
            elif rng.random() < 0.3:
                given[key] = None
        given["note"] = [seed]
        for turn in given["conversation"]:
            for key in ("labels", "start_frame", "end_frame", "dst_state", "speaking"):
                if rng.random() < 0.3:
                    turn.pop(key, None)
            turn["x"] = None
        assert json.dumps(episode_to_proassist_dst(again(episode_from_proassist_dst(given)))) == json.dumps(given)


def ours() -> Episode:
    """A clip that begins late, with one step completed before, one reopened and one never started."""
    steps = (Step("S1", "boil"), Step("S2", "pour"), Step("S3", "drink"))
    events = (
        Event("u", 11.0, "user", "What now?"),
        Event("r", 12.0, "transition", step="S1", change="reopen"),
        Event("a", 12.5, "assistant", "Boil again.", labels="responsive|correction", slots={"step": "boil"}),
        Event("c", 14.0, "transition", step="S1", change="complete"),
    )
    return Episode(
        "e", "videos/v.mp4", 2, 20, 60, Task("tea", steps), events,
        DialogState(("S1", "S2", "S3"), ("completed", "completed", "not_started"), (("S1", 1.0), ("S2", 2.0))),
        "talk_more", "kitchen",
    ).validate()  # fmt: skip


def exported_problems(clips: list[dict[str, Any]]) -> list[str]:
    return [problem for one in clips for problem in training_format_problems(one) + flat_timestamp_problems(one)]


def test_dst_export_passes_extension_checks(world):
    clips = [episode_to_proassist_dst(episode) for split in world.splits for episode in world.episodes(split)]
    clips += [
        episode_to_proassist_dst(episode_from_proassist_row(row))
        for row in (PREPARED, narration(), *clips_of_training())
    ]
    assert exported_problems([*clips, episode_to_proassist_dst(ours())]) == []


def test_dst_export_collator_finds_events_on_their_frames():
    events = collator_events(episode_to_proassist_dst(ours()))
    assert events == {
        4: [("update", "S1->reset"), ("update", "S1->start")],
        5: [("assistant", "Boil again.")],
        8: [("update", "S1->complete")],
    }


def test_dst_export_round_trips_whole_episode(world):
    for episode in [*world.episodes("test"), ours()]:
        assert episode_from_proassist_dst(json.loads(json.dumps(episode_to_proassist_dst(episode)))) == episode


def test_dst_export_added_key_round_trips():
    written = {**json.loads(json.dumps(episode_to_proassist_dst(ours()))), "note": 1}
    episode = again(episode_from_proassist_dst(written))
    assert episode_to_proassist_dst(episode) == written


def test_dst_clip_contradicting_metadata_raises():
    written = copy.deepcopy(episode_to_proassist_dst(ours()))
    written["conversation"][3]["content"] = "Cool it."
    with pytest.raises(UserError, match=r"metadata\.prospect"):
        episode_from_proassist_dst(json.loads(json.dumps(written)))


def test_dst_clip_without_metadata_is_read_equally():
    written = episode_to_proassist_dst(ours())
    del written["metadata"]["prospect"]
    # the extension counts frames from the start of the clip, so turns are placed by their times
    plain = episode_from_proassist_dst(written).validate()
    assert plain.transitions() == ours().transitions()
    assert [u.text for u in plain.utterances()] == ["Boil again."]
    assert plain.initial is not None
    assert plain.initial.states == ("completed", "completed", "not_started")


def test_import_dst_clips_reports_repairs(tmp_path, capsys):
    turns = clip()["conversation"]
    turns.insert(6, update(12.0, "S2", "pause", 20, 24))
    (tmp_path / "val.json").write_text(json.dumps([clip(conversation=turns, initial_dst_state={"S1": "completed"})]))
    assert call(prospect, "data", "import", tmp_path / "val.json", "--split", "val", "--output", tmp_path / "set") == 0
    told = capsys.readouterr().out
    assert (
        "1 clip had a wrong initial state, the first: assembly_nusar_a.no_talk.0 (S1 completed -> not_started)" in told
    )
    assert (
        "1 clip names state changes kept as annotation only, the first: assembly_nusar_a.no_talk.0 (S2->pause at 12 s)"
        in told
    )
    (episode,) = Dataset.open(tmp_path / "set").episodes("val")
    assert episode.transitions()[0] == (10, "S1", "start")


def test_dst_clips_real_ones_round_trip(shared_data):
    for name, count in (("dst_clips_whole.json", 3), ("dst_clips_split.json", 12)):
        file = shared_data / "origin" / name
        given = json.loads(file.read_text())
        episodes = read_proassist_episodes(file)
        assert len(episodes) == len({episode.id for episode in episodes}) == count
        assert [episode_to_proassist_dst(again(episode)) for episode in episodes] == given
        for row, episode in zip(given, episodes, strict=True):
            roles = [turn["role"] for turn in row["conversation"]]
            assert len(episode.events) == sum(role != "system" for role in roles)
            fresh = episode_to_proassist_dst(replace(episode, meta={}))
            assert exported_problems([fresh]) == []
