"""Calibration of probabilities: Brier score, expected calibration error, reliability diagram.

A frame is positive if a reference event (an utterance or a state transition) is at most T seconds
away. Metrics named ``@1s`` use T = 1 s. Metrics without a tolerance are frame-exact: only the
decision frame is positive.

*Brier score*: mean of (probability - label)^2 over all frames, 0..1 (scikit-learn's
``brier_score_loss``).

*Expected calibration error* (Naeini et al. 2015): the probabilities are put into 15 bins of equal
width. The error is the sum over bins of (frames of the bin / all frames) * |mean label - mean
probability|, 0..1. Bins without a frame have weight 0. A probability on the edge of two bins
belongs to the lower one, as in scikit-learn's ``calibration_curve``.

The frames of all episodes are pooled: both metrics are computed from sums over videos and equal
scikit-learn's values on the pooled frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, Literal

import numpy as np

from prospect_eval.metrics.base import SHARE, Metric, Scored, VideoCounts, ratio
from prospect_eval.metrics.families import CALIBRATION
from prospect_eval.metrics.speaking import NO_PROBABILITY
from prospect_eval.metrics.states import NO_STEPS
from prospect_eval.stats.bootstrap import Statistic, bootstrap_interval

BINS = 15
TOLERANCE_S = 1
Decision = Literal["speaking", "update"]
DECISIONS: tuple[Decision, ...] = ("speaking", "update")
_EDGES = np.linspace(0, 1, BINS + 1)
Counts = Callable[[Scored], np.ndarray | str]


def brier_score(labels: Sequence[float] | np.ndarray, probabilities: Sequence[float] | np.ndarray) -> float:
    """Return the Brier score by scikit-learn.

    Args:
        labels: Labels, 0 or 1.
        probabilities: Probabilities, 0..1, one for each label.

    Returns:
        The score, 0..1.
    """
    # a lazy import: it takes seconds, and the metrics are computed from the counts
    from sklearn.metrics import brier_score_loss

    return float(brier_score_loss(np.asarray(labels, dtype=int), np.asarray(probabilities, dtype=float), labels=[0, 1]))


def expected_calibration_error(
    labels: Sequence[float] | np.ndarray, probabilities: Sequence[float] | np.ndarray
) -> float:
    """Return the expected calibration error over 15 bins of equal width, by scikit-learn.

    Args:
        labels: Labels, 0 or 1.
        probabilities: Probabilities, 0..1, one for each label.

    Returns:
        The error, 0..1.
    """
    from sklearn.calibration import calibration_curve

    truth, scores = np.asarray(labels, dtype=int), np.asarray(probabilities, dtype=float)
    positive_share, mean_probability = calibration_curve(truth, scores, n_bins=BINS, strategy="uniform")
    frames = np.bincount(_bin_of(scores), minlength=BINS)
    weights = frames[frames > 0] / len(scores)
    return float(weights @ np.abs(positive_share - mean_probability))


def calibration_labels(labels: np.ndarray, tolerance: float) -> np.ndarray:
    """Extend positive labels by a tolerance.

    Args:
        labels: (F,) labels of frames.
        tolerance: Largest distance in frames.

    Returns:
        (F,) booleans that are true if a true label is at most ``tolerance`` frames away.
    """
    events, frames = np.flatnonzero(labels), np.arange(len(labels))
    if not len(events):
        return np.zeros(len(labels), bool)
    # the nearest event is either the last one before the frame or the first one after it
    after = np.searchsorted(events, frames)
    before_gap = frames - events[np.maximum(after - 1, 0)]
    after_gap = events[np.minimum(after, len(events) - 1)] - frames
    nearest = np.minimum(np.abs(before_gap), np.abs(after_gap))
    return np.asarray(nearest <= tolerance + 1e-9)


def _bin_of(probabilities: np.ndarray) -> np.ndarray:
    """Return the index of the bin of each probability."""
    return np.searchsorted(_EDGES[1:-1], probabilities)


def _frames_of(scored: Scored, decision: Decision, seconds: float) -> tuple[np.ndarray, np.ndarray] | str:
    """Return the (F,) labels and probabilities of a decision, or the reason why there are none."""
    speaking = decision == "speaking"
    if not speaking and not scored.record.episode.task.steps:
        return NO_STEPS
    probabilities = scored.speaking_prob if speaking else scored.update_prob
    if not probabilities:
        return NO_PROBABILITY
    events = scored.speaking_labels if speaking else scored.update_labels
    labels = calibration_labels(events, seconds * scored.fps)
    # a failed episode counts as the worst case, also with a tolerance
    return labels, 1.0 - labels if scored.failed else np.asarray(probabilities, dtype=float)


@cache
def calibration_brier_counts(decision: Decision, seconds: float) -> Counts:
    """Return a function that counts (sum of squared errors, frames) of a decision.

    Args:
        decision: The decision.
        seconds: Tolerance of a positive frame.
    """

    def counts(scored: Scored) -> np.ndarray | str:
        found = _frames_of(scored, decision, seconds)
        if isinstance(found, str):
            return found
        labels, probabilities = found
        return np.array([((probabilities - labels) ** 2).sum(), len(labels)])

    return counts


@cache
def calibration_bin_counts(decision: Decision, seconds: float) -> Counts:
    """Return a function that counts the 45 sums of `calibration_error`.

    The counts are the frames of each of the 15 bins, then the sums of probabilities, then the
    positive frames.

    Args:
        decision: The decision.
        seconds: Tolerance of a positive frame.
    """

    def counts(scored: Scored) -> np.ndarray | str:
        found = _frames_of(scored, decision, seconds)
        if isinstance(found, str):
            return found
        labels, probabilities = found
        bins = _bin_of(probabilities)
        sums = [np.bincount(bins, weights, BINS) for weights in (None, probabilities, labels.astype(float))]
        return np.concatenate(sums).astype(float)

    return counts


def calibration_error(counts: np.ndarray) -> np.ndarray:
    """Return the expected calibration error of summed `calibration_bin_counts`.

    Args:
        counts: (..., 45) summed counts.

    Returns:
        (...) errors, 0..1, NaN without a frame.
    """
    frames, probability, positive = np.split(counts, 3, axis=-1)
    total = frames.sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.abs(positive - probability).sum(-1) / total)


def calibration_error_gradient(counts: np.ndarray) -> np.ndarray:
    """Return the (..., 45) derivatives of `calibration_error` with respect to each count."""
    frames, probability, positive = np.split(counts, 3, axis=-1)
    total = frames.sum(-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        by_positive = np.sign(positive - probability) / total
        by_frames = -calibration_error(counts)[..., None] / total * np.ones_like(frames)
    return np.concatenate([by_frames, -by_positive, by_positive], axis=-1)


def reliability_diagram(of: VideoCounts) -> list[dict[str, Any]]:
    """Return the bins of a reliability diagram that have a frame.

    Args:
        of: `calibration_bin_counts` by video.

    Returns:
        For each bin its edges, frames, mean probability, and share of positive frames with its 95 %
        interval over videos.
    """
    if not of.videos:
        return []
    frames, probability, positive = np.split(of.table, 3, axis=-1)
    out = []
    for index in np.flatnonzero(frames.sum(0)).tolist():
        total = float(frames[:, index].sum())
        interval = bootstrap_interval(np.stack([positive[:, index], frames[:, index]], -1), Statistic(ratio, SHARE))
        out.append(
            {
                "low": float(_EDGES[index]),
                "high": float(_EDGES[index + 1]),
                "frames": int(total),
                "probability": float(probability[:, index].sum()) / total,
                "positive": float(positive[:, index].sum()) / total,
                "ci95": list(interval) if interval else None,
            }
        )
    return out


def calibration_metric_name(decision: Decision) -> str:
    """Return the name of the metric whose counts make the reliability diagram of a decision."""
    return f"{decision}_ece@{TOLERANCE_S}s"


_metric = partial(Metric, family=CALIBRATION, better="lower")
_EVENT = {"speaking": "utterance", "update": "state transition"}
_RARE = "Events are rare, so a small constant probability scores nearly 0; compare with the silent baseline"
_BLIND = "A constant probability equal to the share of positive frames scores 0; bins with few frames bias it upward"
_SPIKE = "a probability that is high on the decision frame alone is wrong on its neighbors, so the oracle is above 0"


def _metrics_of(decision: Decision, seconds: int) -> list[Metric]:
    suffix = f"@{seconds}s" if seconds else ""
    positive = f"frames within {seconds} s of" if seconds else "frames with"
    positive += f" a reference {_EVENT[decision]}"
    caveats = [_SPIKE] if seconds else []
    signature = {"unit": "frame", "positive": f"<={seconds}s" if seconds else "exact"}
    return [
        _metric(
            f"{decision}_brier{suffix}",
            calibration_brier_counts(decision, seconds),
            ratio,
            signature,
            definition=f"Mean squared error of the {decision} probability, which should be 1 on {positive} and 0 elsewhere.",
            failure_mode="; ".join([_RARE, *caveats]) + ".",
        ),
        _metric(
            f"{decision}_ece{suffix}",
            calibration_bin_counts(decision, seconds),
            calibration_error,
            {**signature, "bins": f"{BINS} equal width", "empty": "weight 0"},
            gradient=calibration_error_gradient,
            definition=f"Expected calibration error: average gap between the {decision} probability and the share of"
            f" {positive}.",
            failure_mode="; ".join([_BLIND, *caveats]) + ".",
        ),
    ]


METRICS = [
    metric for decision in DECISIONS for seconds in (TOLERANCE_S, 0) for metric in _metrics_of(decision, seconds)
]
