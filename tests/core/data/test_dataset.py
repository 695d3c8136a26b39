"""Datasets on disk, the origin's formats, and the data commands."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from prospect_core.cli.commands import prospect
from prospect_core.data.dataset import Dataset, write_dataset
from prospect_core.data.formats.proassist import (
    episode_from_proassist_dst,
    episode_from_proassist_row,
    episode_to_proassist_dst,
    episode_to_proassist_row,
    parse_proassist_recipe_steps,
    proassist_matching_window,
    read_proassist_episodes,
)
from prospect_core.data.frame_format import FrameFormat
from prospect_core.data.stats import compute_dataset_stats, make_dataset_stats_table
from prospect_core.data.validate import validate_dataset
from prospect_core.data.video import write_video_frames_file
from prospect_core.timeline import DialogState, Episode, Event, Step, Task
from prospect_core.util.errors import DataError, UserError
from prospect_core.util.json_io import dump_json, load_json
from tests.helpers.media import write_grey
from tests.helpers.proassist_rows import PREPARED

CLIP = {
    "video_uid": "v2", "inferred_goal": "tea", "inferred_knowledge": "Tea\n1. boil\n2. pour", "video_labels": {},
    "conversation": [
        {"role": "system", "content": "Help.", "start_frame": 0, "end_frame": 1, "labels": "system|generic"},
        {"role": "DST_UPDATE", "content": [{"id": "S1", "transition": "start"}], "time": 10.0, "start_frame": 19,
         "end_frame": 21, "dst_state": {"S1": "not_started"}, "labels": "initiative|dst_update,dst_start,steps_1"},
        {"role": "assistant", "content": "Boil.", "time": 10.0, "labels": "assistant|generic", "start_frame": 19,
         "end_frame": 21, "dst_state": {"S1": "in_progress"}},
        {"role": "DST_UPDATE", "content": [{"id": "S1", "transition": "complete"}], "time": 20.0, "start_frame": 21,
         "end_frame": 40, "dst_state": {"S1": "in_progress"}, "labels": "x"},
    ],
    "dst": [{"type": "step", "id": "S1", "start_ts": 10.0, "end_ts": 20.0, "name": "boil"},
            {"type": "step", "id": "S2", "start_ts": 20.0, "end_ts": 25.0, "name": "pour"}],
    "frames_file": "frames/v2.arrow", "start_frame_idx": 19, "end_frame_idx": 50, "seq_len": 8, "dataset": "assembly101",
    "clip_idx": 0, "max_seq_len": 4096, "num_tokens_per_img": 1, "fps": 2, "quality": 3.5,
}  # fmt: skip


def test_proassist_row_round_trips_with_frames():
    episode = episode_from_proassist_row(PREPARED).validate()
    assert [(d.event.kind, d.frame) for d in episode.decisions()] == [
        ("user", 8),
        ("assistant", 9),
        ("assistant", 20),
    ]
    assert (episode.task.goal, episode.task.steps, episode.user_type) == ("tea", (), "talk_some")
    assert episode.utterances()[0].responsive
    back = episode_to_proassist_row(load_json(Episode, dump_json(episode), "x"))
    assert back == PREPARED
    assert list(back) == list(PREPARED)


def test_proassist_row_reply_on_user_frame_is_kept():
    """The published reader drops it silently; PROSPECT decides it on the next frame."""
    turns = [t for k, t in enumerate(PREPARED["conversation"]) if k not in (3, 4)]
    turns[3] = {**turns[3]}
    episode = episode_from_proassist_row({**PREPARED, "conversation": turns}).validate()
    assert [(d.event.text, d.frame) for d in episode.decisions()][:2] == [("Hello", 8), ("Boil.", 9)]


def test_dst_clip_round_trips_and_time_overrides_anchor():
    episode = episode_from_proassist_dst(CLIP).validate()
    # frame 19 is within a second of 10.0 s and is kept; frame 21 for 20.0 s belongs to the previous
    # turn and is dropped
    assert episode.transitions() == [(19, "S1", "start"), (40, "S1", "complete")]
    assert [s.name for s in episode.task.steps] == ["boil", "pour"]
    back = episode_to_proassist_dst(load_json(Episode, dump_json(episode), "x"))
    assert back == CLIP
    assert list(back) == list(CLIP)


def test_workbench_episode_round_trips_both_formats(world):
    for episode in world.episodes("test"):
        assert (
            episode_from_proassist_row(json.loads(json.dumps(episode_to_proassist_row(episode)))).validate() == episode
        )
        clip = episode_from_proassist_dst(json.loads(dump_json(episode_to_proassist_dst(episode)))).validate()
        assert clip.transitions() == episode.transitions()
        assert clip.task.steps == episode.task.steps


def test_workbench_clip_round_trips_with_state(world):
    episode = max(world.episodes("test"), key=lambda e: len(e.events))
    clip = episode.window(30, 120)
    assert clip.initial is not None
    assert episode_from_proassist_row(json.loads(json.dumps(episode_to_proassist_row(clip)))) == clip


def test_proassist_row_without_extras_has_same_turns(world):
    """Without the extra keys the row gives the same turns on the same frames in ProAssist's own
    reader.
    """
    episode = max(world.episodes("test"), key=lambda e: len(e.events))
    row = episode_to_proassist_row(episode)
    del row["metadata"]["prospect"]
    plain = episode_from_proassist_row(row).validate()
    assert [(u.frame, u.text) for u in plain.utterances()] == [(u.frame, u.text) for u in episode.utterances()]
    assert [(f, e.text) for f, e in plain.user_turns()] == [(f, e.text) for f, e in episode.user_turns()]
    assert [e.progress for e in plain.events] == [e.progress for e in episode.events if e.kind != "transition"]


def test_proassist_row_all_event_fields_round_trip(world):
    """A user's progress and a transition's text were lost, and a line separator in a text split the
    row.
    """
    events = (
        Event("u", 1.0, "user", "Hi\u2028there\n", progress="p", slots={"a": "ü"}),
        Event("d", 2.0, "transition", "because", step="S1", change="start", labels="x", slots={"a": "b"}, progress="q"),
        Event("a", 3.0, "assistant", "Yes\x85", labels="initiative|other", accepted=("v",)),
    )
    episode = replace(next(world.episodes("test")), events=events, meta={"note": "\u2028"}).validate()
    assert episode_from_proassist_row(json.loads(json.dumps(episode_to_proassist_row(episode)))) == episode


def test_proassist_rows_with_odd_line_breaks_are_read(world, tmp_path):
    episode = next(world.episodes("test"))
    odd = replace(episode, events=(replace(episode.events[0], text="a\u2028b\x85c"), *episode.events[1:]))
    (tmp_path / "x.jsonl").write_text(json.dumps(episode_to_proassist_row(odd), ensure_ascii=False) + "\n")
    assert read_proassist_episodes(tmp_path / "x.jsonl") == [odd]


@pytest.mark.parametrize("source", [PREPARED, CLIP])
def test_imported_episode_exports_in_both_formats(source):
    """An export put turns of one format into rows of the other, and a changed episode lost its
    changes.
    """
    episode = (episode_from_proassist_dst if "dst" in source else episode_from_proassist_row)(source)
    assert episode_from_proassist_row(episode_to_proassist_row(episode)) == episode
    assert episode_from_proassist_dst(episode_to_proassist_dst(episode)).transitions() == episode.transitions()
    clip = episode.window(episode.start_frame, 25)
    assert episode_from_proassist_row(episode_to_proassist_row(clip)) == clip
    changed = replace(episode, user_type="talk_more", task=replace(episode.task, goal="other"))
    assert episode_from_proassist_row(episode_to_proassist_row(changed)) == changed


def test_proassist_row_wrong_extras_raise(world):
    row = episode_to_proassist_row(next(world.episodes("test")))
    for key, value in (("meta", 5), ("file_order", "x"), ("id", 7)):
        extra = {**row["metadata"]["prospect"], key: value}
        with pytest.raises((UserError, DataError)):
            episode_from_proassist_row({**row, "metadata": {**row["metadata"], "prospect": extra}})


def test_proassist_row_contradicting_extras_raise(world):
    row = episode_to_proassist_row(next(world.episodes("test")))
    turns = [t for t in row["conversation"] if t["role"] != "frames"]
    for conversation in (turns, row["conversation"][:-4], [*row["conversation"], turns[-1]]):
        with pytest.raises(UserError, match=r"metadata\.prospect"):
            episode_from_proassist_row({**row, "conversation": conversation})


def test_export_command_dataset_round_trips(world, tmp_path, capsys):
    from prospect_core.cli.commands import prospect
    from prospect_core.data.dataset import Dataset

    for args in (["export", world.root, "--output", tmp_path / "rows"],
                 ["import", tmp_path / "rows", "--output", tmp_path / "back"],
                 ["export", world.root, "--output", tmp_path / "clips", "--format", "dst"]):  # fmt: skip
        with pytest.raises(SystemExit) as stop:
            prospect(["data", *map(str, args)])
        assert stop.value.code == 0
    back = Dataset.open(tmp_path / "back")
    assert set(back.splits) == set(world.splits)
    assert all(list(back.episodes(s)) == list(world.episodes(s)) for s in world.splits)
    assert len(json.loads((tmp_path / "clips" / "test.json").read_text())) == 6
    (tmp_path / "rows" / "test.json").write_text("[]")
    with pytest.raises(SystemExit) as stop:
        prospect(["data", "import", str(tmp_path / "rows"), "--output", str(tmp_path / "twice")])
    assert (stop.value.code, "the same split" in capsys.readouterr().err) == (2, True)
    for args, text in ((["export", world.root, "--output", tmp_path / "rows"], "already exists"),
                       (["export", world.root, "--output", tmp_path / "x", "--format", "csv"], "dst, proassist")):  # fmt: skip
        with pytest.raises(SystemExit) as stop:
            prospect(["data", *map(str, args)])
        assert stop.value.code == 2
        assert text in capsys.readouterr().err


def test_dst_clip_initial_state_round_trips():
    clip = {**CLIP, "initial_dst_state": {"S2": "completed"}}
    episode = episode_from_proassist_dst(clip).validate()
    assert episode.initial_state == DialogState(("S1", "S2"), ("not_started", "completed"))
    assert episode_to_proassist_dst(replace(episode, meta={}))["initial_dst_state"] == {
        "S1": "not_started",
        "S2": "completed",
    }
    with pytest.raises(UserError, match="step 'S7'"):
        episode_from_proassist_dst({**CLIP, "initial_dst_state": {"S7": "completed"}})


def test_origin_rows_real_ones_round_trip(shared_data):
    path = shared_data / "origin" / "proassist_prepared.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row, episode in zip(rows, read_proassist_episodes(path), strict=True):
        assert episode_to_proassist_row(episode) == row
        frames = [turn["end"] - 1 for turn in row["conversation"] if turn["role"] == "frames"]
        assert {d.frame for d in episode.decisions()} <= set(frames)
    path = shared_data / "origin" / "prospect_dst_clip.json"
    (episode,) = read_proassist_episodes(path)
    assert episode_to_proassist_dst(episode) == json.loads(path.read_text())
    assert len(episode.transitions()) == 12
    assert set(episode.state_at(episode.end_frame - 1).states) == {"completed"}


@pytest.mark.integration
def test_validate_command_finds_annotations_beyond_video(shared_data, tmp_path, capsys):
    """80 clips of Assembly101 end after the last frame that the origin had stored and trained on."""
    found = json.loads((shared_data / "origin" / "annotation_frame_mismatches.json").read_text())
    (tmp_path / "rows").mkdir()
    lines: dict[str, list[str]] = {}
    for mismatch in found:
        video, end = mismatch["video_uid"], mismatch["sparse_frame"]
        sound = mismatch["arrow_frames"]
        # next to each mismatch, a row that ends with its video
        for number, last in ((mismatch["sample_idx"], end), (10**6 + mismatch["sample_idx"], sound)):
            row = PREPARED | {
                "dataset": "assembly101", "video_uid": video, "clip_idx": number, "frames_file": f"frames/{video}.arrow",
                "start_frame_idx": 0, "end_frame_idx": last,
                "conversation": [{"role": "system", "content": "Help."}, {"role": "frames", "start": 0, "end": last}],
            }  # fmt: skip
            lines.setdefault(mismatch["file"], []).append(json.dumps(row))
    for name, rows in lines.items():
        (tmp_path / "rows" / f"{Path(name).stem}.jsonl").write_text("\n".join(rows) + "\n")
    data = tmp_path / "data"
    assert run_cli("data", "import", tmp_path / "rows", "--output", data) == 0
    (data / "frames").mkdir()
    for video, count in {(m["video_uid"], m["arrow_frames"]) for m in found}:
        write_video_frames_file(data / "frames" / f"{video}.arrow", iter([np.zeros((4, 4, 3), np.uint8)] * count))
    capsys.readouterr()
    assert run_cli("data", "validate", data) == 3
    told = [line for line in capsys.readouterr().out.splitlines() if "ends at frame" in line]
    assert len(told) == len(found) == 80
    for mismatch in found:
        split = Path(mismatch["file"]).stem
        end, have = mismatch["sparse_frame"], mismatch["arrow_frames"]
        assert any(
            f"{split}.jsonl: row " in line
            and line.endswith(f"{mismatch['video_uid']}.arrow has {have}")
            and f"frame {end}," in line
            for line in told
        ), mismatch["msg"]


@pytest.mark.parametrize(
    ("name", "window"),
    [("ego4d/narration_val", (2.5, 2.5)), ("ego4d", (4.0, 8.5)), ("Assembly101", (2.0, 4.0)), ("wtag", (3.0, 6.0)),
     ("workbench", (2.5, 2.5)), ("epickitchens", (1.5, 3.0)), ("holoassist", (1.5, 2.5)), ("egoexolearn", (2.0, 3.5))],
)  # fmt: skip
def test_proassist_matching_window_by_dataset(name, window):
    assert proassist_matching_window(name) == window


def test_parse_recipe_steps_by_hand():
    assert parse_proassist_recipe_steps("Tea\n1. boil\n 2) pour it \nnot a step") == (
        Step("S1", "boil"),
        Step("S2", "pour it"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "row 1: not JSON"),
        ("[1]", "a JSON object is needed, not int"),
        ('{"a": 1}', "no field 'dataset'"),
        (json.dumps({**PREPARED, "conversation": [{"role": "robot"}]}), "turn 0 has role 'robot'"),
        (json.dumps({**PREPARED, "conversation": [{"role": "user"}]}), "turn 0 (user) has no time"),
        (json.dumps({**PREPARED, "conversation": 5}), "not a ProAssist prepared row"),
        (json.dumps({**PREPARED, "end_frame_idx": 3}), "frames 4..3"),
        ("", "holds no row"),
    ],
)
def test_read_proassist_episodes_error_names_row_and_field(tmp_path, text, message):
    path = tmp_path / "rows.jsonl"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        read_proassist_episodes(path)
    assert str(path) in str(error.value)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def small_set(root, **changes):
    (root / "videos").mkdir(parents=True)
    write_grey(root / "videos" / "v.mp4", [Fraction(k, 10) for k in range(100)], [90] * 100)
    task = Task("tea", (Step("S1", "boil"),))
    events = (
        Event("t", 2.0, "transition", step="S1", change="start"),
        Event("a", 3.0, "assistant", "Go on."),
    )
    episode = Episode("e1", "videos/v.mp4", 2, 0, 20, task, events, user_type="no_talk")
    return write_dataset(root, "small", "1", 2, {"test": [replace(episode, **changes)]})


def test_write_dataset_round_trips(tmp_path):
    dataset = small_set(tmp_path / "set")
    (episode,) = Dataset.open(tmp_path / "set").episodes("test")
    assert episode.events[0].change == "start"
    assert validate_dataset(dataset) == []
    stats = compute_dataset_stats(dataset, "test")
    assert (stats["episodes"], stats["speaking frames (%)"], stats["user types"]) == (1, 5.0, {"no_talk": 1})


def test_write_dataset_illegal_episode_raises(tmp_path):
    with pytest.raises(ValueError, match="outside the episode"):
        small_set(tmp_path / "set", end_frame=3)


def test_validate_dataset_finds_errors(tmp_path):
    dataset = small_set(tmp_path / "set", end_frame=24)
    assert [p for p in validate_dataset(dataset) if "ends at frame 24, its video videos/v.mp4 has 20" in p]
    with pytest.raises(DataError, match="has 20 frames at 2 fps, episode e1 needs 24"):
        dataset.frame_source(next(dataset.episodes("test")), FrameFormat(16))
    (tmp_path / "set" / "videos" / "v.mp4").write_bytes(b"x")
    problems = validate_dataset(Dataset.open(tmp_path / "set"))
    assert any("sha256 differs from the one" in p for p in problems)
    assert any("not a readable video" in p for p in problems)
    row = (tmp_path / "set" / "test.jsonl").read_text()
    (tmp_path / "set" / "test.jsonl").write_text(row + row.replace('"start"', '"complete"') + '{"id": 3}\n')
    problems = validate_dataset(Dataset.open(tmp_path / "set"))
    assert any("row 2: e1: S1->complete at 2 s is illegal" in p for p in problems)
    assert any("row 3: id: Input should be a valid string" in p for p in problems)
    assert any("episode id 'e1' appears 2 times" in p for p in problems)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"fps":2', '"fps":"2"', "row 1: fps: Input should be a valid number"),
        ('"fps":2', '"fps":NaN', "row 1"),
        ('"id":"e1"', '"id":"e1","colour":1', "row 1: colour: Unexpected keyword argument"),
        ('"kind":"assistant"', '"kind":"robot"', "events.1.kind"),
        ('"time":3.0', '"time":99.0', "row 1: e1: event a (assistant 'Go on.') at 99 s lies outside"),
    ],
)
def test_dataset_bad_row_names_file_row_field(tmp_path, old, new, message):
    small_set(tmp_path / "set")
    file = tmp_path / "set" / "test.jsonl"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(DataError) as error:
        list(Dataset.open(tmp_path / "set").episodes("test"))
    assert str(error.value).startswith(f"{file}: ")
    assert message in str(error.value)


@pytest.mark.parametrize("path", ["../outside.mp4", "/etc/passwd", "videos/../../outside.mp4", "link.mp4"])
def test_dataset_path_outside_raises(tmp_path, path):
    dataset = small_set(tmp_path / "set")
    (tmp_path / "outside.mp4").write_bytes(b"x")
    (tmp_path / "set" / "link.mp4").symlink_to(tmp_path / "outside.mp4")
    with pytest.raises(DataError, match="leaves the dataset folder"):
        dataset.frame_source(replace(next(dataset.episodes("test")), video=path), FrameFormat(16))


def test_validate_dataset_finds_video_in_two_splits(tmp_path):
    dataset = small_set(tmp_path / "set")
    (episode,) = dataset.episodes("test")
    write_dataset(tmp_path / "set", "small", "1", 2, {"train": [replace(episode, id="e2")], "test": [episode]})
    assert any("is also in split train" in p for p in validate_dataset(Dataset.open(tmp_path / "set")))


@pytest.mark.slow
def test_validate_dataset_several_processes_equals_one(world, tmp_path, monkeypatch):
    rows = [replace(e, id=f"{e.id}-{k}") for k in range(4) for split in world.splits for e in world.episodes(split)]
    made = write_dataset(tmp_path / "set", "many", "1", 2, {"train": rows[:30], "test": rows[30:]})
    shutil.copytree(world.root / "videos", made.root / "videos")
    (made.root / rows[0].video).unlink()
    # the writer refuses episodes in both splits, but a file can contain them
    train, test = ((made.root / f"{split}.jsonl").read_text().splitlines() for split in ("train", "test"))
    text = train[20:] + test
    text[3] = text[3].replace('"fps":2.0', '"fps":"two"')
    text[9] = text[9].replace('"kind":"user"', '"kind":"assistant"', 1)
    (made.root / "test.jsonl").write_text("\n".join(text))
    monkeypatch.setattr("prospect_core.data.jsonl_index.PART", 5000)
    monkeypatch.setattr("prospect_core.data.stats.PART", 4)
    shown = []
    alone, together = validate_dataset(made), validate_dataset(made, 2, lambda *what: shown.append(what))
    assert together == alone
    assert any("test.jsonl: row 4: fps: Input should be a valid number" in line for line in alone)
    assert any("is also in split train" in line for line in alone)
    assert any(f"{rows[0].video}: no such file" in line for line in alone)
    assert {what for what, _, _ in shown} == {"files", "rows of train", "rows of test", "videos"}
    assert all(done <= total for _, done, total in shown)
    assert (
        compute_dataset_stats(made, "train", workers=2)
        == compute_dataset_stats(made, "train")
        == make_dataset_stats_table(rows[:30])
    )


def run_cli(*args):
    with pytest.raises(SystemExit) as stop:
        prospect([str(a) for a in args])
    return stop.value.code


def test_data_commands_validate_stats_import(tmp_path, capsys, world):
    assert run_cli("data", "validate", world.root) == 0
    assert "valid (train 6, val 3, test 6 episodes)" in capsys.readouterr().out
    assert run_cli("data", "stats", world.root) == 0
    assert "speaking frames" in capsys.readouterr().out
    assert run_cli("data", "stats", tmp_path) == 3
    assert "not a dataset" in capsys.readouterr().err
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps(PREPARED) + "\n")
    assert run_cli("data", "import", rows, "--output", tmp_path / "in") == 0
    assert "1 video missing" in capsys.readouterr().out
    assert run_cli("data", "import", rows, "--output", tmp_path / "in") == 2
    assert run_cli("data", "validate", tmp_path / "in") == 3
    assert "frames/v1.arrow: no such file" in capsys.readouterr().out


def test_dataset_unknown_split_lists_splits(world):
    with pytest.raises(DataError, match="no split 'tset'; it has train, val, test; did you mean 'test'"):
        list(world.episodes("tset"))


def test_dataset_digest_ignores_empty_new_field(world, tmp_path):
    """An empty ``videos_root`` was written, so that identical videos got another digest than the
    baseline's.
    """
    assert "videos_root" not in json.loads((world.root / "dataset.json").read_bytes())
    elsewhere = write_dataset(tmp_path, "elsewhere", "1", 2, {}, videos_root="/somewhere")
    assert Dataset.open(tmp_path).info.videos_root == elsewhere.info.videos_root == "/somewhere"
    assert list(json.loads((tmp_path / "dataset.json").read_bytes()))[-1] == "videos_root"
