"""OVO-Timing against the values that its published scorer gave."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from prospect_eval.suites.benchmark import ReadCounts, open_benchmark
from prospect_eval.suites.ovo_timing.annotations import TimingAnnotations
from prospect_eval.suites.ovo_timing.results import TimingResults, TimingRow, read_prediction
from tests.helpers.field_cases import each_field_case, find_field_file, read_field_file

pytestmark = pytest.mark.integration
NAME = "ovo_timing"
BENCHMARK = open_benchmark(NAME)
TASKS = ("CRR", "REC", "SSR")


@cache
def annotations():
    return BENCHMARK.read_annotations(find_field_file("ovo_bench", "data/ovo_bench_new.json"))


def set_files():
    return sorted(find_field_file(NAME, "sets").glob("*.json"))


def assert_same_values(values, expected):
    wanted = {f"{task}.{name}": expected[task][name] for task in TASKS for name in expected[task] if name != "n"}
    wanted |= {name: value for name, value in expected.items() if name.startswith("average_")}
    assert values == pytest.approx(wanted, abs=1e-12, rel=1e-12)


def test_ovo_timing_samples_equal_reference():
    gold = read_field_file(NAME, "gold.json")
    handed = BENCHMARK.read_annotations(find_field_file(NAME, "gold.json"))
    bare = [replace(sample, video="", instruction="", replies=()) for sample in annotations().samples]
    assert bare == list(handed.samples)
    assert handed.counts.refused == {}
    events = {
        task: sum(len(sample.gt_timestamp) for sample in handed.samples if sample.task == task)
        for task in gold["events"]
    }
    assert events == gold["events"]


def test_ovo_timing_problems_equal_reference():
    gold = read_field_file(NAME, "gold.json")
    kinds = [problem.kind for problem in BENCHMARK.find_problems(annotations())]
    outside = len(gold["samples_with_an_event_after_stream_end"])
    assert kinds.count("a gold time lies outside the stream") == outside
    near = kinds.count("gold times are nearer than twice the tolerance")
    assert near == gold["samples_with_gold_times_nearer_than_4s"]


def test_ovo_timing_reference_sets_values_are_equal():
    expected = read_field_file(NAME, "expected.json")["sets"]
    assert set_files()
    for file in set_files():
        results = BENCHMARK.read_results([file], annotations())
        assert_same_values(BENCHMARK.score(annotations(), results).values, expected[file.stem])
        assert results.counts.refused == {}


def test_ovo_timing_constants_equal_reference_sets():
    compared = 0
    for file in set_files():
        if file.stem in BENCHMARK.constants:
            handed = BENCHMARK.read_results([file], annotations())
            assert BENCHMARK.constants[file.stem](annotations()).rows == handed.rows, file.stem
            compared += 1
    assert compared > 5


@each_field_case(NAME, "cases.json")
def test_ovo_timing_reference_case_values_are_equal(case):
    rows, raised = [], 0
    for number, row in enumerate(case["rows"]):
        detections, state = read_prediction(row["prediction"])
        raised += state == "unreadable"
        if row["task"] in TASKS:
            rows.append(TimingRow(str(number), row["task"], tuple(row["gt_timestamp"]), detections, state))
    score = BENCHMARK.score(TimingAnnotations((), ReadCounts({})), TimingResults(tuple(rows)))
    if "raises" in case["expected"]:
        # the published scorer stops; here the row is silence
        assert raised == score.count("failed") == 1
        assert score.values["average_f1_at_2s"] == 0.0
    else:
        assert raised == 0
        assert_same_values(score.values, case["expected"])
