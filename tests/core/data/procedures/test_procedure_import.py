"""`prospect data procedures`: folders are recognized, options belong to a publication, counts are printed."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prospect_core.data.dataset import Dataset
from prospect_core.data.procedures.procedure_import import ProcedureChoices, read_published_procedures
from prospect_core.util.errors import DataError, UserError
from tests.helpers.commands import one_line, run_cli
from tests.helpers.procedure_files import (
    make_cooking_entry,
    make_goal_segment,
    write_cooking_folder,
    write_goalstep_file,
)


@pytest.fixture
def cooking(tmp_path):
    entries = [make_cooking_entry(1, 1.0, 9.0, "Boil-Boil water"), make_cooking_entry(2, -1.0, -1.0, "Sip-Sip")]
    return write_cooking_folder(tmp_path / "cc4d", {"1_1": entries, "1_2": entries[:1]})


@pytest.fixture
def goalstep(tmp_path):
    segments = [make_goal_segment(2.0, 5.0, "Cut", segments=[make_goal_segment(2.0, 3.0, "Peel")])]
    return write_goalstep_file(tmp_path / "goalstep", {"v1": segments, "v2": [make_goal_segment(1.0, 2.0, "Cut")]})


def write_messages(folder):
    row = {"video_id": "1_1", "activity_name": "Tea", "output_texts": ["Boil."], "output_timestamps": [1.0]}
    (folder / "main").mkdir(parents=True)
    table = pa.Table.from_pylist([{**row, "output_types": ["instruction"]}])
    pq.write_table(table, folder / "main" / "train.parquet")
    return folder


def test_read_published_procedures_recognizes_each_folder(cooking, goalstep, tmp_path):
    messages = write_messages(tmp_path / "qic")
    names = [read_published_procedures(folder).name for folder in (cooking, goalstep, messages)]
    assert names == ["captaincook4d", "goalstep", "interactive_cooking"]


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (ProcedureChoices(level="steps"), "--level is for Ego4D Goal-Step; this folder holds CaptainCook4D"),
        (ProcedureChoices(message_set="main"), "--set is for Qualcomm Interactive Cooking; this folder holds Capt"),
    ],
)
def test_read_published_procedures_option_of_another_folder_is_one_line(choices, message, cooking):
    with pytest.raises(UserError, match=message):
        read_published_procedures(cooking, choices)


def test_read_published_procedures_unknown_folder_is_one_line(tmp_path):
    with pytest.raises(DataError, match="holds no step annotations: annotation_json"):
        read_published_procedures(tmp_path)


def test_procedures_command_writes_dataset_and_prints_counts(cooking, tmp_path, capsys):
    assert run_cli("data", "procedures", cooking, "--output", tmp_path / "out", "--fps", 2) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "steps: 3" in lines
    assert "not done: 1" in lines
    assert any("2 videos missing" in line for line in lines)
    dataset = Dataset.open(tmp_path / "out")
    assert [(episode.id, episode.fps, episode.end_frame) for episode in dataset.episodes("train")] == [
        ("1_1", 2.0, 18),
        ("1_2", 2.0, 18),
    ]


def test_procedures_command_json_has_counts_of_each_recording(goalstep, tmp_path, capsys):
    output = tmp_path / "out"
    assert run_cli("data", "procedures", goalstep, "--output", output, "--level", "substeps", "--json") == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts["totals"]["substeps"] == 1
    assert set(counts["videos"]) == {"v1", "v2"}
    left_out = (output / "left_out.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in left_out] == [{"id": "v2", "why": "has no substeps"}]


def test_procedures_command_wrong_option_is_one_line(goalstep, tmp_path, capsys):
    assert run_cli("data", "procedures", goalstep, "--output", tmp_path / "out", "--split-by", "person") == 2
    assert "--split-by is for CaptainCook4D" in one_line(capsys)
    assert not (tmp_path / "out").exists()


def test_validate_command_without_videos_accepts_published_folder(cooking, capsys):
    assert run_cli("data", "validate", cooking, "--no-videos") == 0
    assert "valid (train 2 episodes)" in capsys.readouterr().out
    assert run_cli("data", "validate", cooking) == 3
    assert "no such file" in capsys.readouterr().out


def test_validate_command_accept_without_videos_is_refused(cooking, capsys):
    assert run_cli("data", "validate", cooking, "--no-videos", "--accept") == 2
    assert "leave --no-videos out" in one_line(capsys)


def test_stats_command_counts_occurrences_and_mistakes(cooking, capsys):
    assert run_cli("data", "stats", cooking, "--json") == 0
    table = json.loads(capsys.readouterr().out)["train"]
    assert table["occurrences an episode (mean)"] == 1.0
    assert "mistakes an episode (mean)" not in table
