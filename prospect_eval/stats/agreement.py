"""Agreement of metrics over systems, and the spread of repeated runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def agreement_noise_floor(values: Sequence[float]) -> float:
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
