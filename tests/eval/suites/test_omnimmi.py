"""OmniMMI: official values of the handed cases and sets, the readers, and each quirk by its smallest example."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prospect_core.util.errors import DataError
from prospect_eval.suites.benchmark import open_benchmark
from prospect_eval.suites.official_score import pool_item_totals
from prospect_eval.suites.omnimmi.annotations import make_omnimmi_annotations
from prospect_eval.suites.omnimmi.grounding_judge import judge_omnimmi_grounding
from prospect_eval.suites.omnimmi.official import (
    omnimmi_values,
    read_omnimmi_verdict,
    score_omnimmi_alerts,
    score_omnimmi_grounding,
    score_omnimmi_turn_taking,
)
from prospect_eval.suites.omnimmi.problems import find_omnimmi_problems
from prospect_eval.suites.omnimmi.results import OmniMmiResults, match_omnimmi_rows, read_omnimmi_results
from prospect_eval.suites.omnimmi.scores import score_omnimmi
from prospect_eval.suites.result_rows import ResultRow
from tests.helpers.field_cases import FIELD_DATA, assert_equal_values, each_field_case, find_field_file, read_field_file

NAME = "omnimmi"


def rows(values):
    return [ResultRow(f"row {number}", value) for number, value in enumerate(values)]


def plain(row):
    return json.loads(row) if isinstance(row, str) else row


def score_lines(lines):
    """The score of prediction lines against the annotations that they carry."""
    values = [plain(line) for line in lines]
    alerts = [value for value in values if "answer" in value]
    turns = [value for value in values if "conversation" in value]
    annotations = make_omnimmi_annotations(alerts=rows(alerts), turn_taking=rows(turns))
    return score_omnimmi(annotations, match_omnimmi_rows(rows(values), annotations))


def grounding(turns):
    qa = [{"question": "?", "answer": "a", "timestamp": "0.0 -- 1.0"}]
    return make_omnimmi_annotations(grounding=rows([{"video": "v.mp4", "qa": qa * number} for number in turns]))


def score_verdicts(turns, verdicts):
    annotations = grounding(turns)
    given_verdicts = {item.id: tuple(some) for item, some in zip(annotations.grounding, verdicts, strict=True)}
    return score_omnimmi(annotations, OmniMmiResults(verdicts=given_verdicts))


def defined(found):
    """The values that are defined."""
    return {name: value for name, value in found.values.items() if value is not None}


def official_form(found):
    """The values in the shape of the published output."""
    values, totals = found.values, pool_item_totals(found.items)
    tasks = {item.task for item in found.items}
    assert len(tasks) == 1
    (task,) = tasks
    if task == "sg":
        steps = [name.partition("@")[2] for name in values if name.startswith("sg_step_accuracy@")]
        return {
            "average_accuracy": values["sg_accuracy"],
            "average_score": values["sg_score"],
            "each_step_accuracy": {step: values[f"sg_step_accuracy@{step}"] for step in steps},
            "each_accumulated_step_accuracy": {step: values[f"sg_accumulated_step_accuracy@{step}"] for step in steps},
        }
    out = {"total_data_point": int(totals[f"{task}/items"]), "average_accuracy": values[f"{task}_accuracy"]}
    if task == "pa" and values["pa_iou"] is not None:
        out |= {"average_precision": values["pa_precision"], "average_iou": values["pa_iou"]}
    return out


@each_field_case(NAME, "cases.json")
def test_omnimmi_reference_case_score_is_equal(case):
    is_grounding = case["task"] == "sg"
    found = score_verdicts(case["turns"], case["verdicts"]) if is_grounding else score_lines(case["rows"])
    if "raises" not in case["expected"]:
        assert_equal_values(official_form(found), case["expected"])
        assert official_form(found).keys() == case["expected"].keys()
    elif found.items:
        assert found.notes
        # where the published code stops, nothing is left out of the means
        totals = pool_item_totals(found.items)
        assert totals[f"{case['task']}/items"] == len(found.items)


def sets():
    folder = FIELD_DATA / NAME / "sets"
    return sorted(folder.glob("*.json")) or [pytest.param(None, marks=pytest.mark.skip(reason="no handed sets"))]


@pytest.mark.parametrize("file", sets(), ids=lambda file: file.stem if file else "absent")
def test_omnimmi_reference_set_score_is_equal(file):
    benchmark = open_benchmark(NAME)
    annotations = benchmark.read_annotations(find_field_file(NAME, "data"))
    found = benchmark.score(annotations, benchmark.read_results([file], annotations))
    assert_equal_values(official_form(found), json.loads(file.read_text())["expected"])
    handed = read_field_file(NAME, "expected.json")["sets"].get(file.stem)
    assert_equal_values(official_form(found), handed or {})


#: handed baselines that are no constants of the benchmark: alerts by the item, or one number
RULES = {
    "perfect_span": lambda item: (item.start, item.end),
    "perfect_once": lambda item: (item.start,),
    "perfect_middle_once": lambda item: ((item.start + item.end) / 2,),
    "number_half_time": lambda item: item.clip_seconds / 2,
    "number_gold_start": lambda item: item.start,
    "number_minus_1": lambda item: -1.0,
}
CONSTANTS = {
    "silent": "silent",
    "every_second": "alerts every second",
    "every_5s": "alerts every 5 s",
    "first_and_last": "alerts at the start and the end of the clip",
    "half_time": "alert at half of the clip",
    "from_75s": "alerts every second from 75 s",
    "end": "alert at the end of the clip",
}


def test_omnimmi_alert_baselines_scores_are_equal():
    expected = read_field_file(NAME, "expected.json").get("pa_baselines", {})
    benchmark = open_benchmark(NAME)
    annotations = benchmark.read_annotations(find_field_file(NAME, "data"))
    for name, values in expected.items():
        if name in RULES:
            alerts = {item.id: RULES[name](item) for item in annotations.alerts}
        else:
            constant = CONSTANTS.get(name) or f"alert at {name.removeprefix('at_').removesuffix('s')} s"
            alerts = benchmark.constants[constant](annotations).alerts
        found = score_omnimmi_alerts(annotations.alerts, alerts)
        assert_equal_values(official_form(found), {key: v for key, v in values.items() if key != "rule"})


REPLIES = {"silent": "", "no_reply_token": "<2>", "answer": "He ran.", "blank": " ", "silence_word": "$silent$"}


def test_omnimmi_turn_taking_baselines_scores_are_equal():
    expected = read_field_file(NAME, "expected.json").get("pt_baselines", {})
    annotations = open_benchmark(NAME).read_annotations(find_field_file(NAME, "data"))
    for name, values in expected.items():
        found = score_omnimmi_turn_taking(
            annotations.turn_taking, {i.id: REPLIES[name] for i in annotations.turn_taking}
        )
        assert_equal_values(official_form(found), {key: v for key, v in values.items() if key != "rule"})


def test_read_omnimmi_annotations_published_file_is_complete():
    facts = read_field_file(NAME, "facts.json")
    annotations = open_benchmark(NAME).read_annotations(find_field_file(NAME, "data"))
    turns = [len(item.turns) for item in annotations.grounding]
    lengths = [item.end - item.start for item in annotations.alerts]
    assert annotations.counts.refused == {}
    assert annotations.counts.read == {
        "alert": facts["pa_items"],
        "conversation": facts["pt_items"],
        "grounding item": facts["sg_items"],
        "grounding turn": sum(turns),
    }
    assert {str(number): turns.count(number) for number in sorted(set(turns))} == facts["sg_turns"]
    conversations = [len(item.turns) for item in annotations.turn_taking]
    assert {str(n): conversations.count(n) for n in sorted(set(conversations))} == facts["pt_turns"]
    assert (min(lengths), max(lengths)) == (
        facts["pa_gold_length_seconds"]["min"],
        facts["pa_gold_length_seconds"]["max"],
    )
    assert {str(item.clip_seconds) for item in annotations.alerts} == set(facts["pa_clip_seconds"])
    at_end = sum(item.end == item.clip_seconds for item in annotations.alerts)
    assert at_end == facts["pa_gold_reaches_clip_end"]
    assert all(turn.span is not None for item in annotations.grounding for turn in item.turns)


def test_find_omnimmi_problems_published_counts():
    annotations = open_benchmark(NAME).read_annotations(find_field_file(NAME, "data"))
    kinds = [problem.kind for problem in find_omnimmi_problems(annotations)]
    assert (kinds.count("span without length"), kinds.count("spans overlap")) == (1, 1)
    assert kinds.count("contradicting spans") == kinds.count("span outside the clip") == 0


# quirks, each by its smallest example


def alert(pred, span=(40, 60), **more):
    return {"video": "a_0.0_150.0.mp4", "question": "?", "answer": list(span), "pred": pred, **more}


def test_score_omnimmi_alerts_one_correct_alert_has_no_overlap():
    assert defined(score_lines([alert([50])])) == {"pa_accuracy": 1.0, "pa_precision": 1.0, "pa_iou": 0.0}


def test_score_omnimmi_alerts_first_alert_is_first_listed():
    assert score_lines([alert([100, 45])]).values["pa_accuracy"] == 0.0
    assert score_lines([alert([45, 100])]).values["pa_accuracy"] == 1.0


def test_score_omnimmi_alerts_number_is_one_alert():
    found = score_lines([alert([50]), alert(50)])
    assert found.values["pa_accuracy"] == 1.0
    assert any("numbers among lists" in note for note in found.notes)


def test_score_omnimmi_alerts_numbers_only_have_no_precision():
    assert defined(score_lines([alert(50)])) == {"pa_accuracy": 1.0}


def test_score_omnimmi_alerts_empty_span_is_noted():
    found = score_lines([alert([40], span=(40, 40))])
    assert defined(found) == {"pa_accuracy": 1.0, "pa_precision": 1.0, "pa_iou": 0.0}
    assert any("without length" in note for note in found.notes)


@pytest.mark.parametrize("pred", [None, "50", [50, "x"], [True], {"a": 1}])
def test_score_omnimmi_alerts_other_prediction_is_silence(pred):
    found = score_lines([alert([50]), alert(pred)])
    assert found.values["pa_accuracy"] == 0.5
    assert found.count("failed") == 1


def test_score_omnimmi_item_without_row_is_noted():
    annotations = make_omnimmi_annotations(alerts=rows([alert([]), alert([], question="other")]))
    found = score_omnimmi(annotations, match_omnimmi_rows(rows([alert([50])]), annotations))
    assert found.values["pa_accuracy"] == 1.0
    assert found.count("missing") == 1
    assert any("1 of 2 items have no prediction" in note for note in found.notes)


def test_match_omnimmi_rows_repeated_and_unknown_are_refused():
    annotations = make_omnimmi_annotations(alerts=rows([alert([])]))
    lines = [alert([50]), alert([10]), alert([10], video="b.mp4"), {"id": 1}]
    results = match_omnimmi_rows(rows(lines), annotations)
    assert list(results.alerts.values()) == [(50.0,)]
    assert results.counts.refused == {
        "pa: line that repeats an item": 1,
        "pa: line of an unknown item": 1,
        "line of another kind": 1,
    }


def test_score_omnimmi_other_span_uses_annotation():
    annotations = make_omnimmi_annotations(alerts=rows([alert([])]))
    found = score_omnimmi(annotations, match_omnimmi_rows(rows([alert([70], span=(65, 75))]), annotations))
    assert found.values["pa_accuracy"] == 0.0
    assert any("another span" in note for note in found.notes)


@pytest.mark.parametrize(("reply", "right"), [("", 1.0), ("<2> ok", 1.0), (" ", 0.0), (" <2>", 0.0), ("<2", 0.0)])
def test_score_omnimmi_turn_taking_silence_is_correct(reply, right):
    assert (
        score_lines([{"video": "v.mp4", "conversation": [{"human": "."}], "pred": reply}]).values["pt_accuracy"]
        == right
    )


def test_score_omnimmi_turn_taking_number_is_wrong():
    found = score_lines([{"video": "v.mp4", "conversation": [{"human": "."}], "pred": 0}])
    assert (found.values["pt_accuracy"], found.count("failed")) == (0.0, 1)


def test_score_omnimmi_grounding_dropped_verdict_shifts_turns():
    found = score_verdicts([3], [["{'pred': 'yes', 'score': 5}", "I think yes", {"pred": "no", "score": 1}]])
    assert found.values["sg_step_accuracy@1"] == 0.0
    assert "sg_step_accuracy@2" not in found.values
    assert found.count("failed") == 1


def test_score_omnimmi_grounding_item_without_verdict_is_wrong():
    found = score_verdicts([1, 1], [["?"], [{"pred": "yes", "score": 5}]])
    assert (found.values["sg_accuracy"], found.values["sg_score"]) == (0.5, 2.5)


@pytest.mark.parametrize(
    ("reply", "right", "score", "readable"),
    [
        ({"pred": "not yes", "score": 1}, True, 1, True),
        ({"pred": "YES", "score": 4.8}, True, 4, True),
        ({"pred": "no", "score": "4"}, False, 4, True),
        ({"pred": "yes", "score": "4.8"}, False, 0, False),
        ({"pred": "yes"}, False, 0, False),
        ({"pred": None, "score": 3}, False, 0, False),
        ("['yes', 5]", False, 0, False),
    ],
)
def test_read_omnimmi_verdict_by_hand(reply, right, score, readable):
    verdict = read_omnimmi_verdict(reply)
    assert (verdict.right, verdict.score, verdict.readable) == (right, score, readable)


@pytest.mark.parametrize("reply", ["I think yes", "{'pred': yes}", "", "{'pred': 'yes', 'score': null}", None])
def test_read_omnimmi_verdict_no_literal_is_failed_call(reply):
    assert read_omnimmi_verdict(reply) is None


VERDICTS = st.sampled_from(
    ["{'pred': 'yes', 'score': 5}", "{'pred': 'no', 'score': 1}", "?", {"pred": "yes", "score": 2}]
)


@given(st.lists(st.lists(VERDICTS, min_size=1, max_size=4), min_size=1, max_size=6))
def test_omnimmi_accumulated_accuracy_is_at_most_step_accuracy(verdicts):
    found = score_verdicts([len(some) for some in verdicts], verdicts)
    for name, value in found.values.items():
        if name.startswith("sg_step_accuracy@"):
            assert found.values[name.replace("step", "accumulated_step", 1)] <= value <= 1


ALERTS = st.lists(st.integers(0, 150), max_size=5)


@given(st.lists(ALERTS, min_size=1, max_size=6))
def test_omnimmi_alert_scores_are_in_0_1(predictions):
    found = score_lines([alert(some, question=str(number)) for number, some in enumerate(predictions)])
    assert all(0 <= value <= 1 for value in defined(found).values())
    assert found.values == omnimmi_values(pool_item_totals(reversed(found.items)))


# readers


def test_read_omnimmi_results_evaluates_no_code(tmp_path):
    annotations = make_omnimmi_annotations(alerts=rows([alert([])]))
    file = tmp_path / "pa.jsonl"
    file.write_text(repr(alert([50])) + "\n")
    assert list(read_omnimmi_results([file], annotations).alerts.values()) == [(50.0,)]
    file.write_text("{'video': print('no')}\n")
    with pytest.raises(DataError, match=r"pa.jsonl:1: neither JSON nor a Python literal"):
        read_omnimmi_results([file], annotations)


def test_read_omnimmi_results_joins_verdicts_by_video_and_number(tmp_path):
    qa = [{"question": "?", "answer": "a", "timestamp": "0.0 -- 1.0"}]
    items = [{"video": "v.mp4", "qa": qa}, {"video": "w.mp4", "qa": qa}]
    annotations = make_omnimmi_annotations(grounding=rows(items))
    file = tmp_path / "results.json"
    right, wrong = {"pred": "yes", "score": 5}, {"pred": "no", "score": 0}
    file.write_text(
        json.dumps({"w##1": [{"qa": [right]}, {}], "v##0": [{"qa": [wrong]}, {}], "x##2": [{"qa": []}, {}]})
    )
    results = read_omnimmi_results([file], annotations)
    assert results.verdicts == {"sg/v.mp4": (wrong,), "sg/w.mp4": (right,)}
    assert results.counts.refused == {"sg: verdicts of an unknown item": 1}


def test_judge_omnimmi_grounding_answers_without_verdicts(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    annotations = grounding([2])
    line = {"video": "v.mp4", "qa": [{"question": "?", "pred": "a"}, {"question": "?", "pred": "b"}]}
    results = match_omnimmi_rows(rows([line]), annotations)
    unjudged = score_omnimmi(annotations, results)
    assert defined(unjudged) == {}
    assert any("no verdicts" in note for note in unjudged.notes)
    asked = []

    def ask(prompt):
        asked.append(prompt)
        return "{'pred': 'yes', 'score': 5}" if prompt.endswith("compare: a") else "{'pred': 'no', 'score': 0}"

    for _ in range(2):
        judged = judge_omnimmi_grounding(annotations, results, ask, "omnimmi-test-judge")
        assert score_omnimmi(annotations, judged).values["sg_score"] == 2.5
    assert len(asked) == 2


@pytest.mark.parametrize("text", ["[]", '{"a": 1}', "[[1, 2]]", "3"])
def test_read_omnimmi_results_other_file_raises(tmp_path, text):
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(DataError, match="no OmniMMI predictions") as error:
        read_omnimmi_results([file], grounding([1]))
    assert "\n" not in str(error.value)


def test_read_omnimmi_results_other_length_raises(tmp_path):
    file = tmp_path / "x.json"
    file.write_text('{"pred": [[1]]}')
    with pytest.raises(DataError, match="1 predictions in file order; the annotations have 0"):
        read_omnimmi_results([file], grounding([1]))


def test_read_omnimmi_annotations_folder_with_some_tasks(tmp_path):
    (tmp_path / "omnimmi").mkdir()
    extra = alert([], extra={"new": [1]})
    (tmp_path / "omnimmi" / "proactive_alerting.json").write_text(json.dumps([extra, {"video": "v"}]))
    annotations = open_benchmark(NAME).read_annotations(tmp_path)
    assert len(annotations.alerts) == 1
    assert annotations.counts.refused == {"alert without a span": 1}
    with pytest.raises(DataError, match="holds none of"):
        open_benchmark(NAME).read_annotations(tmp_path / "empty")


def test_find_omnimmi_problems_names_each_fault():
    alerts = [alert([], span=(10, 10)), alert([], question="b", span=(100, 160)), alert([], span=(20, 30))]
    qa = [
        {"question": "Is it in?", "answer": "In", "timestamp": "0.0 -- 5.0"},
        {"question": "Is it in?", "answer": "", "timestamp": "4.0 -- 3.0"},
        {"question": "What?", "answer": "a", "timestamp": "?"},
        {"question": "What?", "answer": "a", "timestamp": "9 -- 10"},
        {"question": "What?", "answer": "b", "timestamp": "9 -- 10"},
    ]
    conversation = [{"human": "a?", "assistant": ""}, {"human": "And now?", "assistant": "b"}]
    annotations = make_omnimmi_annotations(
        alerts=rows(alerts),
        turn_taking=rows([{"video": "v", "conversation": conversation}]),
        grounding=rows([{"video": "v", "qa": qa}]),
    )
    kinds = {problem.kind for problem in find_omnimmi_problems(annotations)}
    assert kinds == {
        "span without length",
        "span outside the clip",
        "contradicting spans",
        "answer to the last turn",
        "last turn is a question",
        "turn without an answer",
        "answer in its question",
        "null answer",
        "turn without a span",
        "spans overlap",
        "state does not change",
        "contradicting answers",
    }


def test_score_omnimmi_single_tasks_equal_all_tasks():
    annotations = grounding([1])
    verdicts = {annotations.grounding[0].id: ({"pred": "yes", "score": 5},)}
    whole = score_omnimmi(annotations, OmniMmiResults(verdicts=verdicts))
    assert score_omnimmi_grounding(annotations.grounding, verdicts).values == whole.values


@pytest.mark.parametrize(
    ("video", "seconds"),
    [("v_0.0_150.0.mp4", 150.0), ("v_0.0_999999999999.0.mp4", None), ("v_9.0_1.0.mp4", None), ("v.mp4", None)],
)
def test_clip_seconds_of_a_name_are_up_to_a_day(video, seconds):
    (alert,) = make_omnimmi_annotations([ResultRow("row", {"video": video, "question": "?", "answer": [1, 2]})]).alerts
    assert alert.clip_seconds == seconds
