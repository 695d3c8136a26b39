"""Calibration by hand and compared with scikit-learn on the pooled frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from prospect_core.records import EpisodeRecord, Knobs
from prospect_core.timeline import Task
from prospect_eval.metrics.base import Scored, VideoCounts
from prospect_eval.metrics.calibration import (
    BINS,
    METRICS,
    brier_score,
    calibration_error,
    calibration_error_gradient,
    calibration_labels,
    expected_calibration_error,
    reliability_diagram,
)
from prospect_eval.scoring.score import score_records
from tests.helpers.predictions import TOOLS, episode, predict, say, score, step

EDGES = np.linspace(0, 1, BINS + 1)
#: probabilities, some of them on the edges of bins
PROBABILITIES = st.one_of(st.floats(0, 1, width=32), st.integers(0, BINS).map(lambda k: k / BINS))
FRAMES = st.lists(st.tuples(st.booleans(), PROBABILITIES), min_size=1, max_size=80)


def pooled_error(labels, probabilities):
    """Return the expected calibration error, bin by bin from its definition."""
    total = 0.0
    for k in range(BINS):
        low, high = EDGES[k], EDGES[k + 1]
        inside = [i for i, p in enumerate(probabilities) if (low < p <= high) or (k == 0 and p == 0)]
        if inside:
            gap = np.mean([labels[i] for i in inside]) - np.mean([probabilities[i] for i in inside])
            total += len(inside) / len(labels) * abs(gap)
    return total


def test_speaking_calibration_by_hand():
    reference = episode(say(2.0), frames=10)
    # the reference speaks on frame 4; frames 2 to 6 are within 1 s
    record = predict(reference, speaking_prob=(0.0, 0.0, 0.5, 1.0, 1.0, 1.0, 0.5, 0.0, 0.0, 0.25))
    got = {name: entry["value"] for name, entry in score(record).items()}
    assert got["speaking_brier"] == pytest.approx((0.25 + 1 + 0 + 1 + 0.25 + 0.0625) / 10)
    assert got["speaking_brier@1s"] == pytest.approx((0.25 + 0.25 + 0.0625) / 10)
    # four bins have frames: 0 (4 frames), .25 (1), .5 (2), 1 (3)
    assert got["speaking_ece"] == pytest.approx((4 * 0 + 0.25 + 2 * 0.5 + 3 * (1 - 1 / 3)) / 10)
    assert got["speaking_ece@1s"] == pytest.approx((0.25 + 2 * 0.5) / 10)


def test_update_calibration_by_hand():
    reference = episode(step(2.0, "S1", "start"), frames=8)
    record = predict(reference, update_prob=(0.0, 0.0, 0.0, 0.0, 0.9, 0.0, 0.0, 0.0))
    got = {name: entry["value"] for name, entry in score(record).items()}
    assert got["update_brier"] == pytest.approx(0.01 / 8)
    assert got["update_ece"] == pytest.approx(0.1 / 8)
    # frames 2 to 6 are positive within 1 s
    assert got["update_brier@1s"] == pytest.approx((0.01 + 4) / 8)
    assert got["update_ece@1s"] == pytest.approx((4 + 0.1) / 8)


@given(FRAMES)
@settings(max_examples=200, deadline=None)
def test_expected_calibration_error_equals_definition(rows):
    labels, probabilities = [int(a) for a, _ in rows], [b for _, b in rows]
    expected = pooled_error(labels, probabilities)
    assert expected_calibration_error(labels, probabilities) == pytest.approx(expected, abs=1e-12)


@given(st.lists(FRAMES, min_size=1, max_size=4))
@settings(max_examples=100, deadline=None)
def test_calibration_metrics_equal_scikit_learn(videos):
    records, labels, probabilities = [], [], []
    for number, rows in enumerate(videos):
        events = [say(frame / 2) for frame, (label, _) in enumerate(rows) if label]
        reference = episode(*events, frames=len(rows), id_=f"e{number}", video=f"v{number}")
        records.append(predict(reference, speaking_prob=tuple(p for _, p in rows)))
        labels += [int(label) for label, _ in rows]
        probabilities += [p for _, p in rows]
    scored = Scored.over(records, TOOLS)
    got = {metric.name: metric.compute(scored, intervals=False) for metric in METRICS}
    loss = brier_score_loss(labels, probabilities, labels=[0, 1])
    assert got["speaking_brier"]["value"] == pytest.approx(loss, abs=1e-12)
    assert brier_score(labels, probabilities) == pytest.approx(loss, abs=1e-12)
    error = expected_calibration_error(labels, probabilities)
    assert got["speaking_ece"]["value"] == pytest.approx(error, abs=1e-12)
    assert 0 <= got["speaking_ece"]["value"] <= 1


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.floats(0, 5))
@settings(max_examples=200, deadline=None)
def test_calibration_labels_include_frames_near_event(labels, tolerance):
    expected = [any(other and abs(i - j) <= tolerance for j, other in enumerate(labels)) for i in range(len(labels))]
    assert calibration_labels(np.array(labels), tolerance).tolist() == expected


def test_reliability_diagram_equals_scikit_learn():
    rng = np.random.default_rng(0)
    probabilities = rng.random(200)
    labels = rng.random(200) < probabilities
    records = []
    for number in range(4):
        part = slice(50 * number, 50 * number + 50)
        events = [say(frame / 2) for frame in np.flatnonzero(labels[part]).tolist()]
        reference = episode(*events, frames=50, id_=f"e{number}", video=f"v{number}")
        records.append(predict(reference, speaking_prob=tuple(probabilities[part].tolist())))
    got = score_records(records, TOOLS)["reliability"]
    near = np.concatenate([calibration_labels(labels[50 * k : 50 * k + 50], 2) for k in range(4)])
    positive, mean = calibration_curve(near, probabilities, n_bins=BINS)
    assert [row["positive"] for row in got["bins"]["speaking"]] == pytest.approx(positive)
    assert [row["probability"] for row in got["bins"]["speaking"]] == pytest.approx(mean)
    assert sum(row["frames"] for row in got["bins"]["speaking"]) == 200
    assert got["tolerance_s"] == 1
    assert got["bins"]["update"] == []


def test_calibration_no_probabilities_or_steps_is_undefined():
    got = score(predict(episode(say(2.0))))
    assert got["speaking_ece@1s"]["reason"] == "the record holds no probabilities"
    without = score(predict(episode(say(2.0), frames=4, steps=Task("watch")), update_prob=(0.0,) * 4))
    assert without["update_brier"]["reason"] == "the task has no steps"
    assert reliability_diagram(VideoCounts((), np.zeros((0, 0)), 0, ("nothing",))) == []
    assert np.isnan(calibration_error(np.zeros(45)))


def test_calibration_perfect_probabilities_score_zero():
    reference = episode(say(2.0), frames=10)
    certain = score(predict(reference, speaking_prob=tuple(float(frame == 4) for frame in range(10))))
    assert certain["speaking_brier"]["value"] == 0
    assert certain["speaking_ece"]["value"] == 0
    constant = score(predict(reference, speaking_prob=(0.1,) * 10))
    assert constant["speaking_ece"]["value"] == pytest.approx(0)
    assert constant["speaking_brier"]["value"] == pytest.approx(0.09)


def test_calibration_error_gradient_equals_numeric():
    rng = np.random.default_rng(0)
    counts = np.concatenate([rng.integers(5, 50, BINS), rng.random(BINS) * 5, rng.random(BINS) * 5])
    got = calibration_error_gradient(counts)
    for index in range(3 * BINS):
        step = np.zeros(3 * BINS)
        step[index] = 1e-4
        numeric = (calibration_error(counts + step) - calibration_error(counts - step)) / 2e-4
        assert got[index] == pytest.approx(float(numeric), abs=1e-7), index


def test_calibration_failed_episode_counts_as_worst():
    whole = predict(episode(say(2.0), frames=10), speaking_prob=tuple(float(frame == 4) for frame in range(10)))
    lost = episode(say(2.0), frames=10, id_="lost", video="w")
    failed = EpisodeRecord(1, "m", Knobs(), lost, status="failed", error="no")
    got = score_records([whole, failed], TOOLS)["metrics"]
    # correct on 10 frames, wrong on 10
    assert got["speaking_brier"]["value"] == pytest.approx(0.5)
    # within 1 s the first one is wrong on 4 of its 10 frames
    assert got["speaking_brier@1s"]["value"] == pytest.approx((4 + 10) / 20)
