"""Quantiles and average precision from histograms: count vectors that can be summed over videos and resampled.

    python -c "from prospect_eval.metrics.histogram import average_precision; print(average_precision([0, 1, 1], [.1, .8, .05]))"

Seconds are held on a grid of 1/60 s (exact at 1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30 and 60 fps). Probabilities are held
in 512 bins, even in log odds; average precision itself is taken from the probabilities, only its interval from the bins.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prospect_eval.stats.quantile import woodruff_interval

GRID_PER_S = 60
BINS = 512
_EDGES = 1 / (1 + np.exp(-np.linspace(-9, 9, BINS - 1)))


def seconds_histogram(values: Sequence[float], limit_s: float) -> np.ndarray:
    """Counts of seconds in -limit_s .. limit_s on the grid."""
    out = np.zeros(2 * round(limit_s * GRID_PER_S) + 1)
    for value in values:
        out[round((value + limit_s) * GRID_PER_S)] += 1
    return out


def histogram_quantile(counts: np.ndarray, q: float, limit_s: float) -> np.ndarray:
    """``numpy.quantile(values, q)`` of the values that a seconds histogram (..., G) holds; NaN where it holds none."""
    total = counts.sum(-1)
    cumulated = np.cumsum(counts, axis=-1)
    position = np.maximum(total - 1, 0) * q
    low = np.floor(position)
    ends = []
    for index in (low, np.minimum(low + 1, np.maximum(total - 1, 0))):
        # the value at a 0-based rank is the first bin whose cumulated count passes it
        ends.append((cumulated <= (index + 1e-9)[..., None]).sum(-1) / GRID_PER_S - limit_s)
    value = ends[0] + (position - low) * (ends[1] - ends[0])
    return np.asarray(np.where(total > 0, value, np.nan))


def average_precision(labels: Sequence[float] | np.ndarray, probabilities: Sequence[float] | np.ndarray) -> float:
    """Average precision, sum of (R_n - R_n-1) P_n over distinct probabilities, highest first; 0..1, NaN without a
    positive label. Equals scikit-learn's ``average_precision_score``."""
    truth, scores = np.asarray(labels, dtype=float), np.asarray(probabilities, dtype=float)
    if truth.shape != scores.shape:
        raise ValueError(f"{len(truth)} labels for {len(scores)} probabilities")
    if not truth.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(truth[order])
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    precision, recall = hits[last] / (last + 1), hits[last] / hits[-1]
    return float(np.sum(np.diff(np.concatenate([[0.0], recall])) * precision))


def pooled_average_precision(samples: Sequence[np.ndarray]) -> float:
    """Average precision over the frames of all (2, frames) labels and probabilities."""
    return average_precision(*np.concatenate(samples, axis=1))


def probability_histogram(labels: np.ndarray, probabilities: Sequence[float]) -> np.ndarray:
    """(positives by bin, highest first; negatives by bin): a vector of 2 x `BINS`."""
    bins = BINS - 1 - np.searchsorted(_EDGES, np.asarray(probabilities, dtype=float))
    return np.concatenate([np.bincount(bins[side], minlength=BINS) for side in (labels, ~labels)]).astype(float)


def histogram_average_precision(counts: np.ndarray) -> np.ndarray:
    """Average precision of summed probability histograms (..., 2 x `BINS`); NaN without a positive."""
    positives, negatives = counts[..., :BINS], counts[..., BINS:]
    hits = np.cumsum(positives, axis=-1)
    seen = np.maximum(hits + np.cumsum(negatives, axis=-1), 1)
    total = hits[..., -1:]
    return np.asarray(np.where(total[..., 0] > 0, (positives * hits / seen).sum(-1) / total[..., 0], np.nan))


def histogram_average_precision_gradient(counts: np.ndarray) -> np.ndarray:
    """Derivatives of `histogram_average_precision` by each count, (..., 2 x `BINS`)."""
    positives, negatives = counts[..., :BINS], counts[..., BINS:]
    hits = np.cumsum(positives, axis=-1)
    seen = np.maximum(hits + np.cumsum(negatives, axis=-1), 1e-9)
    total = np.maximum(hits[..., -1:], 1e-9)
    value = (positives * hits / seen).sum(-1, keepdims=True) / total
    # what one more frame in a bin takes from the precision of that bin and of all bins below it
    taken = _sum_from_here_on(positives * hits / seen**2)
    by_positive = (hits / seen + _sum_from_here_on(positives / seen) - taken - value) / total
    return np.concatenate([by_positive, -taken / total], axis=-1)


def _sum_from_here_on(values: np.ndarray) -> np.ndarray:
    """Sums of each entry and all after it, along the last axis."""
    return np.cumsum(values[..., ::-1], axis=-1)[..., ::-1]


def seconds_quantile_interval(counts: np.ndarray, q: float, limit_s: float) -> tuple[float, float] | None:
    """Interval over clusters of a quantile of seconds histograms (V, G)."""
    return woodruff_interval(counts, q, np.arange(counts.shape[1]) / GRID_PER_S - limit_s)
