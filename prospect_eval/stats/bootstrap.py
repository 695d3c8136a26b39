"""Intervals from stored counts: the cluster (a video) is the unit of resampling, never the frame.

    python -c "import numpy as np; from prospect_eval.stats.bootstrap import *; \
print(bootstrap_interval(np.eye(12)[:, :2] + 1, lambda c: c[..., 0] / c[..., 1]))"

``counts`` are (videos, C) sufficient counts and ``value`` maps summed counts (..., C) to (...), NaN where undefined.
Everything is seeded by a generator of its own. How often the intervals hold the true value: ``make bench-statistics``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from scipy.special import ndtr, ndtri

from prospect_eval.stats.boundary import (
    FEW_CLUSTERS,
    boundary_difference_interval,
    boundary_proportion_interval,
    count_clusters_off_boundary,
)

RESAMPLES, SEED = 2000, 20261
#: longer count vectors are histograms: they are studentised only where their value has a gradient
SMOOTH_COUNTS = 40
#: up to this many videos each distinct resample is computed once
FEW_VIDEOS = 5
Value = Callable[[np.ndarray], np.ndarray]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Statistic:
    """A number of summed counts.

    Attributes:
        value: maps summed counts (..., C) to values (...), NaN where undefined.
        bounds: the range of the value.
        gradient: derivatives of the value by each count, (..., C) -> (..., C); taken numerically of up to `SMOOTH_COUNTS`
            counts where it is not given.
        interval: an interval of its own, from the (V, C) counts, in place of the bootstrap's.
    """

    value: Value
    bounds: Interval = (-np.inf, np.inf)
    gradient: Value | None = None
    interval: Callable[[np.ndarray], Interval | None] | None = None

    def slopes(self, size: int) -> Value | None:
        """The gradient over ``size`` counts; None of long count vectors without one."""
        if self.gradient is not None or size > SMOOTH_COUNTS:
            return self.gradient
        return partial(bootstrap_numeric_gradient, self.value)


@dataclass(frozen=True)
class Resampling:
    """How a bootstrap interval is made.

    Attributes:
        resamples: their number.
        seed: of the resamples.
        level: of confidence.
        method: ``studentised`` (bootstrap-t, Efron & Tibshirani 1993, ch. 12.5, the error of each resample by the
            infinitesimal jackknife), ``bca`` (Efron 1987, the acceleration by the jackknife), ``percentile``, or
            ``auto``: Korn and Graubard's interval where fewer than `boundary.FEW_CLUSTERS` clusters depart from an end
            of finite bounds, else studentised, else BCa (long count vectors without a gradient).
    """

    resamples: int = RESAMPLES
    seed: int = SEED
    level: float = 0.95
    method: str = "auto"


def bootstrap_interval(
    counts: np.ndarray, statistic: Statistic | Value, how: Resampling = Resampling()
) -> Interval | None:
    """Interval of a statistic of the summed counts, over clusters.

    Args:
        counts: (V, C) sufficient counts of each cluster.
        statistic: what is taken of their sum; a function alone has no bounds.
        how: number of resamples, seed, level, method.

    Returns:
        Its ends, or None: with fewer than two clusters, when the value is undefined in more than a tenth of the
        resamples, and when no cluster differs from another and the range has no ends.
    """
    of = statistic if isinstance(statistic, Statistic) else Statistic(statistic)
    if len(counts) < 2:
        return None
    if of.interval is not None and how.method == "auto":
        return of.interval(counts)
    draws = BootstrapDraws.of(counts, of.value, how)
    if draws is None:
        return None
    bounded = how.method == "auto" and bool(np.isfinite(of.bounds).all())
    if bounded and count_clusters_off_boundary(counts, of.value, *of.bounds) < FEW_CLUSTERS:
        known = draws.leave_one_out[np.isfinite(draws.leave_one_out)]
        return boundary_proportion_interval(
            draws.point, bootstrap_jackknife_error(known), len(counts), of.bounds, how.level
        )
    if np.ptp(draws.defined) < 1e-12:
        return None
    alphas = np.array([(1 - how.level) / 2, (1 + how.level) / 2])
    slopes = of.slopes(counts.shape[1]) if how.method == "auto" else partial(bootstrap_numeric_gradient, of.value)
    ends = None
    if how.method in ("auto", "studentised") and slopes is not None:
        ends = _studentised(counts, slopes, draws, alphas)
    if ends is None:
        levels = (
            alphas
            if how.method == "percentile"
            else _bca_levels(draws.defined, draws.point, draws.leave_one_out, alphas)
        )
        ends = np.quantile(draws.defined, levels)
    low, high = np.clip(ends, *of.bounds)
    return float(low), float(high)


@dataclass(frozen=True)
class BootstrapDraws:
    """Values of the resamples: ``weights`` (D, V) and ``sums`` (D, C) of the distinct ones, ``drawn`` the distinct one of
    each resample, ``values`` (B,) theirs."""

    weights: np.ndarray
    sums: np.ndarray
    drawn: np.ndarray | slice
    values: np.ndarray
    point: float
    leave_one_out: np.ndarray

    @classmethod
    def of(cls, counts: np.ndarray, value: Value, how: Resampling) -> BootstrapDraws | None:
        """None where the value, or that of more than a tenth of the resamples, is undefined."""
        weights, drawn = _weights(len(counts), how.resamples, how.seed)
        sums = weights @ counts
        with np.errstate(divide="ignore", invalid="ignore"):
            values, point = value(sums)[drawn], float(value(counts.sum(0)))
            leave_one_out = np.asarray(value(counts.sum(0) - counts))
        if np.isfinite(values).sum() < 0.9 * how.resamples or not np.isfinite(point):
            return None
        return cls(weights, sums, drawn, values, point, leave_one_out)

    @property
    def defined(self) -> np.ndarray:
        """The values that are defined."""
        return np.asarray(self.values[np.isfinite(self.values)])


def _studentised(counts: np.ndarray, gradient: Value, draws: BootstrapDraws, alphas: np.ndarray) -> np.ndarray | None:
    """Ends of the bootstrap-t interval; None where too few resamples have a spread of their own."""
    videos = len(counts)
    error = bootstrap_jackknife_error(draws.leave_one_out)
    if not np.isfinite(error) or error <= 0:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        influence = gradient(draws.sums) @ counts.T
        first = np.einsum("bv,bv->b", draws.weights, influence) / videos
        second = np.einsum("bv,bv,bv->b", draws.weights, influence, influence) / videos
        errors = np.sqrt(np.maximum(second - first**2, 0) * videos**2 / (videos - 1))[draws.drawn]
        usable = np.isfinite(draws.values) & np.isfinite(errors) & (errors > 1e-3 * error)
        if usable.mean() < 0.9:
            return None
        pivots = (draws.values[usable] - draws.point) / errors[usable]
    return np.asarray(draws.point - np.quantile(pivots, alphas[::-1]) * error)


def bootstrap_numeric_gradient(value: Value, sums: np.ndarray) -> np.ndarray:
    """Derivatives of the value by each summed count, (B, C), by central differences."""
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


def bootstrap_jackknife_error(leave_one_out: np.ndarray) -> float:
    """Standard error of a value from its leave-one-video-out values."""
    n = len(leave_one_out)
    return float(np.sqrt((n - 1) / n * ((leave_one_out - leave_one_out.mean()) ** 2).sum()))


def bootstrap_difference(value: Value, size: int) -> Value:
    """The second side's value minus the first side's, of both sides' counts one after the other (..., 2 x size)."""
    return lambda c: value(c[..., size:]) - value(c[..., :size])


def bootstrap_difference_gradient(gradient: Value, size: int) -> Value:
    """The gradient of `bootstrap_difference`."""
    return lambda c: np.concatenate([-gradient(c[..., :size]), gradient(c[..., size:])], axis=-1)


def paired_bootstrap_interval(
    first: np.ndarray, second: np.ndarray, statistic: Statistic | Value, how: Resampling = Resampling()
) -> Interval | None:
    """Interval of the second side's value minus the first side's, over the same clusters, resampled together.

    Args:
        first: (V, C) counts of one side.
        second: (V, C) counts of the other side, the same clusters in the same order.
        statistic: what is taken of each side's sum.
        how: number of resamples, seed, level, method.

    Returns:
        Its ends. Where fewer than `boundary.FEW_CLUSTERS` clusters differ, it is widened to hold the exact
        `boundary.difference_interval`. None where no cluster differs, where all differ by the same amount and the range
        has no ends, and where the difference is undefined.
    """
    require_same_bootstrap_clusters(first, second)
    of = statistic if isinstance(statistic, Statistic) else Statistic(statistic)
    both, size = np.hstack([first, second]), first.shape[1]
    difference = bootstrap_difference(of.value, size)
    differs = (first != second).any(axis=1)
    if len(first) < 2 or not differs.any():
        return None
    slopes = of.slopes(size)
    gradient = None if slopes is None else bootstrap_difference_gradient(slopes, size)
    ci = bootstrap_interval(both, Statistic(difference, gradient=gradient), how)
    if ci is None and np.isfinite(of.bounds).all() and np.isfinite(point := float(difference(both.sum(0)))):
        # the same difference on every cluster: nothing to resample
        width = of.bounds[1] - of.bounds[0]
        ci = boundary_proportion_interval(point, 0.0, len(first), (-width, width), how.level)
    pseudo = np.where(differs, bootstrap_jackknife_pseudo_values(both, difference), 0.0)
    if differs.sum() >= FEW_CLUSTERS or not np.isfinite(pseudo).all():
        return ci
    exact = boundary_difference_interval(pseudo, how.level)
    return exact if ci is None else (min(ci[0], exact[0]), max(ci[1], exact[1]))


def bootstrap_jackknife_pseudo_values(counts: np.ndarray, value: Value) -> np.ndarray:
    """(V,) jackknife pseudo-values (Tukey 1958): V times the value minus V - 1 times the value without each cluster."""
    videos = len(counts)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(videos * value(counts.sum(0)) - (videos - 1) * value(counts.sum(0) - counts))


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


def require_same_bootstrap_clusters(first: np.ndarray, second: np.ndarray) -> None:
    """Refuse counts of different clusters."""
    if first.shape != second.shape:
        raise ValueError(f"counts of {len(first)} and {len(second)} videos cannot be paired")
