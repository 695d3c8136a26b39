"""Power of a paired comparison: the smallest difference that it detects.

The power is simulated with the comparison's own permutation test.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.special import ndtri

from prospect_eval.stats.bootstrap import (
    SEED,
    BootstrapDraws,
    Resampling,
    Statistic,
    Value,
    bootstrap_difference,
    bootstrap_jackknife_pseudo_values,
    require_same_bootstrap_clusters,
)
from prospect_eval.stats.permutation import permutation_videos_needed

POWER = 0.8
#: added to the target power of the simulation: a resample of few clusters contains fewer distinct
#: ones
MARGIN = 0.03
#: simulated experiments, and random flips of each
EXPERIMENTS, FLIPS = 200, 4096
#: halvings of the interval that holds the detectable difference
HALVINGS = 10


def power_detectable_difference(
    first: np.ndarray,
    second: np.ndarray,
    statistic: Statistic | Value,
    alpha: float = 0.05,
    power: float = POWER,
) -> float | None:
    """Return the smallest true difference that a comparison detects with a given power.

    The clusters' contributions to the observed difference are centred, resampled with replacement,
    shifted by a candidate difference and given to a sign-flip test at level ``alpha``. This is
    repeated `EXPERIMENTS` times. Bisection finds the candidate for which the share of significant
    experiments is ``power``. The spread of the clusters is an estimate: each experiment scales it
    by a draw of sqrt((V - 1) / chi2(V - 1)).

    Args:
        first: (V, C) counts of one side.
        second: (V, C) counts of the other side, the same clusters in the same order.
        statistic: The statistic of each side's sum.
        alpha: Level of the test, after correction for several tests.
        power: Share of experiments that must be significant.

    Returns:
        The difference, in the unit of the value. None if no difference can be detected: the
        smallest p of the flips is above ``alpha``, the clusters do not vary, or the value without
        one of them is undefined.

    Raises:
        ValueError: The two sides have different shapes.
    """
    require_same_bootstrap_clusters(first, second)
    videos = len(first)
    if videos < 2 or videos < permutation_videos_needed(1, alpha):
        return None
    of = statistic if isinstance(statistic, Statistic) else Statistic(statistic)
    noise = _noise(np.hstack([first, second]), of, first.shape[1])
    if noise is None:
        return None
    scale = float(noise.std())
    places, scales, flips = _experiments(videos, SEED)
    drawn = (noise[places] * scales).astype(np.float32)
    low, high = 0.0, scale
    while power_at_shift(drawn, flips, high, alpha) < power + MARGIN:
        low, high = high, 2 * high
        if high > 1e3 * scale:
            return None
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if power_at_shift(drawn, flips, middle, alpha) >= power + MARGIN else (middle, high)
    return high


def _noise(both: np.ndarray, of: Statistic, size: int) -> np.ndarray | None:
    """Return the (V,) centred contributions of the clusters to the difference.

    The contributions are pseudo-values if the value is smooth. A quantile on a grid does not change
    when one cluster is left out, so its contributions are normal scores with the spread of the
    bootstrap's draws.

    Returns:
        The contributions, or None if they do not vary.
    """
    videos = len(both)
    difference = bootstrap_difference(of.value, size)
    if of.slopes(size) is not None:
        pseudo = bootstrap_jackknife_pseudo_values(both, difference)
        # resampled values spread less than the clusters by the inverse of this factor
        noise = (pseudo - pseudo.mean()) * np.sqrt(videos / (videos - 1))
        least = 1e-12 * max(1.0, float(np.abs(pseudo).max()))
    else:
        draws = BootstrapDraws.of(both, difference, Resampling())
        spread = 0.0 if draws is None else float(draws.defined.std()) * np.sqrt(videos)
        noise, least = spread * ndtri((np.arange(videos) + 0.5) / videos), 1e-12
    return noise if np.isfinite(noise).all() and noise.std() > least else None


def power_at_shift(drawn: np.ndarray, flips: np.ndarray, shift: float, alpha: float) -> float:
    """Return the share of experiments whose sign-flip test is significant after a shift.

    Args:
        drawn: (E, V) differences by experiment and cluster.
        flips: (F, V) signs.
        shift: Difference that is added to every cluster.
        alpha: Level of the test.
    """
    shifted = drawn + drawn.dtype.type(shift)
    observed = np.abs(shifted.sum(1))
    flipped = np.abs(flips @ shifted.T)
    p = (1 + (flipped >= observed * (1 - 1e-6)).sum(0)) / (1 + len(flips))
    return float((p <= max(alpha, 1.5 / (1 + len(flips)))).mean())


@lru_cache(maxsize=8)
def _experiments(videos: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw the random parts of the experiments.

    Returns:
        (E, V) resampled clusters, (E, 1) factors of their spread, and (F, V) random signs.
    """
    rng = np.random.default_rng(seed)
    places = rng.integers(0, videos, (EXPERIMENTS, videos))
    scales = np.sqrt((videos - 1) / rng.chisquare(videos - 1, (EXPERIMENTS, 1)))
    return places, scales, (1 - 2 * rng.integers(0, 2, (FLIPS, videos))).astype(np.float32)


def power_detectable_by_interval(first: np.ndarray, second: np.ndarray, statistic: Statistic | Value) -> float | None:
    """Return the smallest true difference whose 95 % interval excludes 0 with a power of 0.8.

    It is the sum of both normal quantiles times the standard error of the bootstrap's draws,
    corrected for the number of clusters.

    Args:
        first: (V, C) counts of one side.
        second: (V, C) counts of the other side, the same clusters in the same order.
        statistic: The statistic of each side's sum.

    Returns:
        The difference, in the unit of the value. None with fewer than two clusters and if they do
        not vary.

    Raises:
        ValueError: The two sides have different shapes.
    """
    require_same_bootstrap_clusters(first, second)
    videos = len(first)
    if videos < 2:
        return None
    value = statistic.value if isinstance(statistic, Statistic) else statistic
    draws = BootstrapDraws.of(np.hstack([first, second]), bootstrap_difference(value, first.shape[1]), Resampling())
    error = 0.0 if draws is None else float(draws.defined.std()) * np.sqrt(videos / (videos - 1))
    return float((ndtri(0.975) + ndtri(POWER)) * error) if error > 0 else None
