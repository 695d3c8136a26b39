"""OVO-Timing: samples, forms of predictions, formula, quirks, constants and faults, on small invented samples."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prospect_core.util.errors import DataError
from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.ovo_timing.annotations import TimingAnnotations, TimingSample, read_timing_annotations
from prospect_eval.suites.ovo_timing.benchmark import BENCHMARK
from prospect_eval.suites.ovo_timing.constants import detect_periodically
from prospect_eval.suites.ovo_timing.official import count_first_fit_matches, score_ovo_timing, score_timing_sample
from prospect_eval.suites.ovo_timing.results import (
    TimingResults,
    TimingRow,
    read_prediction,
    read_timing_results,
)
from tests.helpers.ovo_bench_items import choice_entry, clue_entry, count_entry, step_entry

NO_ANNOTATIONS = TimingAnnotations((), ReadCounts({}))


def make_sample(number, task="CRR", gold=(10.0,), start=0.0, end=30.0):
    return TimingSample(
        sample_id=number,
        task=task,
        subject="x",
        gt_timestamp=gold,
        stream_start=start,
        stream_end=end,
        video=f"v{number}",
    )


ANNOTATIONS = TimingAnnotations((make_sample(1), make_sample(2, "REC", (4.0, 20.0))), ReadCounts({}))


def score_rows(*rows, annotations=NO_ANNOTATIONS):
    named = [TimingRow(str(k), task, tuple(gold), tuple(found)) for k, (task, gold, found) in enumerate(rows, 1)]
    return score_ovo_timing(annotations, TimingResults(tuple(named)))


@pytest.mark.parametrize(
    ("gold", "detections", "matches"),
    [
        ([10, 12], [12, 9], 1),  # the first fit takes the detection that the second gold time needs
        ([10, 12], [9, 12], 2),
        ([10.0], [12.0], 1),
        ([10.0], [12.0000001], 0),
        ([2.4], [4.4], 0),  # more than 2 apart in binary
        ([10.1], [12.1], 1),
        ([9, 9], [9], 1),
        ([30], [30, 30, 30], 1),
        ([], [4], 0),
    ],
)
def test_count_first_fit_matches_by_hand(gold, detections, matches):
    assert count_first_fit_matches(gold, detections) == matches


def test_score_ovo_timing_silent_sample_has_precision_zero():
    values = score_rows(("CRR", [30], [30]), ("CRR", [40], [])).values
    assert (values["CRR.recall_at_2s"], values["CRR.precision_at_2s"]) == (0.5, 0.5)


def test_score_ovo_timing_f1_uses_means():
    values = score_rows(("REC", [10, 20, 30], [10]), ("REC", [10], [10, 50, 60, 70])).values
    recall, precision = (1 / 3 + 1) / 2, (1 + 1 / 4) / 2
    assert values["REC.f1_at_2s"] == pytest.approx(2 * recall * precision / (recall + precision))


def test_score_ovo_timing_absent_task_is_zero():
    values = score_rows(("CRR", [30], [30])).values
    assert (values["CRR.f1_at_2s"], values["SSR.f1_at_2s"]) == (1.0, 0.0)
    assert values["average_f1_at_2s"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("prediction", "times", "state"),
    [
        ('{"checked_detections": [{"time": 3, "response": "x"}], "detections": [9]}', (3.0,), "read"),
        ('  {"checked_detections": [], "detections": [9, 8]}', (9.0, 8.0), "read"),
        ('{"response_events": [{"time": "5.5"}]}', (5.5,), "read"),
        ({"detections": [1]}, (1.0,), "read"),
        ("{}", (), "read"),
        ('{"detections": [9', (), "silent text"),
        ("at 9 s", (), "silent text"),
        ("", (), "null"),
        (None, (), "null"),
        (float("nan"), (), "null"),
        ('{"checked_detections": [{"response": "x"}]}', (), "unreadable"),
        ('{"detections": ["soon"]}', (), "unreadable"),
        ('{"detections": 5}', (), "unreadable"),
        ([3.0], (), "unreadable"),
    ],
)
def test_read_prediction_all_forms(prediction, times, state):
    assert read_prediction(prediction) == (times, state)


FORMS = {
    "by_id.json": {"1": {"detections": [10]}, "2": {"checked_detections": [{"time": 20}]}},
    "times.json": {"about": "x", "detections": {"1": [10], "2": [20]}},
    "text.json": {"1": '{"detections": [10]}', "2": '{"response_events": [{"time": 20}]}'},
    "rows.json": [{"sample_id": 1, "detections": [10]}, {"id": "2", "prediction": '{"detections": [20]}'}],
}


@pytest.mark.parametrize("name", sorted(FORMS))
def test_read_timing_results_json_forms_are_equal(tmp_path, name):
    file = tmp_path / name
    file.write_text(json.dumps(FORMS[name]))
    rows = read_timing_results([file], ANNOTATIONS).rows
    assert [(row.id, row.task, row.gt_timestamp, row.detections) for row in rows] == [
        ("1", "CRR", (10.0,), (10.0,)),
        ("2", "REC", (4.0, 20.0), (20.0,)),
    ]


def test_read_timing_results_folder_of_samples(tmp_path):
    for number in (1, 2):
        (tmp_path / f"{number}.json").write_text(json.dumps({"id": number, "detections": [number]}))
    rows = read_timing_results([tmp_path], ANNOTATIONS).rows
    assert [(row.id, row.detections) for row in rows] == [("1", (1.0,)), ("2", (2.0,))]


def test_read_timing_results_table_keeps_task_and_gold(tmp_path):
    file = tmp_path / "model.tsv"
    lines = [
        "index\ttask\tgt_timestamp\tprediction",
        '1\tSSR\t[5.0, 6.0]\t"{""detections"": [5]}"',
        "2\tREC\t[4.0, 20.0]\t",
    ]
    file.write_text("\n".join(lines))
    results = read_timing_results([file], ANNOTATIONS)
    assert [(row.task, row.gt_timestamp, row.detections, row.state) for row in results.rows] == [
        ("SSR", (5.0, 6.0), (5.0,), "read"),
        ("REC", (4.0, 20.0), (), "null"),
    ]
    notes = score_ovo_timing(ANNOTATIONS, results).notes
    assert "rows scored against other times than the annotation's: 1 (1)" in notes
    assert "null predictions, counted as silence: 1" in notes


def test_read_timing_results_json_lines(tmp_path):
    file = tmp_path / "model.jsonl"
    file.write_text('{"sample_id": 1, "response_events": [{"time": 3}]}\n\n{"sample_id": 2}\n')
    rows = read_timing_results([file], ANNOTATIONS).rows
    assert [(row.detections, row.state) for row in rows] == [((3.0,), "read"), ((), "null")]


def test_read_timing_results_refused_rows_are_counted(tmp_path):
    file = tmp_path / "rows.json"
    rows = [{"sample_id": 9}, {"sample_id": 9, "task": "XYZ"}, {"task": "CRR"}, {"sample_id": 1, "detections": []}]
    file.write_text(json.dumps(rows))
    results = read_timing_results([file], ANNOTATIONS)
    assert len(results.rows) == 1
    assert results.counts.refused == {
        "the row names no task, and its id is none of a sample": 1,
        "the task XYZ is none of CRR, REC, SSR, as in the published scorer": 1,
        "the row has no gt_timestamp, and its id is none of a sample": 1,
    }


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.json", "[]"),
        ("x.json", "[1]"),
        ("x.json", '{"about": "x"}'),
        ("x.json", "7"),
        ("x.tsv", "a\tb\n1\t2"),
        ("x.jsonl", "["),
    ],
)
def test_read_timing_results_other_file_raises(tmp_path, name, content):
    file = tmp_path / name
    file.write_text(content)
    with pytest.raises(DataError) as caught:
        read_timing_results([file], ANNOTATIONS)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_score_ovo_timing_missing_and_repeated_are_noted():
    rows = (
        TimingRow("1", "CRR", (10.0,), (10.0,)),
        TimingRow("1", "CRR", (10.0,), ()),
        TimingRow("7", "CRR", (3.0,), ()),
    )
    score = score_ovo_timing(ANNOTATIONS, TimingResults(rows))
    assert [(item.id, item.video, item.status) for item in score.items] == [
        ("1", "v1", "scored"),
        ("1#2", "v1", "scored"),
        ("7", "sample 7", "scored"),
        ("2", "v2", "missing"),
    ]
    assert score.values["REC.recall_at_2s"] == 0.0
    assert "samples without a row, left out of the means: 1 (2)" in score.notes
    assert "ids of several rows, all scored: 1 (1)" in score.notes
    assert "ids that the annotations lack, scored as they stand: 1 (7)" in score.notes


def test_read_timing_annotations_from_ovo_bench(tmp_path):
    file = tmp_path / "ovo_bench_new.json"
    file.write_text(json.dumps([choice_entry(1), count_entry(2), step_entry(3), clue_entry(4)]))
    found = read_timing_annotations(tmp_path)
    assert [(s.task, s.gt_timestamp, s.stream_start, s.stream_end, s.ask_time, s.video) for s in found.samples] == [
        ("REC", (3.0, 7.0), 0.0, 7.5, None, "v2.mp4"),
        ("SSR", (4.0, 12.0), 0.0, 15.0, None, "v3.mp4"),
        ("CRR", (9.0,), 4.0, 11.0, 4.0, "v4.mp4"),
    ]
    assert found.counts.read == {"REC": 1, "SSR": 1, "CRR": 1}


def test_read_timing_annotations_refused_entries_are_counted(tmp_path):
    sample = {"sample_id": 1, "task": "CRR", "subject": "x", "gt_timestamp": [1], "stream_start": 0, "stream_end": 2}
    file = tmp_path / "gold.json"
    file.write_text(
        json.dumps({"samples": [{**sample, "note": 1}, sample, {**sample, "task": "X", "sample_id": 2}, {}]})
    )
    found = read_timing_annotations(file)
    assert len(found.samples) == 1
    assert sum(found.counts.refused.values()) == 3
    assert found.samples[0].cluster == "sample 1"


@pytest.mark.parametrize("content", ["{}", "7", '{"samples": []}', '{"samples": 3}', "[]"])
def test_read_timing_annotations_other_file_raises(tmp_path, content):
    file = tmp_path / "x.json"
    file.write_text(content)
    with pytest.raises(DataError) as caught:
        read_timing_annotations(file)
    assert str(file) in str(caught.value)


def test_ovo_timing_constants_stay_in_stream():
    assert detect_periodically(make_sample(1, start=4.0, end=11.0), 3) == [7.0, 10.0]
    assert len(detect_periodically(make_sample(1, start=0.0, end=1e300), 3600)) == 24
    for name, make in BENCHMARK.constants.items():
        rows = make(ANNOTATIONS).rows
        assert [row.id for row in rows] == ["1", "2"], name
        assert all(0 < time <= 30 for row in rows for time in row.detections), name


@pytest.mark.parametrize(
    ("gold", "kind"),
    [
        ((), "no gold time"),
        ((31.0,), "a gold time lies outside the stream"),
        ((10.0, 13.9), "gold times are nearer than twice the tolerance"),
    ],
)
def test_ovo_timing_problems_name_fault(gold, kind):
    annotations = TimingAnnotations((make_sample(5, gold=gold),), ReadCounts({}))
    assert [(problem.id, problem.kind) for problem in BENCHMARK.find_problems(annotations)] == [("5", kind)]


def test_ovo_timing_problems_close_gold_times():
    annotations = TimingAnnotations((make_sample(5, gold=(10.0, 10.0, 11.0, 12.5)),), ReadCounts({}))
    kinds = {problem.kind for problem in BENCHMARK.find_problems(annotations)}
    assert kinds == {
        "a gold time is listed twice",
        "gold times are nearer than twice the tolerance",
        "the score depends on the order of the detections",
    }


TIMES = st.lists(st.integers(0, 24).map(lambda half: half / 2), max_size=6)


def transcribe_matching(gold, detections):
    """The published rule: the first detection in reach that no gold time has taken."""
    taken = [False] * len(detections)
    count = 0
    for time in gold:
        near = [k for k, found in enumerate(detections) if not taken[k] and -2.0 <= found - time <= 2.0]
        if near:
            taken[near[0]] = True
            count += 1
    return count


@given(TIMES, TIMES)
def test_count_first_fit_matches_equals_plain_transcription(gold, detections):
    assert count_first_fit_matches(gold, detections) == transcribe_matching(gold, detections)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from(["CRR", "REC", "SSR"]), TIMES, TIMES), max_size=8))
def test_score_timing_sample_equals_plain_transcription(rows):
    values = score_rows(*rows).values
    finals = {"recall": [], "precision": [], "f1": []}
    for task in ("CRR", "REC", "SSR"):
        pairs = [score_timing_sample(gold, found) for name, gold, found in rows if name == task]
        recall = sum(pair[0] for pair in pairs) / len(pairs) if pairs else 0.0
        precision = sum(pair[1] for pair in pairs) / len(pairs) if pairs else 0.0
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        for name, value in (("recall", recall), ("precision", precision), ("f1", f1)):
            assert values[f"{task}.{name}_at_2s"] == pytest.approx(value, abs=1e-12)
            finals[name].append(value)
    for name, found in finals.items():
        assert values[f"average_{name}_at_2s"] == pytest.approx(sum(found) / 3, abs=1e-12)
