"""Read ProAssist's published tree in place."""

from __future__ import annotations

import json

import numpy as np
import pytest

from prospect_core.cli.commands import prospect
from prospect_core.data.dataset import Dataset
from prospect_core.data.formats.proassist_names import frames_file_from_proassist_names
from prospect_core.data.frame_format import FrameFormat
from prospect_core.data.validate import validate_dataset
from prospect_core.data.video import write_video_frames_file
from tests.helpers.commands import call, evaluate, one_line
from tests.helpers.proassist_rows import row


@pytest.mark.parametrize(
    ("subset", "video", "name"),
    [
        ("assembly101", "assembly_nusar-2021_x_mono10bit", "frames/nusar-2021_x_mono10bit.arrow"),
        ("assembly101", "disassembly_nusar-2021_x_mono10bit", "frames/nusar-2021_x_mono10bit.arrow"),
        ("ego4d", "grp-cec778f9-9b54", "frames/cec778f9-9b54.arrow"),
        ("ego4d", "cec778f9-9b54", "frames/cec778f9-9b54.arrow"),
        ("wtag", "T48_x", "frames/T48_x.arrow"),
    ],
)
def test_proassist_frames_file_names_by_published_rules(subset, video, name):
    assert frames_file_from_proassist_names(subset, video) == name


@pytest.fixture
def tree(tmp_path):
    """Two subsets. In Assembly101 one file covers two recordings, and one dialogue is longer than
    its frames.
    """
    root = tmp_path / "processed_data"
    for subset, files in (("assembly101", ("nusar_a",)), ("ego4d", ("one", "two"))):
        (root / subset / "frames").mkdir(parents=True)
        (root / subset / "prepared").mkdir()
        for name in files:
            write_video_frames_file(
                root / subset / "frames" / f"{name}.arrow", iter([np.zeros((8, 8, 3), np.uint8)] * 6)
            )
    rows = {
        "assembly101/prepared/dialog-klg-sum_test_L0_I1.jsonl": [
            row("assembly_nusar_a", "no_talk", 6),
            row("disassembly_nusar_a", "no_talk", 5),
            row("disassembly_nusar_a", "talk_some", 9),
        ],
        # if the kind with more content exists, the other kind is not read
        "assembly101/prepared/dialog_test_L0_I1.jsonl": [row("assembly_nusar_a", "other", 6)],
        "assembly101/prepared/dialog-klg-sum_test_L4096_I1.jsonl": [row("assembly_nusar_a", "cut", 6)],
        "ego4d/prepared/dialog_train_L0_I5.jsonl": [row("grp-one", "no_talk", 6), row("three", "no_talk", 6)],
        "ego4d/prepared/dialog_test_L0_I5.jsonl": [row("two", "no_talk", 6, "frames/two.arrow")],
    }
    for name, lines in rows.items():
        (root / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return root


@pytest.mark.integration
def test_proassist_command_reads_tree_in_place(tree, tmp_path, capsys):
    before = sorted(path for path in tree.rglob("*"))
    out = tmp_path / "set"
    assert call(prospect, "data", "proassist", tree, "--output", out) == 0
    told = capsys.readouterr().out
    assert "train 1, test 3 episodes" in told
    assert "2 episodes left out" in told
    assert sorted(path for path in tree.rglob("*")) == before
    data = Dataset.open(out)
    assert [e.video for e in data.episodes("test")] == ["assembly101/frames/nusar_a.arrow"] * 2 + [
        "ego4d/frames/two.arrow"
    ]
    assert len({e.id for split in data.splits for e in data.episodes(split)}) == 4
    left = [json.loads(line) for line in (out / "left_out.jsonl").read_text().splitlines()]
    assert [(one["split"], one["why"]) for one in left] == [
        ("train", "no such file"),
        ("test", "ends at frame 9, 6 are stored"),
    ]
    assert validate_dataset(data) == []
    run = tmp_path / "run"
    assert evaluate("run", "--ckpt", "baseline:oracle", "--data", out, "--output", run) == 0
    (episode, *_) = data.episodes("train")
    assert len(list(data.frame_source(episode, FrameFormat(8)).frames(0, 6))) == 6


def test_proassist_command_reads_one_subset(tree, tmp_path, capsys):
    assert call(prospect, "data", "proassist", tree, "--output", tmp_path / "set", "--subset", "assembly101") == 0
    assert "test 2 episodes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "code", "line"),
    [
        (["--subset", "wtag"], 2, "--subset wtag: "),
        ([], 3, "unzip prepared.zip there"),
    ],
)
def test_proassist_command_not_a_tree_is_refused(given, code, line, tmp_path, capsys):
    assert call(prospect, "data", "proassist", tmp_path, "--output", tmp_path / "set", *given) == code
    assert line in one_line(capsys)
    assert not (tmp_path / "set").exists()


def test_proassist_command_other_file_names_lists_expected(tree, tmp_path, capsys):
    for file in tree.rglob("*.jsonl"):
        file.rename(file.with_name("test.jsonl"))
    assert call(prospect, "data", "proassist", tree, "--output", tmp_path / "set") == 3
    line = one_line(capsys)
    assert (
        "no dialogue to import; files read from each SUBSET/prepared: {dialog-klg-sum,dialog-klg,dialog-sum,dialog}_{train,val,test}_L*_I*.jsonl"
        in line
    )


def test_proassist_command_other_rows_are_refused(tree, tmp_path, capsys):
    (tree / "ego4d/prepared/dialog_test_L0_I5.jsonl").write_text('{"a": 1}\n')
    assert call(prospect, "data", "proassist", tree, "--output", tmp_path / "set") == 3
    assert "dialog_test_L0_I5.jsonl: row 1: not a prepared row" in one_line(capsys)


def test_proassist_command_invalid_frames_are_refused(tree, tmp_path, capsys):
    (tree / "ego4d/frames/two.arrow").write_bytes(b"x" * 100)
    assert call(prospect, "data", "proassist", tree, "--output", tmp_path / "set") == 3
    assert "two.arrow: not an Arrow stream file" in one_line(capsys)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"video_uid": 5}, "video_uid is 5; text is needed"),
        ({"frames_file": None}, "frames_file is None; text is needed"),
        ({"fps": None}, "fps is None; a number is needed"),
        ({"end_frame_idx": "6"}, "end_frame_idx is '6'; a whole number is needed"),
        ({"conversation": [{"role": "frames", "start": 6, "end": 2}]}, "turn 0: frames from 6 to 2"),
        ({"conversation": [{"role": "frames", "start": "x", "end": 2}]}, "turn 0: frames from 'x' to 2"),
        ({"conversation": [{"role": "assistant", "content": "Go."}]}, r"turn 0 (assistant) has no time"),
        ({"conversation": [{"role": "assistant", "time": 1, "content": None}]}, r"turn 0 (assistant) has no content"),
    ],
)
def test_proassist_command_error_names_row(tree, tmp_path, capsys, change, why):
    text = json.dumps(row("two", "no_talk", 6) | change) + "\n"
    (tree / "ego4d/prepared/dialog_test_L0_I5.jsonl").write_text(text)
    assert call(prospect, "data", "proassist", tree, "--output", tmp_path / "set") == 3
    line = one_line(capsys)
    assert "dialog_test_L0_I5.jsonl: row 1: " in line
    assert why in line
    (tmp_path / "rows.jsonl").write_text(text)
    assert call(prospect, "data", "import", tmp_path / "rows.jsonl", "--output", tmp_path / "rows") == 3
    assert why in one_line(capsys)
