"""Intervals where few clusters vary: at and near the ends of a metric's range, and of runs that hardly differ.

A bootstrap only sees the failures that were observed: of twelve perfect videos it makes an interval without width. These
intervals use exact binomial bounds over clusters instead. Their coverage is simulated by ``make bench-statistics``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import betaincinv, ndtri, stdtrit

#: below this many clusters that depart from the boundary, a bootstrap interval is not used alone
FEW_CLUSTERS = 10
#: values closer than this are the same value
SAME = 1e-9


def boundary_binomial_interval(successes: float, trials: float, level: float = 0.95) -> tuple[float, float]:
    """Clopper and Pearson's (1934) interval of a proportion; the numbers may be fractions (effective sample sizes)."""
    tail = (1 - level) / 2
    failures = trials - successes
    low = float(betaincinv(successes, failures + 1, tail)) if successes > SAME else 0.0
    high = float(betaincinv(successes + 1, failures, 1 - tail)) if failures > SAME else 1.0
    return low, high


def count_clusters_off_boundary(counts: np.ndarray, value: Callable[..., np.ndarray], low: float, high: float) -> int:
    """The number of clusters whose own value is not ``low``, or not ``high``, whichever is less."""
    with np.errstate(divide="ignore", invalid="ignore"):
        own = np.asarray(value(counts))
    own = own[np.isfinite(own)]
    return min(int((np.abs(own - end) > SAME).sum()) for end in (low, high))


def boundary_proportion_interval(
    point: float, error: float, clusters: int, bounds: tuple[float, float], level: float = 0.95
) -> tuple[float, float]:
    """Korn and Graubard's (1998) interval of a value with a finite range.

    Clopper-Pearson bounds at the effective sample size, share (1 - share) / error^2, lowered for the degrees of freedom
    of the clusters. Without any variation the effective sample size is the number of clusters: of 12 perfect clusters
    the lower end is .025^(1/12) = .735, where a bootstrap says 1.

    Args:
        point: the value.
        error: its standard error over clusters, in the same unit.
        clusters: their number, at least 2.
        bounds: the least and the largest possible value.
        level: of confidence.
    """
    low, high = bounds
    share, error = (point - low) / (high - low), error / (high - low)
    effective = float(clusters)
    if error > SAME and SAME < share < 1 - SAME:
        quantiles = ndtri((1 + level) / 2) / stdtrit(clusters - 1, (1 + level) / 2)
        effective = share * (1 - share) / error**2 * float(quantiles) ** 2
    ends = boundary_binomial_interval(share * effective, effective, level)
    return low + ends[0] * (high - low), low + ends[1] * (high - low)


def boundary_difference_interval(pseudo_values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Conservative interval of a paired difference to which few clusters contribute.

    Args:
        pseudo_values: (V,) jackknife pseudo-values of the difference, 0 for clusters in which both sides are equal.
        level: of confidence.

    Returns:
        The exact bounds on the shares of clusters that gain and that lose, times the largest contribution observed.
    """
    clusters = len(pseudo_values)
    largest = float(np.abs(pseudo_values).max())
    gain_low, gain_high = boundary_binomial_interval(int((pseudo_values > SAME).sum()), clusters, level)
    loss_low, loss_high = boundary_binomial_interval(int((pseudo_values < -SAME).sum()), clusters, level)
    return (gain_low - loss_high) * largest, (gain_high - loss_low) * largest
