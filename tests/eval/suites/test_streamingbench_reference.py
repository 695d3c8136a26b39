"""StreamingBench, Proactive Output, against the values that its published counter and polling loop gave."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache

import pytest

from prospect_core.util.errors import DataError, UserError
from prospect_eval.suites.benchmark import ReadCounts, open_benchmark
from prospect_eval.suites.official_score import pool_item_totals
from prospect_eval.suites.streamingbench.polling import (
    answer_streamingbench,
    find_requested_output,
    play_polling,
    wait_and_output,
)
from tests.helpers.field_cases import each_field_case, find_field_file, read_field_file

pytestmark = pytest.mark.integration
NAME = "streamingbench_po"
BENCHMARK = open_benchmark("streamingbench")
TASK = "Proactive Output"


@cache
def annotations(file="questions_proactive.json"):
    return BENCHMARK.read_annotations(find_field_file(NAME, f"data/{file}"))


def assert_same_stats(score, stats):
    """Values and counts of every task type, and no other one."""
    totals = pool_item_totals(score.items)
    wanted = {}
    for task, block in stats.items():
        before = "" if task == TASK else f"{task}."
        wanted |= {f"{before}{name}": block[name] for name in ("time_accuracy", "answer_accuracy")}
        for name in ("total", "time_correct", "answer_correct"):
            assert totals[f"{before}{name}"] == block[name]
    defined = {name: value for name, value in score.values.items() if value is not None}
    assert defined == pytest.approx(wanted, abs=1e-12, rel=1e-12)


def test_streamingbench_reference_predictions_values_are_equal():
    expected = read_field_file(NAME, "expected.json")["predictions"]
    compared = 0
    for file in sorted(find_field_file(NAME, "predictions").glob("*.json")):
        results = BENCHMARK.read_results([file], annotations())
        assert results.counts.refused == {}
        assert_same_stats(BENCHMARK.score(annotations(), results), expected[file.stem]["stats"])
        assert len(results.rows) == expected[file.stem]["questions_with_prediction"]
        compared += 1
    assert compared


@each_field_case(NAME, "cases.json")
def test_streamingbench_reference_case_values_are_equal(case, tmp_path):
    file = tmp_path / "case.json"
    file.write_text(json.dumps(case["data"]))
    if case["expected"].get("stats") == {}:
        # no row is written; here the file is refused with the reason
        with pytest.raises((DataError, UserError)):
            BENCHMARK.read_results([file], BENCHMARK.read_annotations(file), "m")
        return
    found = BENCHMARK.read_annotations(file)
    score = BENCHMARK.score(found, BENCHMARK.read_results([file], found, "m"))
    if "raises" in case["expected"]:
        assert score.count("failed") > 0
        assert any("on which the published scorer stops" in note for note in score.notes)
    else:
        assert_same_stats(score, case["expected"]["stats"])


#: outputs that a handed baseline prints at the gold time
OUTPUTS = {
    "yes_gold_0_wrong_output": lambda question: "nothing",
    "yes_gold_0_lower_case": lambda question: question.gold_output.lower(),
    "yes_gold_0_quoted_output": lambda question: find_requested_output(question.question),
}


def policy_of(name):
    """Return the behavior of a handed baseline with this name."""
    if name in OUTPUTS:
        return lambda q: wait_and_output(q, q.gold_time - q.ask_time, OUTPUTS[name](q))
    if name == "never":
        return lambda q: play_polling(q, lambda now: "No", lambda now: "")
    if name == "yesterday":
        return lambda q: play_polling(q, lambda now: "yesterday", lambda now: q.gold_output)
    if name == "yes_first_gold_output":
        return lambda q: wait_and_output(q, 1)
    kind, _, seconds = name.rpartition("_")
    if kind == "yes_ask_plus":
        return lambda q: wait_and_output(q, int(seconds))
    assert kind == "yes_gold", name
    return lambda q: wait_and_output(q, q.gold_time + int(seconds) - q.ask_time)


def test_streamingbench_polling_baselines_values_are_equal():
    for name, block in read_field_file(NAME, "expected.json").get("baselines", {}).items():
        policy = policy_of(name)
        dialogs = [policy(question) for question in annotations().questions]
        assert sum(dialog.polls for dialog in dialogs) == block["polls"], name
        assert sum(dialog.answered is not None for dialog in dialogs) == block["answered"], name
        assert sum(dialog.turn is None for dialog in dialogs) == block["empty_histories"], name
        results = answer_streamingbench(annotations(), policy, name)
        assert_same_stats(BENCHMARK.score(annotations(), results), block["stats"])
        if name in BENCHMARK.constants:
            assert BENCHMARK.constants[name](annotations()).rows == results.rows, name


#: kinds of faults that the handed list does not hold item by item
OTHER_KINDS = {"the question holds the gold output", "a time lies outside the entry's window"}


def test_streamingbench_problems_equal_reference():
    lint = read_field_file(NAME, "lint.json")
    files = sorted({item["file"] for item in lint["items"]})
    for file in files:
        wanted = {
            (f"{item['entry']}.{item['question_index']}", item["kind"]): item
            for item in lint["items"]
            if item["file"] == file
        }
        problems = [p for p in BENCHMARK.find_problems(annotations(file)) if p.kind not in OTHER_KINDS]
        assert {(problem.id, problem.kind) for problem in problems} == set(wanted)
        for problem in problems:
            verdict = wanted[problem.id, problem.kind].get("quoted_string_would_be_scored")
            assert verdict is None or problem.text.endswith(f"is scored {verdict}")


def test_streamingbench_times_outside_window_equal_reference():
    handed = read_field_file(NAME, "lint.json")["time_window_excludes_ask_or_gold"]
    problems = BENCHMARK.find_problems(annotations(handed["file"]))
    found = [problem.id for problem in problems if problem.kind == "a time lies outside the entry's window"]
    assert found == [f"{entry}.{question}" for entry, question in handed["entry_question"]]
    assert len(found) == handed["n"]


def test_streamingbench_annotation_counts_equal_reference():
    lint = read_field_file(NAME, "lint.json")
    questions = annotations().questions
    assert annotations().counts == ReadCounts({"entries": lint["entries"], "questions": lint["questions"]})
    assert len({question.video for question in questions}) == lint["videos"]
    gaps = Counter(str(question.gold_time - question.ask_time) for question in questions)
    assert gaps == lint["gap_gold_minus_ask_histogram"]


def test_streamingbench_large_file_contains_small_file():
    small = annotations("questions_proactive_50.json")
    assert {question.key for question in small.questions} <= set(annotations().by_key)


def test_streamingbench_small_results_miss_other_questions():
    large, small = annotations(), annotations("questions_proactive_50.json")
    score = BENCHMARK.score(large, BENCHMARK.constants["never"](small))
    assert score.count("missing") == len(large.questions) - len(small.questions)
