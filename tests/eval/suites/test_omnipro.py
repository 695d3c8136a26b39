"""OmniPro's online scores: official values of the handed cases and sets, the reader, and each quirk."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prospect_core.util.errors import DataError
from prospect_eval.suites.official_score import pool_item_totals
from prospect_eval.suites.omnipro.annotations import OmniProAnnotations, read_omnipro_time
from prospect_eval.suites.omnipro.official import (
    CONTENT_KINDS,
    judge_pairs,
    make_omnipro_command_report,
    pair_emissions,
    parse_emission,
    score_omnipro_samples,
)
from prospect_eval.suites.omnipro.results import make_omnipro_results, read_omnipro_results
from prospect_eval.suites.result_rows import ResultRow
from tests.helpers.field_cases import assert_equal_values, each_field_case

NAME = "omnipro"
VALUES = ("time_precision", "time_recall", "time_f1", "content_accuracy", "joint_f1")


def read(*values):
    return make_omnipro_results(ResultRow(f"row {number}", value) for number, value in enumerate(values)).samples


def counts_of(totals, task):
    found = {
        name: totals[f"{task}/{name}"] for name in ("pairs", "right", "judged", "emissions", "triggers", "samples")
    }
    return {
        "tp_time": found["pairs"],
        "tp_content": found["right"],
        "fp": found["emissions"] - found["pairs"],
        "fn": found["triggers"] - found["pairs"],
        "content_scored": found["judged"],
        "n_samples": found["samples"],
    }


def library_form(found, task):
    return {**counts_of(pool_item_totals(found.items), task), **{n: found.values[f"{task}/{n}"] for n in VALUES}}


def assert_command_form(found, task, expected):
    """Compare printed values and counts of a task.

    Correct pairs are None if the command waits for an LLM judge.
    """
    report = make_omnipro_command_report(found.items).tasks[task]
    counts = counts_of(pool_item_totals(found.items), task)
    assert {name: report[name] for name in VALUES} == {name: expected[name] for name in VALUES}
    for name in ("tp_time", "fp", "fn", "content_scored"):
        assert counts[name] == expected[name], name
    if expected["tp_content"] is not None:
        assert counts["tp_content"] == expected["tp_content"]
    assert CONTENT_KINDS.get(task, "unknown") == expected["content_kind"]


@each_field_case(NAME, "cases.json")
def test_omnipro_reference_case_score_is_equal(case):
    (sample,) = read(case["sample"])
    scores = case.get("judge_scores_in_match_order")
    library = score_omnipro_samples([sample], case["tolerance"])
    command = score_omnipro_samples([sample], case["tolerance"], None if scores is None else {sample.id: scores})
    expected = case["expected"]
    if "raises" in expected["library"]:
        assert library.notes or library.values["time_f1"] == 0
        return
    form = library_form(library, sample.task)
    assert_equal_values(form, {name: value for name, value in expected["library"].items() if name in form})
    pairs = judge_pairs(sample, case["tolerance"])
    found = [
        {"emit_idx": pair.emission, "gt_idx": pair.trigger, "dt": pair.distance, "content_ok": pair.right}
        for pair in pairs
    ]
    for got, wanted in zip(found, expected["library"]["per_match"], strict=True):
        assert_equal_values(got, wanted)
    assert (len(sample.emissions), len(sample.triggers)) == (
        expected["library"]["num_emits"],
        expected["library"]["num_gt"],
    )
    if "raises" not in expected["command"]:
        assert_command_form(command, sample.task, expected["command"]["score"])
        judged = {pair.emission: pair.right for pair in judge_pairs(sample, case["tolerance"], scores)}
        given_right = [judged.get(emission) for emission in range(len(sample.emissions))]
        assert given_right == expected["command"]["emit_content_ok"]


@each_field_case(NAME, "sets.json", key="sets")
def test_omnipro_reference_set_score_is_equal(case):
    expected = case["expected"]
    found = score_omnipro_samples(read(*case["samples"]))
    micro = dict(expected["library_micro"])
    overall = micro.pop("overall")
    for task, values in micro.items():
        assert_equal_values(library_form(found, task), values)
    assert_equal_values(found.values, {name: overall[name] for name in VALUES})
    assert len(found.items) == overall["n_samples"]
    for task, values in expected["command_tasks"].items():
        assert_command_form(found, task, values)
    report = make_omnipro_command_report(found.items)
    assert len(report.tasks) == expected["command_macro_overall"]["num_tasks"]
    assert report.overall.keys() <= expected["command_macro_overall"].keys()
    assert_equal_values(expected["command_macro_overall"], report.overall)
    # without the rounding, the means over tasks are the same to 4 places
    for name, value in report.overall.items():
        assert found.values[name] == pytest.approx(value, abs=1e-4)


@each_field_case(NAME, "parse.json")
def test_parse_emission_equals_reference(case):
    parsed = parse_emission(case["raw"], case["task"])
    assert_equal_values(
        {"valid": parsed.valid, "position": parsed.position, "count": parsed.count, "state": parsed.state},
        {name: value for name, value in case.items() if name not in ("task", "raw")},
    )


# quirks, each by its smallest example


def sample(emissions, triggers, task="instant_event_alert", **more):
    predictions = [{"t_sec": time, "raw": raw} for time, raw in emissions]
    return {"id": "s", "task": task, "predictions": predictions, "ground_truth": triggers, **more}


def at(*times, **more):
    return [{"trigger_time_sec": time, **more} for time in times]


def values(*rows):
    return score_omnipro_samples(read(*rows)).values


def test_pair_emissions_closest_first_is_not_optimal():
    assert values(sample([(10, "a"), (14, "b")], at(12.5, 16.9)))["time_f1"] == 0.5


def test_score_omnipro_early_count_is_compared_with_previous():
    triggers = [{"trigger_time_sec": 10, "count": 1}, {"trigger_time_sec": 20, "count": 2}]
    early = sample([(10, "1"), (19, "2")], triggers, "cumulative_counting")
    assert values(early)["content_accuracy"] == 0.5


def test_score_omnipro_emission_without_text():
    assert values(sample([(10, "")], at(10)))["joint_f1"] == 1.0
    assert values(sample([(10, "")], at(10, count=1), "snapshot_counting"))["joint_f1"] == 0.0


def test_score_omnipro_empty_sample_is_zero():
    assert values(sample([], []))["time_f1"] == 0.0


def test_score_omnipro_pooled_and_macro_differ_without_llm_judge():
    found = values(sample([(10, "a")], at(10)), sample([(10, "a")], at(10), "event_narration", id="t"))
    assert (found["joint_f1"], found["macro_joint_f1"]) == (0.5, 1.0)


def test_score_omnipro_narration_needs_score_3():
    row = sample([(10, "a"), (20, "b"), (30, "c")], at(10, 20, 30), "event_narration")
    found = score_omnipro_samples(read(row), judge_scores={"s": [3, 2]})
    assert found.values["content_accuracy"] == pytest.approx(1 / 3)
    silent = score_omnipro_samples(read(sample([], at(10), "event_narration")), judge_scores={"s": []})
    # an LLM judge ran, so the task counts with 0 although it has no pair
    assert make_omnipro_command_report(silent.items).overall["macro_joint_f1"] == 0.0


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("center-left, near bottom-left", "center-left"),
        ("bottom-left, not center-left", "bottom-left"),
        ("position: nowhere, top-center", "top-center"),
        ("center", "center"),
    ],
)
def test_parse_emission_first_of_equally_long_regions(text, region):
    assert parse_emission(text, "explicit_target_grounding").position == region


def test_score_omnipro_emission_without_time_is_false_alarm():
    found = score_omnipro_samples(read({**sample([(10, "a")], at(10)), "predictions": [{"raw": "a"}, "x"]}))
    assert (found.values["time_f1"], found.count("failed")) == (0.0, 1)
    assert any("count as false alarms: 2" in note for note in found.notes)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("01:15", 75.0),
        ("01:01:40", 3700.0),
        ("7.5", 7.5),
        (3, 3.0),
        ("1:2:3:4", None),
        ("soon", None),
        (None, None),
        (True, None),
    ],
)
def test_read_omnipro_time_numbers_and_clock_times(value, seconds):
    assert read_omnipro_time(value) == seconds


@pytest.mark.parametrize("trigger", [{}, {"trigger_time": ""}, {"trigger_time": None}])
def test_read_omnipro_results_trigger_without_time_is_at_0(trigger):
    assert values(sample([(2, "a")], [trigger]))["time_f1"] == 1.0


def test_score_omnipro_file_fields_replace_text():
    row = sample([(10, "5")], at(10, count=3), "snapshot_counting")
    row["predictions"][0]["parsed"] = {"count": 3, "valid": True}
    assert values(row)["content_accuracy"] == 1.0
    row["predictions"][0]["parsed"] = {"count": 5}
    assert values(row)["content_accuracy"] == 0.0


TIMES = st.lists(st.integers(0, 20).map(lambda half: half / 2), max_size=6)


@given(TIMES, TIMES)
def test_pair_emissions_is_one_to_one_within_tolerance(emissions, triggers):
    pairs = pair_emissions(emissions, triggers)
    assert len({pair.emission for pair in pairs}) == len({pair.trigger for pair in pairs}) == len(pairs)
    assert all(pair.distance == abs(emissions[pair.emission] - triggers[pair.trigger]) <= 3 for pair in pairs)
    # closest first is at least half of the best pairing, and nothing near stays free on both ends
    free = [e for k, e in enumerate(emissions) if k not in {pair.emission for pair in pairs}]
    due = [t for k, t in enumerate(triggers) if k not in {pair.trigger for pair in pairs}]
    assert all(abs(e - t) > 3 for e in free for t in due)


# the reader


def test_read_omnipro_results_folder_ignores_command_output(tmp_path):
    rows = [sample([(10, "a")], at(10), extra=1), sample([(10, "a")], at(10)), {**sample([], []), "id": None}, {"x": 1}]
    (tmp_path / "instant_event_alert.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "instant_event_alert.scored.jsonl").write_text("{}\n")
    (tmp_path / "metrics.json").write_text("{}")
    found = read_omnipro_results([tmp_path], OmniProAnnotations(()))
    assert [item.id for item in found.samples] == ["s", "s#2", "None"]
    assert found.counts.read == {"sample": 3, "emission": 2, "trigger": 2}
    assert found.counts.refused == {"row without a task": 1}


@pytest.mark.parametrize("text", ["[]", '{"x": 1}', "3"])
def test_read_omnipro_results_other_file_raises(tmp_path, text):
    file = tmp_path / "x.jsonl"
    file.write_text(text)
    with pytest.raises(DataError, match="no OmniPro samples") as error:
        read_omnipro_results([file], OmniProAnnotations(()))
    assert "\n" not in str(error.value)
