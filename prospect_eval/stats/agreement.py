"""Agreement between metrics over systems, and the noise floor of repeated runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def agreement_noise_floor(values: Sequence[float]) -> float:
    """Return the largest difference between repeated runs of one system (A/A).

    A difference between two systems that is not larger than this value is not evidence.

    Args:
        values: The metric's value in each run, at least two.

    Returns:
        Maximum minus minimum, in the metric's unit.

    Raises:
        ValueError: There are fewer than two values.
    """
    if len(values) < 2:
        raise ValueError("a noise floor needs at least two runs of the same model")
    return float(max(values) - min(values))


def kendall_agreement(scores: np.ndarray) -> np.ndarray:
    """Return the Kendall tau-b between metrics over the systems that they score.

    Args:
        scores: (M, S) values of M metrics for S systems, NaN where undefined.

    Returns:
        (M, M) values of tau-b, -1..1. NaN for two metrics with fewer than three common systems, or
        if one of the metrics is constant.
    """
    from scipy.stats import kendalltau

    size = len(scores)
    out = np.full((size, size), np.nan)
    for a in range(size):
        for b in range(size):
            both = np.isfinite(scores[a]) & np.isfinite(scores[b])
            if both.sum() >= 3:
                out[a, b] = kendalltau(scores[a][both], scores[b][both]).statistic
    return out
