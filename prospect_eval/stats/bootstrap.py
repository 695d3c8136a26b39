"""Bootstrap intervals from sufficient statistics, resampled by cluster (a video), never by frame.

``counts`` are (V, C) sufficient statistics of V videos. ``value`` maps summed counts (..., C) to
values (...), NaN where undefined. Every function uses a seeded generator of its own.
``make bench-statistics`` measures how often the intervals contain the true value.
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
#: longer count vectors are histograms: they are studentised only if their value has a gradient
SMOOTH_COUNTS = 40
#: up to this many videos each distinct resample is computed once
FEW_VIDEOS = 5
Value = Callable[[np.ndarray], np.ndarray]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Statistic:
    """A value that is computed from summed counts.

    Attributes:
        value: Maps summed counts (..., C) to values (...), NaN where undefined.
        bounds: Smallest and largest possible value.
        gradient: Derivatives of the value with respect to each count, (..., C) -> (..., C). Without
            it the gradient is computed numerically for up to `SMOOTH_COUNTS` counts.
        interval: Computes an interval from the (V, C) counts, in place of the bootstrap.
    """

    value: Value
    bounds: Interval = (-np.inf, np.inf)
    gradient: Value | None = None
    interval: Callable[[np.ndarray], Interval | None] | None = None

    def slopes(self, size: int) -> Value | None:
        """Return the gradient over ``size`` counts, or None for a long count vector without one."""
        if self.gradient is not None or size > SMOOTH_COUNTS:
            return self.gradient
        return partial(bootstrap_numeric_gradient, self.value)


@dataclass(frozen=True)
class Resampling:
    """Settings of a bootstrap interval.

    Attributes:
        resamples: Number of resamples.
        seed: Random seed of the resamples.
        level: Confidence level, 0 to 1.
        method: One of

            - ``studentised``: bootstrap-t (Efron & Tibshirani 1993, ch. 12.5); the standard error
              of each resample comes from the infinitesimal jackknife.
            - ``bca``: Efron 1987; the acceleration comes from the jackknife.
            - ``percentile``.
            - ``auto``: Korn and Graubard's interval if fewer than `boundary.FEW_CLUSTERS` clusters
              depart from an end of finite bounds; otherwise studentised, or BCa for long count
              vectors without a gradient.
    """

    resamples: int = RESAMPLES
    seed: int = SEED
    level: float = 0.95
    method: str = "auto"


def bootstrap_interval(
    counts: np.ndarray, statistic: Statistic | Value, how: Resampling = Resampling()
) -> Interval | None:
    """Compute the interval of a statistic of the summed counts over clusters.

    Args:
        counts: (V, C) sufficient statistics, one row for each cluster.
        statistic: The statistic of the sum. A plain function has no bounds.
        how: Number of resamples, seed, level and method.

    Returns:
        The two ends. None with fewer than two clusters, if the value is undefined in more than a
        tenth of the resamples, and if all clusters are equal and the range is not bounded.
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
    """Values of a statistic in the resamples.

    Attributes:
        weights: (D, V) number of times that each video occurs in each of D distinct resamples.
        sums: (D, C) summed counts of the distinct resamples.
        drawn: For each of B resamples, the index of its distinct resample.
        values: (B,) values of the resamples, NaN where undefined.
        point: The value of the data.
        leave_one_out: (V,) values without each video.
    """

    weights: np.ndarray
    sums: np.ndarray
    drawn: np.ndarray | slice
    values: np.ndarray
    point: float
    leave_one_out: np.ndarray

    @classmethod
    def of(cls, counts: np.ndarray, value: Value, how: Resampling) -> BootstrapDraws | None:
        """Draw the resamples of counts.

        Args:
            counts: (V, C) sufficient statistics.
            value: Maps summed counts (..., C) to values (...).
            how: Number of resamples and seed.

        Returns:
            The draws, or None if the value of the data or of more than a tenth of the resamples is
            undefined.
        """
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
        """The defined values of the resamples."""
        return np.asarray(self.values[np.isfinite(self.values)])


def _studentised(counts: np.ndarray, gradient: Value, draws: BootstrapDraws, alphas: np.ndarray) -> np.ndarray | None:
    """Return the ends of the bootstrap-t interval.

    Returns:
        The ends, or None if too few resamples have a standard error above 0.
    """
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
    """Return the derivatives of a value with respect to each summed count, by central differences.

    Args:
        value: Maps summed counts (..., C) to values (...).
        sums: (B, C) summed counts.

    Returns:
        (B, C) derivatives.
    """
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
    """Return the standard error of a value from its (V,) leave-one-video-out values."""
    n = len(leave_one_out)
    return float(np.sqrt((n - 1) / n * ((leave_one_out - leave_one_out.mean()) ** 2).sum()))


def bootstrap_difference(value: Value, size: int) -> Value:
    """Return a function for the difference between two sides, second minus first.

    Args:
        value: Maps summed counts (..., C) to values (...).
        size: Number of counts C of one side.

    Returns:
        A function of the concatenated counts (..., 2 C) of both sides.
    """
    return lambda c: value(c[..., size:]) - value(c[..., :size])


def bootstrap_difference_gradient(gradient: Value, size: int) -> Value:
    """Return the gradient of `bootstrap_difference`.

    Args:
        gradient: Gradient of the value of one side, (..., C) -> (..., C).
        size: Number of counts C of one side.

    Returns:
        A function (..., 2 C) -> (..., 2 C).
    """
    return lambda c: np.concatenate([-gradient(c[..., :size]), gradient(c[..., size:])], axis=-1)


def paired_bootstrap_interval(
    first: np.ndarray, second: np.ndarray, statistic: Statistic | Value, how: Resampling = Resampling()
) -> Interval | None:
    """Compute the interval of a difference, second minus first, over the same clusters.

    Both sides of a cluster are resampled together.

    Args:
        first: (V, C) counts of one side.
        second: (V, C) counts of the other side, the same clusters in the same order.
        statistic: The statistic of each side's sum.
        how: Number of resamples, seed, level and method.

    Returns:
        The two ends. If fewer than `boundary.FEW_CLUSTERS` clusters differ, the interval is widened
        to contain the exact `boundary.boundary_difference_interval`. None if no cluster differs, if
        all clusters differ by the same amount and the range is not bounded, and if the difference
        is undefined.

    Raises:
        ValueError: The two sides have different shapes.
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
        # every cluster has the same difference: resamples do not vary
        width = of.bounds[1] - of.bounds[0]
        ci = boundary_proportion_interval(point, 0.0, len(first), (-width, width), how.level)
    pseudo = np.where(differs, bootstrap_jackknife_pseudo_values(both, difference), 0.0)
    if differs.sum() >= FEW_CLUSTERS or not np.isfinite(pseudo).all():
        return ci
    exact = boundary_difference_interval(pseudo, how.level)
    return exact if ci is None else (min(ci[0], exact[0]), max(ci[1], exact[1]))


def bootstrap_jackknife_pseudo_values(counts: np.ndarray, value: Value) -> np.ndarray:
    """Return the (V,) jackknife pseudo-values of a statistic (Tukey 1958).

    The pseudo-value of a cluster is V times the value minus V - 1 times the value without the
    cluster.
    """
    videos = len(counts)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(videos * value(counts.sum(0)) - (videos - 1) * value(counts.sum(0) - counts))


@lru_cache(maxsize=16)
def _weights(videos: int, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray | slice]:
    """Draw resamples of videos.

    A few videos have few distinct resamples: two videos have three.

    Returns:
        (D, videos) number of times that each video occurs in each distinct resample, and for each
        resample the index of its distinct resample.
    """
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(videos, np.full(videos, 1 / videos), size=resamples).astype(float)
    if videos > FEW_VIDEOS:
        return weights, slice(None)
    distinct, drawn = np.unique(weights, axis=0, return_inverse=True)
    return distinct, drawn.reshape(-1)


def require_same_bootstrap_clusters(first: np.ndarray, second: np.ndarray) -> None:
    """Refuse counts of two sides that cannot be paired.

    Raises:
        ValueError: The shapes differ.
    """
    if first.shape != second.shape:
        raise ValueError(f"counts of {len(first)} and {len(second)} videos cannot be paired")
