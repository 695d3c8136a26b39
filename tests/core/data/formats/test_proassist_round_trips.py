"""Round trips of rows with any keys, and the result of reading rows of every published kind."""

from __future__ import annotations

import copy
import json
import random
from dataclasses import replace
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prospect_core.cli.commands import prospect
from prospect_core.data.formats.proassist import (
    episode_from_proassist_row,
    episode_to_proassist_row,
    read_proassist_episodes,
)
from prospect_core.data.formats.proassist_rows import PROGRESS_BEFORE, SUPERVISED_FROM
from prospect_core.timeline import Episode, Event, Step, Task
from prospect_core.util.errors import UserError
from prospect_core.util.json_io import dump_json, load_json
from tests.helpers.commands import call, one_line
from tests.helpers.proassist_rows import PREPARED, clips_of_training, narration

OURS = Episode(
    "ours", "v.mp4", 2, 0, 40, Task("tea", (Step("S1", "boil"),)),
    (
        Event("u", 2.0, "user", "How?"),
        Event("d", 5.0, "transition", step="S1", change="start"),
        Event("a", 6.0, "assistant", "Boil.", labels="responsive|instruction", progress="5 s."),
    ),
    user_type="no_talk", dataset="x", summary="Done.",
)  # fmt: skip
#: optional keys of a row or a turn
_ROW_KEYS = ("clip_idx", "max_seq_len", "seq_len", "num_tokens_per_img", "use_img_sep_token", "metadata")
_META_KEYS = ("user_type", "user_id", "task_goal", "knowledge", "progress", "quality", "has_summary")
_TURN_KEYS = ("labels", "progress")
_NEW_KEYS = ("id", "start", "end", "speaking", "x-note", "é")
_NEW_VALUES = (None, 0, -1.5, "", "text", [1, None], {"a": {}})


def again(episode: Episode) -> Episode:
    """Return the episode after a round trip through a dataset's file."""
    return load_json(Episode, dump_json(episode), "x")


def returned(row: dict[str, Any]) -> str:
    return json.dumps(episode_to_proassist_row(again(episode_from_proassist_row(row).validate())))


def _alter(rng: random.Random, mapping: dict[str, Any], optional: tuple[str, ...]) -> None:
    """Drop, null and add keys."""
    for key in optional:
        chance = rng.random()
        if chance < 0.3:
            mapping.pop(key, None)
        elif chance < 0.5:
            mapping[key] = None
    for key in _NEW_KEYS:
        if rng.random() < 0.2:
            mapping.setdefault(key, rng.choice(_NEW_VALUES))


def altered(row: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """A row with dropped, null and added keys in another order, and with frames split into several
    turns.
    """
    row = copy.deepcopy(row)
    ours = "prospect" in (row["metadata"] or {})
    _alter(rng, row, _ROW_KEYS[:-1] if ours else _ROW_KEYS)
    if isinstance(row.get("metadata"), dict):
        _alter(rng, row["metadata"], () if ours else _META_KEYS)
    turns: list[dict[str, Any]] = []
    for turn in row["conversation"]:
        if turn["role"] == "frames" and rng.random() < 0.3:
            middle = rng.randint(turn["start"], turn["end"])
            turns += [{**turn, "end": middle}, {**turn, "start": middle}]
        else:
            turns.append(turn)
    for turn in turns:
        if turn["role"] in ("user", "assistant"):
            _alter(rng, turn, _TURN_KEYS)
            items = list(turn.items())
            rng.shuffle(items)
            turn.clear()
            turn.update(items if rng.random() < 0.5 else sorted(items))
    return row | {"conversation": turns}


_KINDS = st.sampled_from([PREPARED, *clips_of_training(), narration(), episode_to_proassist_row(OURS)])


@hypothesis.settings(max_examples=300)
@given(_KINDS, st.integers(0, 2**32))
def test_proassist_row_any_keys_round_trips(kind, seed):
    row = altered(kind, random.Random(seed))
    assert returned(row) == json.dumps(row)


def test_proassist_row_null_filled_round_trips():
    keys = ("role", "content", "start", "end", "time", "labels", "progress")
    turns = [{key: turn.get(key) for key in keys} for turn in PREPARED["conversation"]]
    row = {**PREPARED, "conversation": turns}
    assert returned(row) == json.dumps(row)


def test_proassist_row_two_frames_turns_keep_system_prompt():
    turns = list(PREPARED["conversation"])
    turns[1:2] = [{"role": "frames", "start": 4, "end": 6}, {"role": "frames", "start": 6, "end": 9}]
    row = {**PREPARED, "conversation": turns}
    assert returned(row) == json.dumps(row)


def test_proassist_row_changed_text_keeps_unknown_keys():
    turns = copy.deepcopy(PREPARED["conversation"])
    turns[5] = {"note": 7, **turns[5]}
    del turns[5]["progress"]
    episode = episode_from_proassist_row({**PREPARED, "conversation": turns})
    changed = replace(episode, events=(episode.events[0], replace(episode.events[1], text="Heat."), episode.events[2]))
    back = episode_to_proassist_row(changed)
    assert back["conversation"][5] == {**turns[5], "content": "Heat."}
    assert episode_from_proassist_row(back).events == changed.events


def test_proassist_row_final_summary_is_no_utterance():
    first, second = (episode_from_proassist_row(row).validate() for row in clips_of_training())
    assert (first.start_frame, first.end_frame) == (4, 31)
    assert [u.text for u in first.utterances()] == ["Boil.", "Good."]
    assert first.summary == "Water boils."
    assert [(u.frame, u.text) for u in second.utterances()] == [(49, "Pour.")]


def test_proassist_row_later_clip_has_supervised_start(tmp_path):
    file = tmp_path / "dialog-klg-sum_train_L4096_I1.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in clips_of_training()))
    first, second = read_proassist_episodes(file)
    assert SUPERVISED_FROM not in first.meta
    assert (second.meta[SUPERVISED_FROM], second.meta[PROGRESS_BEFORE]) == ("30", "Water boils.")
    assert [json.dumps(episode_to_proassist_row(again(e))) for e in (first, second)] == file.read_text().splitlines()


def test_proassist_row_narration_is_at_end_of_frames():
    episode = episode_from_proassist_row(narration()).validate()
    assert [(u.frame, u.text, u.events[0].time) for u in episode.utterances()] == [
        (19, "User picks up a cup.", 10.0),
        (29, "User washes a cup.", 15.0),
    ]


def test_proassist_row_of_one_picture_is_read():
    turns = [
        {"role": "system", "content": "Describe."},
        {"role": "frames", "start": 3, "end": 4},
        {"role": "user", "content": "What is it?"},
        {"role": "assistant", "content": "A cup."},
    ]
    row = {**narration(), "start_frame_idx": 3, "end_frame_idx": 5, "conversation": turns}
    episode = episode_from_proassist_row(row).validate()
    assert [e.text for e in episode.events] == ["What is it?", "A cup."]
    assert returned(row) == json.dumps(row)


@pytest.mark.parametrize(
    ("turn", "line"),
    [
        ({"time": "4.5"}, "turn 5 (assistant): time is '4.5'; a number of seconds is needed"),
        ({"labels": 3}, "turn 5 (assistant): labels is 3; text is needed"),
        ({"content": ["x"]}, "turn 5 (assistant): content is ['x']; text is needed"),
    ],
)
def test_proassist_row_turn_of_wrong_type_raises(turn, line):
    turns = copy.deepcopy(PREPARED["conversation"])
    turns[5] |= turn
    with pytest.raises(UserError) as error:
        episode_from_proassist_row({**PREPARED, "conversation": turns})
    assert str(error.value) == line


def test_proassist_generated_dialogues_equal_script_rows(tmp_path):
    said = [
        {"role": "user", "time": 7.8, "content": "Help me.", "labels": ""},
        {
            "role": "assistant",
            "time": 7.9,
            "content": "Unscrew it.",
            "labels": "initiative|instruction",
            "progress": "p",
        },
        {"role": "assistant", "time": 10.5, "content": "The next.", "labels": "initiative|instruction"},
    ]
    video = {
        "video_uid": "assembly_nusar_a",
        "inferred_goal": "toy",
        "inferred_knowledge": "Toy\n1. unscrew",
        "video_labels": {},
        "conversations": [
            {"conversation": said, "user_type": "no_talk", "auto_quality_eval": {"final_score": 9.0}},
            {"conversation": said[:2], "user_type": "talk_some"},
        ],
        "parsed_video_anns": {"dataset": "assembly101", "video_start_time": 5.5, "duration": 60},
    }
    (tmp_path / "test_filtered.json").write_text(json.dumps([video]))
    first, second = read_proassist_episodes(tmp_path / "test_filtered.json")
    # floor(7.8 * 2) = 15: the user turn follows frame 14, the answer is a frame later
    assert [(d.event.kind, d.frame) for d in first.decisions()] == [("user", 14), ("assistant", 15), ("assistant", 20)]
    assert (first.start_frame, first.end_frame, first.video) == (11, 21, "frames/nusar_a.arrow")
    assert [e.user_type for e in (first, second)] == ["no_talk", "talk_some"]
    row = episode_to_proassist_row(again(first))
    assert row["conversation"][2] == said[0]
    assert row["conversation"][-1] == said[2]
    assert row["metadata"]["quality"] == 9.0


def test_proassist_rows_real_ones_round_trip(shared_data):
    for name, count in (("proassist_train_L4096.jsonl", 6), ("proassist_narration.jsonl", 1)):
        file = shared_data / "origin" / name
        given_rows = [json.loads(line) for line in file.read_text().splitlines() if line.strip()]
        episodes = read_proassist_episodes(file)
        assert len(episodes) == count
        assert [episode_to_proassist_row(again(episode)) for episode in episodes] == given_rows
        for row, episode in zip(given_rows, episodes, strict=True):
            timed = [t for t in row["conversation"] if t["role"] == "assistant"]
            summaries = bool((row["metadata"] or {}).get("has_summary"))
            assert sum(e.kind == "assistant" for e in episode.events) == len(timed) - summaries
            assert not summaries or episode.summary == timed[-1]["content"]


def test_import_lone_surrogate_is_one_line(tmp_path, capsys):
    """Such a row was read before, and writing the dataset ended in a traceback."""
    for key, text in (("note", "\ud800"), ("note", "whole \U0001f600")):
        file = tmp_path / "rows.jsonl"
        file.write_text(json.dumps({**PREPARED, key: text}) + "\n")
        code = call(prospect, "data", "import", file, "--output", tmp_path / f"set{len(text)}")
        if text == "\ud800":
            assert code == 3
            assert one_line(capsys).endswith("rows.jsonl: row 1: '\\ud800' is half a Unicode character; remove it")
        else:
            assert code == 0
