"""EgoProactive: official values of the handed cases, the readers, and each quirk by its smallest example."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prospect_core.util.errors import DataError
from prospect_eval.suites.benchmark import open_benchmark
from prospect_eval.suites.egoproactive.annotations import make_egoproactive_annotations
from prospect_eval.suites.egoproactive.official import (
    egoproactive_values,
    read_chunk_class,
    score_egoproactive_tasks,
)
from prospect_eval.suites.egoproactive.problems import find_egoproactive_problems
from prospect_eval.suites.egoproactive.results import match_egoproactive_rows, read_egoproactive_results
from prospect_eval.suites.egoproactive.scores import score_egoproactive
from prospect_eval.suites.official_score import pool_item_totals
from prospect_eval.suites.result_rows import ResultRow
from tests.helpers.field_cases import assert_equal_values, each_field_case, find_field_file, read_field_file

NAME = "egoproactive"
CELLS = ("tp", "fp", "tn", "fn")


def rows(values):
    return [ResultRow(f"row {number}", value) for number, value in enumerate(values)]


def session(*answers, **more):
    return {"video_path": "v.mp4", "query": "How?", "answers": list(answers), **more}


def score(references, predictions):
    annotations = make_egoproactive_annotations(rows(references))
    return score_egoproactive(annotations, match_egoproactive_rows(rows(predictions), annotations))


def official_form(found):
    """The score in the shape of the published one, without its rounding."""

    def metrics(totals, values):
        counts = {cell: int(totals.get(cell, 0)) for cell in CELLS}
        return {**values, **counts, "support": sum(counts.values())}

    by_task = {
        task: metrics(pool_item_totals(item for item in found.items if item.task == task), values)
        for task, values in score_egoproactive_tasks(found.items).items()
    }
    totals = pool_item_totals(found.items)
    return {
        "overall": metrics(totals, found.values),
        "per_task": by_task,
        "total_sessions": len(found.items),
        "skipped_chunks": int(totals.get("skipped_chunks", 0)),
        "official_rounded": {name: round(value, 4) for name, value in found.values.items()},
    }


@each_field_case(NAME, "cases.json")
def test_egoproactive_reference_case_score_is_equal(case):
    found = score(case["gold"], case["predictions"])
    if "raises" in case["expected"]:
        # every chunk counts, and the score says what is wrong with the file
        support = sum(pool_item_totals(found.items).get(cell, 0) for cell in CELLS)
        assert support == sum(len(row["answers"]) for row in case["gold"])
        assert found.notes
        assert found.count("scored") < len(found.items)
        return
    assert_equal_values(official_form(found), case["expected"])
    assert official_form(found)["per_task"].keys() == case["expected"]["per_task"].keys()


@each_field_case(NAME, "tags.json")
def test_read_chunk_class_equals_reference(case):
    assert read_chunk_class(case["text"]) == case["tag"]


@each_field_case(NAME, "counts.json")
def test_egoproactive_values_equal_reference(case):
    values = egoproactive_values({cell: float(case[cell]) for cell in CELLS})
    support = sum(case[cell] for cell in CELLS)
    assert_equal_values({**values, "support": support}, case["metrics"])
    rounded = {name: round(value, 4) for name, value in values.items()}
    assert_equal_values({**rounded, "support": support}, case["rounded"])


RULES = {
    "against_itself": None,
    "against_all_silent": lambda chunk: "$silent$",
    "against_interrupt_each_third_chunk_from_the_first": lambda chunk: "$silent$" if chunk % 3 else "$interrupt$",
}


def test_egoproactive_published_predictions_as_references():
    file = find_field_file(NAME, "predictions.jsonl")
    facts = read_field_file(NAME, "expected.json")["predictions.jsonl"]
    given_rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    references = [{**row, "query": "", "task": "x"} for row in given_rows]
    classes = [read_chunk_class(answer) for row in given_rows for answer in row["answers"]]
    assert len(given_rows) == facts["sessions"]
    assert (len(classes), classes.count("interrupt"), classes.count("silent")) == (
        facts["chunks"],
        facts["interrupt"],
        facts["silent"],
    )
    for rule, expected in facts["if_taken_as_gold"].items():
        answer = RULES[rule]
        predicted = [
            {**row, "answers": [answer(chunk) for chunk in range(len(row["answers"]))] if answer else row["answers"]}
            for row in given_rows
        ]
        assert_equal_values(official_form(score(references, predicted)), expected)


def test_find_egoproactive_problems_published_row_has_none():
    file = find_field_file(NAME, "gold_row.json")
    benchmark = open_benchmark(NAME)
    annotations = benchmark.read_annotations(file)
    (found,) = annotations.sessions
    assert annotations.counts.read == {"session": 1, "chunk": 6}
    assert (found.duration, found.intervals[1], len(found.dialog)) == (91.9, (10.4, 18.4), 6)
    assert find_egoproactive_problems(annotations) == []


def test_read_egoproactive_results_published_file():
    file = find_field_file(NAME, "predictions.jsonl")
    references = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    annotations = make_egoproactive_annotations(rows(references))
    results = read_egoproactive_results([file], annotations)
    assert score_egoproactive(annotations, results).values["macro_f1"] == 1.0
    assert results.counts.read == {"row": len(references)}


def test_egoproactive_constants_are_scored():
    benchmark = open_benchmark(NAME)
    annotations = make_egoproactive_annotations(rows([session("$interrupt$a", "$silent$", "$silent$", "$interrupt$b")]))
    found = {name: benchmark.score(annotations, make(annotations)) for name, make in benchmark.constants.items()}
    assert found["always silent"].values["silent_recall"] == 1.0
    assert found["always interrupt"].values["interrupt_recall"] == 1.0
    assert found["interrupt at every third chunk"].values["macro_f1"] == 1.0


# quirks, each by its smallest example


def test_score_egoproactive_chunk_without_partner_is_noted():
    found = score([session("$interrupt$a", "$interrupt$b")], [session("$interrupt$x")])
    assert found.values["interrupt_f1"] == 1.0
    assert any("without a partner are not scored: 1;" in note and "is 0.3333" in note for note in found.notes)


def test_match_egoproactive_rows_by_position():
    references = [session("$interrupt$a", video_path="a.mp4"), session("$silent$", video_path="b.mp4")]
    swapped = [session("$silent$", video_path="b.mp4"), session("$interrupt$a", video_path="a.mp4")]
    found = score(references, swapped)
    assert found.values["macro_f1"] == 0.0
    assert any(note.startswith("rows whose video_path differs") and note.endswith(": 2") for note in found.notes)


def test_match_egoproactive_rows_absent_row_is_silence():
    references = [session("$interrupt$a", video_path="a.mp4"), session("$interrupt$b", video_path="b.mp4")]
    found = score(references, [session("$interrupt$x", video_path="b.mp4")])
    totals = [dict(item.totals) for item in found.items]
    assert [(t["tp"], t["fn"]) for t in totals] == [(0, 1), (1, 0)]
    assert [item.status for item in found.items] == ["missing", "scored"]


def test_score_egoproactive_null_answers_are_silence():
    found = score([session("$interrupt$a", "$silent$")], [{"video_path": "v.mp4", "answers": None}])
    assert found.items[0].status == "missing"
    assert (found.items[0].totals["fn"], found.items[0].totals["tn"]) == (1, 1)


@pytest.mark.parametrize("answer", ["$INTERRUPT$a", "Sure! $interrupt$a", "\ufeff$interrupt$a", "\u200b$interrupt$a"])
def test_score_egoproactive_misplaced_tag_is_silence(answer):
    found = score([session("$interrupt$a")], [session(answer)])
    assert found.items[0].totals["fn"] == 1
    assert any("interrupt tag that does not come first" in note for note in found.notes)


def test_score_egoproactive_only_silence_is_half():
    found = score([session("$silent$", "$silent$")], [session("$silent$", "$silent$")])
    assert (found.values["macro_f1"], found.values["gmean_f1"]) == (0.5, 0.0)
    assert any("no chunk is interrupt" in note for note in found.notes)


ANSWERS = st.lists(st.sampled_from(["$interrupt$a", "$silent$", "", " $interrupt$"]), max_size=6)


@given(st.lists(st.tuples(ANSWERS, ANSWERS), max_size=6), st.randoms(use_true_random=False))
def test_score_egoproactive_ignores_order_of_sessions(pairs, random):
    shuffled = pairs.copy()
    random.shuffle(shuffled)
    values = [
        score([session(*reference) for reference, _ in some], [session(*answers) for _, answers in some]).values
        for some in (pairs, shuffled)
    ]
    assert values[0] == pytest.approx(values[1])
    assert all(0 <= value <= 1 for value in values[0].values())


def test_find_egoproactive_problems_names_each_fault():
    faulty = session(
        "hello",
        None,
        "$interrupt$",
        duration_in_sec=20.0,
        video_intervals=[[0, 8], [6, 6], [8, 30]],
        dialog=[[], [{"role": "assistant", "text": "?"}], []],
    )
    annotations = make_egoproactive_annotations(rows([faulty, session("$interrupt$a", video_intervals=[[0, 8]])]))
    kinds = {problem.kind for problem in find_egoproactive_problems(annotations)}
    assert kinds == {
        "first answer is silent",
        "answer without a tag",
        "null answer",
        "interrupt without text",
        "chunk without length",
        "chunk outside the video",
        "chunks overlap",
        "history differs from the answers",
        "duplicate session",
    }


def test_find_egoproactive_problems_answer_in_history():
    leak = session("$interrupt$a", video_intervals=[[0, 8]], dialog=[[{"role": "assistant", "text": "$interrupt$a"}]])
    (problem,) = find_egoproactive_problems(make_egoproactive_annotations(rows([leak])))
    assert problem.kind == "answer in its own history"


def test_match_egoproactive_rows_without_answers_are_refused():
    annotations = make_egoproactive_annotations(rows([session("$silent$"), {"video_path": "w.mp4", "answers": None}]))
    assert annotations.counts.refused == {"session without a list of answers": 1}
    found = score_egoproactive(
        annotations, match_egoproactive_rows(rows([session("$silent$"), session("$silent$")]), annotations)
    )
    assert len(found.items) == 1


@pytest.mark.parametrize("text", ['{"id": 3}\n', "[1, 2]", "[]", "not JSON\n"])
def test_read_egoproactive_results_other_file_raises(tmp_path, text):
    file = tmp_path / "predictions.jsonl"
    file.write_text(text)
    with pytest.raises(DataError) as error:
        read_egoproactive_results([file], make_egoproactive_annotations(rows([session("$silent$")])))
    assert "\n" not in str(error.value)
    assert str(file) in str(error.value)


def test_read_egoproactive_annotations_other_file_raises(tmp_path):
    file = tmp_path / "gold.jsonl"
    file.write_text('{"video": "v", "qa": []}\n')
    with pytest.raises(DataError, match=r"no EgoProactive annotations.*video, qa"):
        open_benchmark(NAME).read_annotations(file)
