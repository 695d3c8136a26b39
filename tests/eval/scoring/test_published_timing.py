"""Timing metrics of published predictions: hand computation, equality with the metrics of runs, and the command."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prospect_eval.metrics.speaking import speaking_event_scores
from prospect_eval.scoring.published_timing import score_published_timing
from prospect_eval.suites.benchmark import ItemTimes
from tests.helpers.commands import evaluate
from tests.helpers.ovo_bench_items import count_entry, write_ovo_bench

NAMES = ("f1", "precision", "recall")


def values(items, tolerance):
    found = score_published_timing(items)
    return {name: found[f"speaking_event_{name}@{tolerance}s"]["value"] for name in NAMES}


def test_counts_of_all_items_are_pooled():
    items = [ItemTimes("a", "v", (10.0, 20.0), (11.0,)), ItemTimes("b", "w", (5.0,), (5.5, 30.0, 40.0))]
    # two pairs of four responses and three due times
    assert values(items, 1) == {"f1": 4 / 7, "precision": 0.5, "recall": pytest.approx(2 / 3)}
    assert score_published_timing(items)["speaking_event_f1@1s"]["videos"] == 2


def test_pairs_are_one_to_one_within_the_tolerance():
    items = [ItemTimes("a", "v", (10.0,), (9.0, 11.0, 12.5))]
    assert values(items, 1) == {"f1": 0.5, "precision": pytest.approx(1 / 3), "recall": 1.0}


def test_silence_has_recall_zero_and_no_precision():
    assert values([ItemTimes("a", "v", (10.0,), ())], 2) == {"f1": 0.0, "precision": None, "recall": 0.0}


def test_items_without_times_have_no_value_and_no_item_has_no_entry():
    assert values([ItemTimes("a", "v", (), ())], 2) == dict.fromkeys(NAMES)
    assert score_published_timing([]) == {}


FRAMES = st.lists(st.integers(0, 60), max_size=8, unique=True).map(sorted)


@given(FRAMES, FRAMES)
def test_values_equal_the_metrics_of_runs_at_the_times_of_frames(predicted, reference):
    item = ItemTimes("a", "v", tuple(frame / 2 for frame in reference), tuple(frame / 2 for frame in predicted))
    assert values([item], 2) == pytest.approx(speaking_event_scores(predicted, reference, 2, 2))


def test_score_command_prints_and_writes_timing_metrics(tmp_path, capsys):
    # due two seconds after each annotated start
    write_ovo_bench(tmp_path / "ovo_bench_new.json", [count_entry(2)])
    rows = [{"sample_id": 2, "task": "REC", "gt_timestamp": [3.0, 9.0], "prediction": '{"detections": [4, 30]}'}]
    (tmp_path / "model.jsonl").write_text("\n".join(map(json.dumps, rows)))
    command = ("score", tmp_path / "model.jsonl", "--suite", "ovo_timing", "--data", tmp_path)
    assert evaluate(*command, "--output", tmp_path / "out") == 0
    assert "timing metric of PROSPECT" in capsys.readouterr().out
    official = json.loads((tmp_path / "out" / "official.json").read_text("utf-8"))
    assert official["timing"]["speaking_event_f1@2s"]["value"] == 0.5
    assert official["timing"]["speaking_event_f1@1s"]["value"] == 0.5
    assert official["timing"]["speaking_event_recall@10s"]["value"] == 0.5
