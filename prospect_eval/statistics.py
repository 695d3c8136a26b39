"""Intervals by cluster bootstrap over videos, from stored counts.

python -c "import numpy as np; from prospect_eval.statistics import *; print(bootstrap_ci(np.eye(12)[:, :2] + 1, lambda c: c[..., 0] / c[..., 1]))"
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import norm

RESAMPLES, SEED = 2000, 20261


def bootstrap_ci(
    counts: np.ndarray,
    value: Callable[[np.ndarray], np.ndarray],
    resamples: int = RESAMPLES,
    seed: int = SEED,
    level: float = 0.95,
) -> tuple[float, float] | None:
    """BCa interval of ``value(sum of counts)`` over videos; ``counts`` is (videos, C), ``value`` maps (..., C) to (...).

    Resamples in which the value is undefined are left out; None when there are fewer than two videos, or the value
    is undefined in more than a tenth of the resamples. (Efron 1987; the acceleration is the jackknife's.)
    """
    videos = len(counts)
    if videos < 2:
        return None
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(videos, np.full(videos, 1 / videos), size=resamples)
    draws = value(weights @ counts)
    draws = draws[np.isfinite(draws)]
    point = float(value(counts.sum(0)))
    if len(draws) < 0.9 * resamples or not np.isfinite(point):
        return None
    if np.ptp(draws) < 1e-12:
        return float(draws[0]), float(draws[0])
    leave_one_out = value(counts.sum(0) - counts)
    alphas = np.array([(1 - level) / 2, (1 + level) / 2])
    below = (np.sum(draws < point) + 0.5 * np.sum(draws == point)) / len(draws)
    if np.isfinite(leave_one_out).all() and 0 < below < 1:
        bias = norm.ppf(below)
        deviation = leave_one_out.mean() - leave_one_out
        spread = float((deviation**2).sum()) ** 1.5
        acceleration = float((deviation**3).sum()) / (6 * spread) if spread > 0 else 0.0
        z = bias + norm.ppf(alphas)
        alphas = norm.cdf(bias + z / (1 - acceleration * z))
    low, high = np.quantile(draws, alphas)
    return float(low), float(high)
