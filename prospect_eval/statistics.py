"""Intervals and tests over videos, from stored counts: the video is the unit of resampling, never the frame.

    python -c "import numpy as np; from prospect_eval.statistics import *; print(bootstrap_ci(np.eye(12)[:, :2] + 1, lambda c: c[..., 0] / c[..., 1]))"

``counts`` are (videos, C) sufficient counts and ``value`` maps summed counts (..., C) to (...), NaN where undefined.
Everything is seeded by a generator of its own. How often the intervals cover the truth: ``reports/metrics``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from scipy.special import ndtr, ndtri

RESAMPLES, SEED = 2000, 20261
#: longer count vectors are histograms (medians, average precision): no smooth function of their counts
SMOOTH_COUNTS = 40
#: up to so many videos a permutation test tries every flip
EXACT_VIDEOS = 20
#: up to so many videos each distinct resample is computed once
FEW_VIDEOS = 5
Value = Callable[[np.ndarray], np.ndarray]


def bootstrap_ci(
    counts: np.ndarray,
    value: Value,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    level: float = 0.95,
    method: str = "auto",
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> tuple[float, float] | None:
    """Interval of ``value(sum of counts)`` by cluster bootstrap over videos, cut to the value's ``bounds``.

    ``method``: ``studentised`` (bootstrap-t, Efron & Tibshirani 1993, ch. 12.5, the error of each resample by the
    infinitesimal jackknife), ``bca`` (Efron 1987, the acceleration by the jackknife), ``percentile``, or ``auto``:
    studentised, and BCa where that cannot be (histograms; resamples without any spread).
    Resamples in which the value is undefined are left out; None with fewer than two videos, or when the value is
    undefined in more than a tenth of the resamples.
    """
    videos = len(counts)
    if videos < 2:
        return None
    weights, drawn = _weights(videos, resamples, seed)
    sums = weights @ counts
    with np.errstate(divide="ignore", invalid="ignore"):
        draws, point = value(sums)[drawn], float(value(counts.sum(0)))
        defined = np.isfinite(draws)
        if defined.sum() < 0.9 * resamples or not np.isfinite(point):
            return None
        if np.ptp(draws[defined]) < 1e-12:
            return point, point
        alphas = np.array([(1 - level) / 2, (1 + level) / 2])
        leave_one_out = value(counts.sum(0) - counts)
        ends = None
        if method == "studentised" or (method == "auto" and counts.shape[1] <= SMOOTH_COUNTS):
            ends = _studentised(counts, value, weights, drawn, sums, draws, point, leave_one_out, alphas)
        if ends is None:
            draws = draws[defined]
            shifted = alphas if method == "percentile" else _bca_levels(draws, point, leave_one_out, alphas)
            ends = np.quantile(draws, shifted)
    low, high = np.clip(ends, *bounds)
    return float(low), float(high)


def _studentised(
    counts: np.ndarray,
    value: Value,
    weights: np.ndarray,
    drawn: np.ndarray | slice,
    sums: np.ndarray,
    draws: np.ndarray,
    point: float,
    leave_one_out: np.ndarray,
    alphas: np.ndarray,
) -> np.ndarray | None:
    """Ends of the bootstrap-t interval; None where too few resamples have a spread of their own."""
    videos = len(counts)
    error = jackknife_error(leave_one_out)
    if not np.isfinite(error) or error <= 0:
        return None
    influence = _gradient(value, sums) @ counts.T
    first = np.einsum("bv,bv->b", weights, influence) / videos
    second = np.einsum("bv,bv,bv->b", weights, influence, influence) / videos
    errors = np.sqrt(np.maximum(second - first**2, 0) * videos**2 / (videos - 1))[drawn]
    usable = np.isfinite(draws) & np.isfinite(errors) & (errors > 1e-3 * error)
    if usable.mean() < 0.9:
        return None
    pivots = (draws[usable] - point) / errors[usable]
    return np.asarray(point - np.quantile(pivots, alphas[::-1]) * error)


def _gradient(value: Value, sums: np.ndarray) -> np.ndarray:
    """(B, C) derivatives of the value by each summed count, by central differences."""
    out = np.empty_like(sums)
    for k in range(sums.shape[1]):
        step = np.zeros_like(sums)
        step[:, k] = 1e-4 * np.maximum(np.abs(sums[:, k]), 1e-2)
        out[:, k] = (value(sums + step) - value(sums - step)) / (2 * step[:, k])
    return out


def _bca_levels(draws: np.ndarray, point: float, leave_one_out: np.ndarray, alphas: np.ndarray) -> np.ndarray:
    below = (np.sum(draws < point) + 0.5 * np.sum(draws == point)) / len(draws)
    if not np.isfinite(leave_one_out).all() or not 0 < below < 1:
        return alphas
    bias = ndtri(below)
    deviation = leave_one_out.mean() - leave_one_out
    spread = float((deviation**2).sum()) ** 1.5
    acceleration = float((deviation**3).sum()) / (6 * spread) if spread > 0 else 0.0
    z = bias + ndtri(alphas)
    return np.asarray(ndtr(bias + z / (1 - acceleration * z)))


def jackknife_error(leave_one_out: np.ndarray) -> float:
    """Standard error of a value from its leave-one-video-out values."""
    n = len(leave_one_out)
    return float(np.sqrt((n - 1) / n * ((leave_one_out - leave_one_out.mean()) ** 2).sum()))


def _difference(value: Value, size: int) -> Value:
    return lambda c: value(c[..., size:]) - value(c[..., :size])


def paired_ci(
    first: np.ndarray, second: np.ndarray, value: Value, resamples: int = RESAMPLES, seed: int = SEED
) -> tuple[float, float] | None:
    """Interval of ``value(second) - value(first)`` over the same videos in the same order: the same resamples for both."""
    _same_shape(first, second)
    return bootstrap_ci(np.hstack([first, second]), _difference(value, first.shape[1]), resamples, seed)


def sign_flip_p(
    first: np.ndarray, second: np.ndarray, value: Value, permutations: int = 10_000, seed: int = SEED
) -> float | None:
    """Two-sided p of no difference: each video's counts are swapped between the two or not.

    Exact up to `EXACT_VIDEOS` videos (all 2^V flips), else Monte Carlo with (b + 1) / (m + 1). The least possible p is
    2^(1 - V): five videos can never reach .05. None when the observed difference is undefined.
    """
    _same_shape(first, second)
    videos = len(first)
    gap, total = second - first, first.sum(0) + second.sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        observed = float(value(second.sum(0)) - value(first.sum(0)))
        if not np.isfinite(observed):
            return None
        exact = videos <= EXACT_VIDEOS
        # flipping every sign gives the mirrored difference: half of all flips are enough
        count = 2 ** max(videos - 1, 0) if exact else permutations
        rng = np.random.default_rng(seed)
        extreme = valid = 0
        for begin in range(0, count, 1 << 15):
            number = min(count - begin, 1 << 15)
            if exact:
                bits = (np.arange(begin, begin + number)[:, None] >> np.arange(videos)) & 1
            else:
                bits = rng.integers(0, 2, (number, videos))
            moved = (1 - 2 * bits) @ gap
            flipped = value((total + moved) / 2) - value((total - moved) / 2)
            flipped = flipped[np.isfinite(flipped)]
            valid += len(flipped)
            extreme += int((np.abs(flipped) >= abs(observed) - 1e-12).sum())
    if not valid:
        return None
    return extreme / valid if exact else (extreme + 1) / (valid + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values (Holm 1979), in the given order."""
    order = np.argsort(p_values, kind="stable")
    out, so_far = [0.0] * len(order), 0.0
    for rank, index in enumerate(order.tolist()):
        so_far = max(so_far, min(1.0, (len(order) - rank) * p_values[index]))
        out[index] = so_far
    return out


def detectable_difference(
    first: np.ndarray, second: np.ndarray, value: Value, alpha: float = 0.05, power: float = 0.8
) -> float | None:
    """The least true difference that a comparison over these videos finds with this power: (z + z) times its error."""
    _same_shape(first, second)
    if len(first) < 2:
        return None
    both = np.hstack([first, second])
    with np.errstate(divide="ignore", invalid="ignore"):
        error = jackknife_error(_difference(value, first.shape[1])(both.sum(0) - both))
    return float((ndtri(1 - alpha / 2) + ndtri(power)) * error) if np.isfinite(error) else None


def noise_floor(values: Sequence[float]) -> float:
    """The largest difference between runs of the same thing (A/A): no smaller difference of two runs says anything."""
    if len(values) < 2:
        raise ValueError("a noise floor needs at least two runs of the same thing")
    return float(max(values) - min(values))


def kendall_agreement(scores: np.ndarray) -> np.ndarray:
    """(M, M) Kendall tau-b between M metrics over the systems that they score: ``scores`` is (M, systems), NaN where
    undefined; pairs of metrics with fewer than three systems in common, or without any order, are NaN."""
    from scipy.stats import kendalltau

    size = len(scores)
    out = np.full((size, size), np.nan)
    for a in range(size):
        for b in range(size):
            both = np.isfinite(scores[a]) & np.isfinite(scores[b])
            if both.sum() >= 3:
                out[a, b] = kendalltau(scores[a][both], scores[b][both]).statistic
    return out


@lru_cache(maxsize=16)
def _weights(videos: int, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray | slice]:
    """How often each video is in each distinct resample, (D, videos), and which of these each resample is.

    Of a few videos there are few: two give three.
    """
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(videos, np.full(videos, 1 / videos), size=resamples).astype(float)
    if videos > FEW_VIDEOS:
        return weights, slice(None)
    distinct, drawn = np.unique(weights, axis=0, return_inverse=True)
    return distinct, drawn.reshape(-1)


def _same_shape(first: np.ndarray, second: np.ndarray) -> None:
    if first.shape != second.shape:
        raise ValueError(f"counts of {len(first)} and {len(second)} videos cannot be paired")
