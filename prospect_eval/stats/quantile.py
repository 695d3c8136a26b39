"""Interval of a quantile from histograms by cluster."""

from __future__ import annotations

import numpy as np
from scipy.special import stdtrit


def woodruff_quantile_interval(
    counts: np.ndarray, q: float, values: np.ndarray, level: float = 0.95
) -> tuple[float, float] | None:
    """Return the interval of a quantile by Woodruff (1952).

    The method computes the interval of the share of values below the quantile and takes the
    quantiles at its two ends.

    Args:
        counts: (V, G) histogram of each cluster.
        q: The quantile, 0 to 1.
        values: (G,) value of each bin, ascending.
        level: Confidence level, 0 to 1.

    Returns:
        Two elements of ``values``. None with fewer than two clusters or without any value.
    """
    clusters, total = len(counts), counts.sum()
    if clusters < 2 or total <= 0:
        return None
    shares = np.cumsum(counts.sum(0)) / total
    at = int(np.searchsorted(shares, q - 1e-12))
    below, all_ = counts[:, : at + 1].sum(1), counts.sum(1)
    residuals = below - shares[at] * all_
    error = np.sqrt(clusters / (clusters - 1) * (residuals**2).sum()) / total
    reach = stdtrit(clusters - 1, (1 + level) / 2) * error
    last = int(np.flatnonzero(counts.sum(0))[-1])
    low, high = (min(int(np.searchsorted(shares, q + side - 1e-12)), last) for side in (-reach, reach))
    return float(values[low]), float(values[high])
