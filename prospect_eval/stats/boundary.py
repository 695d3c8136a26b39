"""Intervals for values near the ends of their range and for runs that hardly differ.

A bootstrap only sees the failures that were observed: for twelve perfect videos its interval has no
width. The intervals of this module use exact binomial bounds over clusters instead.
``make bench-statistics`` simulates their coverage.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import betaincinv, ndtri, stdtrit

#: below this many clusters that depart from the boundary, a bootstrap interval is not used alone
FEW_CLUSTERS = 10
#: values that differ by less are equal
SAME = 1e-9


def boundary_binomial_interval(successes: float, trials: float, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of a proportion by Clopper and Pearson (1934).

    Args:
        successes: Number of successes; may be fractional for effective sample sizes.
        trials: Number of trials; may be fractional.
        level: Confidence level, 0 to 1.

    Returns:
        Lower and upper end, 0 to 1.
    """
    tail = (1 - level) / 2
    failures = trials - successes
    low = float(betaincinv(successes, failures + 1, tail)) if successes > SAME else 0.0
    high = float(betaincinv(successes + 1, failures, 1 - tail)) if failures > SAME else 1.0
    return low, high


def count_clusters_off_boundary(counts: np.ndarray, value: Callable[..., np.ndarray], low: float, high: float) -> int:
    """Count the clusters that depart from the nearer end of a metric's range.

    Args:
        counts: (V, C) counts, one row for each cluster.
        value: Maps counts (..., C) to values (...).
        low: Lower end of the range.
        high: Upper end of the range.

    Returns:
        The number of clusters whose value is not ``low``, or the number whose value is not
        ``high``, whichever is smaller.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        own = np.asarray(value(counts))
    own = own[np.isfinite(own)]
    return min(int((np.abs(own - end) > SAME).sum()) for end in (low, high))


def boundary_proportion_interval(
    point: float, error: float, clusters: int, bounds: tuple[float, float], level: float = 0.95
) -> tuple[float, float]:
    """Return the interval of a value with a finite range by Korn and Graubard (1998).

    The interval has Clopper-Pearson bounds at the effective sample size, share (1 - share) /
    error^2, which is reduced for the degrees of freedom of the clusters. Without variation the
    effective sample size is the number of clusters: for 12 perfect clusters the lower end is
    .025^(1/12) = .735, where a bootstrap gives 1.

    Args:
        point: The value.
        error: Its standard error over clusters, in the same unit.
        clusters: Number of clusters, at least 2.
        bounds: Smallest and largest possible value.
        level: Confidence level, 0 to 1.

    Returns:
        Lower and upper end, in the unit of the value.
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
    """Return a conservative interval of a paired difference to which few clusters contribute.

    Args:
        pseudo_values: (V,) jackknife pseudo-values of the difference, 0 for clusters in which both
            sides are equal.
        level: Confidence level, 0 to 1.

    Returns:
        The exact bounds on the shares of clusters that gain and that lose, times the largest
        observed contribution.
    """
    clusters = len(pseudo_values)
    largest = float(np.abs(pseudo_values).max())
    gain_low, gain_high = boundary_binomial_interval(int((pseudo_values > SAME).sum()), clusters, level)
    loss_low, loss_high = boundary_binomial_interval(int((pseudo_values < -SAME).sum()), clusters, level)
    return (gain_low - loss_high) * largest, (gain_high - loss_low) * largest
