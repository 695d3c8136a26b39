"""Readers of OVO-Bench: the published annotations and the published result files."""

from __future__ import annotations

import json

import pytest

from prospect_core.util.errors import DataError
from prospect_eval.suites.ovo_bench.annotations import read_ovo_bench_annotations
from prospect_eval.suites.ovo_bench.results import find_result_facts, read_ovo_bench_results
from tests.helpers.ovo_bench_items import choice_entry, clue_entry, count_entry, step_entry, write_ovo_bench

ENTRIES = [choice_entry(1), count_entry(2), step_entry(3), clue_entry(4)]


@pytest.fixture
def annotations(tmp_path):
    return write_ovo_bench(tmp_path / "annotations.json", ENTRIES)


@pytest.fixture
def read(tmp_path, annotations):
    def read_rows(**rows):
        file = tmp_path / "rows.json"
        file.write_text(json.dumps(rows), "utf-8")
        return read_ovo_bench_results([file], annotations)

    return read_rows


def choice(**changes):
    row = {"id": 1, "task": "EPM", "video": "data/v1.mp4", "response": "B", "ground_truth": "B"}
    return {**row, **changes}


def forward(*responses, **changes):
    polls = [{"realtime": 3, "count": 1}, {"realtime": 7.5, "count": 2}]
    polls = [{**poll, "response": response} for poll, response in zip(polls, responses, strict=False)]
    return {"id": 2, "task": "REC", "video": "v2.mp4", "test_info": polls, **changes}


def test_read_ovo_bench_annotations_types_by_task(annotations):
    assert annotations.counts.read == {"EPM": 1, "REC": 1, "SSR": 1, "CRR": 1}
    item, count, step, clue = annotations.items
    assert item.letter == "B"
    assert [count.count_ends(time) for time in (2, 3, 7)] == [0, 1, 2]
    assert [step.is_in_progress("pour", time) for time in (9, 10, 14, 15)] == [False, True, True, False]
    assert clue.clue_time == 9


def test_read_ovo_bench_annotations_unknown_keys_are_ignored(tmp_path):
    polls = [{"realtime": 1, "count": 0, "note": "x"}]
    entries = [choice_entry(1, source="x"), count_entry(2, test_info=polls)]
    assert len(write_ovo_bench(tmp_path / "a.json", entries).items) == 2


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("text", "the entry has no task"),
        (choice_entry(9, task="XYZ"), "the task XYZ is unknown"),
        (choice_entry(1), "the id is used by an earlier entry"),
        (choice_entry(9, gt=3), "gt is not the index of an option"),
        (choice_entry(9, gt=-1), "gt is not the index of an option"),
        (choice_entry("9"), "Expected `int`, got `str` - at `$.id`"),
        (count_entry(9, end_times=[3]), "start_times and end_times differ in length"),
        (step_entry(9, end_time=[]), "all_steps, start_time and end_time differ in length"),
        (clue_entry(9, test_info=[{"realtime": 1}]), "Object missing required field `type` - at `$.test_info[...]`"),
    ],
)
def test_read_ovo_bench_annotations_refused_entry_is_counted(tmp_path, entry, reason):
    found = write_ovo_bench(tmp_path / "a.json", [*ENTRIES, entry])
    assert len(found.items) == 4
    assert found.counts.refused == {reason: 1}


@pytest.mark.parametrize("content", ["[]", "{}", "[1]", '[{"task": "EPM"}]', "not json"])
def test_read_ovo_bench_annotations_other_file_raises(tmp_path, content):
    file = tmp_path / "a.json"
    file.write_text(content)
    with pytest.raises(DataError) as caught:
        read_ovo_bench_annotations(file)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


def test_read_ovo_bench_annotations_finds_file_in_repository(tmp_path):
    (tmp_path / "data").mkdir()
    write_ovo_bench(tmp_path / "data" / "ovo_bench_new.json", ENTRIES)
    assert len(read_ovo_bench_annotations(tmp_path).items) == 4


def test_read_ovo_bench_results_published_rows(read):
    results = read(backward=[choice()], realtime=[], forward=[forward("1", "2")])
    assert results.counts.read == {"backward": 1, "forward": 1}
    assert results.choices[0].response == "B"
    assert [(poll.gold, poll.response) for poll in results.forward[0].polls] == [(1, "1"), (2, "2")]
    assert results.notes == ()


def test_read_ovo_bench_results_one_element_list_is_unwrapped(read):
    results = read(backward=[choice(response=["B"])], forward=[forward(["1"], ["2"])])
    assert list(results.responses) == ["B", "1", "2"]
    assert results.notes == ("one-element lists, read as their element; the published scorer stops on them in REC: 3",)


def test_read_ovo_bench_results_number_becomes_text(read):
    results = read(forward=[forward(1, 2)])
    assert list(results.responses) == ["1", "2"]
    assert "numbers, read as their text" in results.notes[0]


@pytest.mark.parametrize("response", [None, [], ["A", "B"], {"text": "B"}, [None]])
def test_read_ovo_bench_results_other_response_is_null(read, response):
    assert list(read(backward=[choice(response=response)]).responses) == [None]


def test_read_ovo_bench_results_absent_response_is_noted(read):
    row = choice()
    del row["response"]
    results = read(backward=[row])
    assert list(results.responses) == [None]
    assert "absent responses, read as null" in results.notes[0]


def test_read_ovo_bench_results_absent_gold_is_annotated_gold(read):
    row = choice()
    del row["ground_truth"]
    polls = [{"realtime": 3, "response": "1"}, {"realtime": 7.5, "response": "2"}]
    results = read(backward=[row], forward=[forward(test_info=polls)])
    assert results.choices[0].ground_truth == "B"
    assert [poll.gold for poll in results.forward[0].polls] == [1, 2]
    assert len(results.notes) == 2


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ({"backward": [7]}, "the row has no task"),
        ({"backward": [{"id": 1}]}, "the row has no task"),
        ({"backward": [{"id": 99, "task": "EPM", "response": "B"}]}, "the row has no ground_truth, and its id is none"),
        ({"forward": [choice()]}, "the list forward holds a row of the task EPM"),
        ({"forward": [forward(test_info=None)]}, "the row has no list test_info"),
        ({"forward": [forward(test_info=[{"response": "1"}])]}, "a poll has neither count nor type"),
    ],
)
def test_read_ovo_bench_results_refused_row_is_counted(read, rows, reason):
    kept = choice(task="ASI")
    results = read(**{"realtime": [kept], **rows})
    assert len(results.ids) == 1
    assert [number for text, number in results.counts.refused.items() if text.startswith(reason)] == [1]


def test_read_ovo_bench_results_null_list_is_empty(read):
    assert len(read(backward=None, realtime=[choice()]).ids) == 1


def test_read_ovo_bench_results_row_without_id_is_kept(read):
    row = choice()
    del row["id"]
    assert read(backward=[row]).ids == ["row 0 of backward in rows.json"]


@pytest.mark.parametrize("content", ["[]", '{"results": []}', '{"backward": {}}', '{"backward": []}', "7"])
def test_read_ovo_bench_results_other_file_raises(tmp_path, annotations, content):
    file = tmp_path / "x.json"
    file.write_text(content)
    with pytest.raises(DataError) as caught:
        read_ovo_bench_results([file], annotations)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_find_result_facts_by_hand(annotations, read):
    results = read(
        backward=[choice(video="elsewhere.mp4"), choice(ground_truth="A"), choice(id=99, response=None)],
        forward=[forward("1", "2")],
    )
    facts = find_result_facts(annotations, results)
    assert facts.rows == {"backward": 3, "realtime": 0, "forward": 1}
    assert (facts.polls, facts.null_responses) == (2, 1)
    assert (facts.repeated_ids, facts.unknown_ids) == (("1",), ("99",))
    assert facts.absent_ids == {"SSR": ("3",), "CRR": ("4",)}
    assert [(truth.id, truth.in_results, truth.in_annotations) for truth in facts.other_ground_truths] == [
        ("1", "A", "B")
    ]
    assert facts.other_videos == ("1",)
