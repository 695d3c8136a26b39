"""Qualcomm Interactive Cooking: parquet rows become assistant turns on CaptainCook4D's recordings."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prospect_core.data.dataset import Dataset
from prospect_core.data.procedures.interactive_cooking import (
    find_interactive_cooking_files,
    open_interactive_cooking,
    read_interactive_cooking,
)
from prospect_core.timeline import Mistake
from prospect_core.util.errors import DataError, UserError
from tests.helpers.procedure_files import make_cooking_entry, write_cooking_folder

SUCCESS, ALERT = "feedback_action_aligned_success", "feedback_action_aligned_mistake_technique_error"
MESSAGES = [
    (0.0, "instruction", "Boil the water."),
    (6.25, ALERT, "Close the lid."),
    (9.0, SUCCESS, "The water boils."),
    (9.0, "instruction", "Pour the tea."),
    (30.5, "feedback_finish_all", "All done."),
]


def make_row(video="1_1", messages=MESSAGES, **more):
    times, types, texts = ([one[place] for one in messages] for place in range(3))
    row = {"video_id": video, "activity_name": "Tea", "output_texts": texts}
    row |= {"output_timestamps": times, "output_types": types, "output_actions": [None, "boil", None, None, None]}
    return {**row, "remaining_plan": [["boil", "pour"]] * len(messages), **more}


def write_rows(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def read_one(folder, **options):
    splits = read_interactive_cooking(folder, **options).splits
    (episode,) = [one for episodes in splits.values() for one in episodes]
    return episode.validate()


def test_interactive_cooking_messages_become_turns_with_their_types(tmp_path):
    write_rows(tmp_path / "main" / "test-00000-of-00001.parquet", make_row(recipe_graph='{"edges": []}'))

    episode = read_one(tmp_path)

    turns = [(event.time, event.labels, event.text) for event in episode.events if event.kind == "assistant"]
    assert turns == MESSAGES
    assert (episode.id, episode.dataset, episode.task.goal) == ("1_1", "interactive_cooking", "Tea")
    assert episode.mistakes == (Mistake("M1", "Technique Error", "", (6.25, 6.25), "Close the lid."),)
    assert json.loads(episode.meta["remaining_plan"])[0] == ["boil", "pour"]
    assert json.loads(episode.meta["output_actions"])[1] == "boil"
    assert json.loads(episode.meta["recipe_graph"]) == '{"edges": []}'
    assert "output_timestamps" not in episode.meta
    # the frame of the last message is in the episode
    assert episode.end_frame == 32


def test_interactive_cooking_with_captaincook4d_has_its_steps_and_mistakes(tmp_path):
    errors = [{"tag": "Technique Error", "description": "lid open"}]
    entries = [make_cooking_entry(1, 1.0, 9.0, "Boil-Boil water", errors=errors)]
    entries += [make_cooking_entry(2, 10.0, 25.0, "Pour-Pour the tea")]
    cooking = write_cooking_folder(tmp_path / "cc4d", {"1_1": entries}, seconds={"1_1": 28.0})
    write_rows(tmp_path / "qic" / "main_validation.parquet", make_row())

    rows = read_interactive_cooking(tmp_path / "qic", captaincook4d=cooking)

    (episode,) = rows.splits["val"]
    assert episode.validate().task.step_ids == ("S1", "S2")
    assert [(o.step, o.start, o.end) for o in episode.occurrences] == [("S1", 1.0, 9.0), ("S2", 10.0, 25.0)]
    assert [(m.tag, m.step, m.span, m.description) for m in episode.mistakes] == [
        ("Technique Error", "S1", (1.0, 9.0), "lid open")
    ]
    assert [event.kind for event in episode.events].count("transition") == 4
    # the last message comes after the end of the video
    assert (episode.end_frame, episode.events[-1].time, episode.events[-1].text) == (28, 28.0, "All done.")
    assert json.loads(episode.meta["output_timestamps"])[-1] == 30.5
    assert (rows.videos_root, rows.left_out, episode.participant) == (cooking, (), "4")


def test_interactive_cooking_recording_without_steps_is_listed(tmp_path):
    cooking = write_cooking_folder(tmp_path / "cc4d", {"1_2": [make_cooking_entry(1, 1.0, 9.0, "Boil-Boil water")]})
    write_rows(tmp_path / "qic" / "main" / "train.parquet", make_row())
    rows = read_interactive_cooking(tmp_path / "qic", captaincook4d=cooking)
    assert [one.id for one in rows.left_out] == ["1_1"]
    assert len(rows.splits["train"]) == 1


def test_interactive_cooking_files_are_found_by_set_and_split(tmp_path):
    for name in ("main/train-00000-of-00002", "main/train-00001-of-00002", "main_test", "advanced_planning/validation"):
        write_rows(tmp_path / f"{name}.parquet", make_row(name))
    found = find_interactive_cooking_files(tmp_path)
    assert {split: len(files) for split, files in found.items()} == {"train": 2, "test": 1}
    assert list(find_interactive_cooking_files(tmp_path, "advanced_planning")) == ["val"]
    assert read_interactive_cooking(tmp_path, "advanced_planning").name == "interactive_cooking_advanced_planning"


def test_interactive_cooking_counts_every_message(tmp_path):
    messages = [*MESSAGES[:4], (12.0, "new_kind", " ")]
    write_rows(tmp_path / "main" / "test.parquet", make_row(messages=messages), make_row("1_2"))
    rows = read_interactive_cooking(tmp_path)
    assert rows.counts["totals"] == {
        "recordings": 2,
        "activities": 1,
        "messages": 10,
        "messages_without_text": 1,
        "messages_by_type": {
            ALERT: 2,
            SUCCESS: 2,
            "feedback_finish_all": 1,
            "instruction": 4,
            "new_kind": 1,
        },
    }
    assert [(one.id, one.why) for one in rows.left_out] == [("1_1", "1 of 5 messages have no text")]
    assert [len(episode.events) for episode in rows.splits["test"]] == [4, 5]


def test_interactive_cooking_opens_in_place(tmp_path):
    write_rows(tmp_path / "main" / "test.parquet", make_row())
    write_cooking_folder(tmp_path, {"1_1": [make_cooking_entry(1, 1.0, 9.0, "Boil-Boil water")]})
    dataset = Dataset.open(tmp_path)
    (episode,) = dataset.episodes("test")
    assert dataset.info.name == "interactive_cooking"
    assert len(episode.occurrences) == 1


def test_open_interactive_cooking_other_parquet_files_give_none(tmp_path):
    assert open_interactive_cooking(tmp_path) is None
    write_rows(tmp_path / "main" / "test.parquet", {"text": "a"})
    assert open_interactive_cooking(tmp_path) is None
    (tmp_path / "main" / "test.parquet").write_bytes(b"PAR1")
    assert open_interactive_cooking(tmp_path) is None


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (make_row(output_types=["instruction"]), r"row 1: its lists have different lengths \(output_texts 5"),
        (make_row(output_timestamps=[0.0, 1.0, -1.0, 2.0, 3.0]), "output_timestamps has -1.0; seconds from 0"),
        (make_row(output_timestamps=["a"] * 5), "output_timestamps has 'a'; seconds from 0"),
        (make_row(output_texts="Boil"), "output_texts must be a list, not str"),
        ({"video_id": "1_1", "activity_name": "Tea"}, "lacks the column output_texts; it has video_id, activity_name"),
    ],
)
def test_interactive_cooking_damaged_row_is_one_line(row, message, tmp_path):
    path = write_rows(tmp_path / "main" / "test.parquet", row)
    with pytest.raises(DataError, match=message) as error:
        read_interactive_cooking(tmp_path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_interactive_cooking_missing_or_damaged_files_are_one_line(tmp_path):
    with pytest.raises(DataError, match="holds no parquet file of the set main"):
        read_interactive_cooking(tmp_path)
    with pytest.raises(UserError, match="--set 'base' is unknown: use one of advanced_planning, main"):
        read_interactive_cooking(tmp_path, "base")
    write_rows(tmp_path / "main" / "test.parquet", make_row())
    with pytest.raises(DataError, match="holds no annotations of CaptainCook4D"):
        read_interactive_cooking(tmp_path, captaincook4d=tmp_path)
    (tmp_path / "main" / "test.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match="not a parquet file that can be read"):
        read_interactive_cooking(tmp_path)
