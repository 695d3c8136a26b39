"""What a paired comparison can find: its detectable difference, by simulation of its own permutation test."""

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
#: added to the power that the simulation aims at: clusters that were drawn once more from a few vary less in kind
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
    """The least true difference that a comparison over this many clusters finds with this power.

    The clusters' contributions to the observed difference are centred, resampled with replacement, shifted by a
    candidate difference and put through a sign-flip test at level ``alpha``, `EXPERIMENTS` times; bisection finds the
    candidate at which the share of significant experiments is ``power``. The spread of the clusters is itself an estimate:
    each experiment scales it by a draw of sqrt((V - 1) / chi2(V - 1)). Give the level that a test must reach after
    correction.

    Args:
        first: (V, C) counts of one side.
        second: (V, C) counts of the other side, the same clusters in the same order.
        statistic: what is taken of each side's sum.
        alpha: level of the test, after correction for several tests.
        power: share of experiments that must be significant.

    Returns:
        The difference, in the unit of the value. None where no difference can be found: the least p of the flips is
        above ``alpha``, the clusters do not vary, or the value is undefined without one of them.
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
    """(V,) contributions of the clusters to the difference, centred; None where they do not vary.

    They are pseudo-values where the value is smooth. A quantile on a grid does not change when one cluster is left out:
    there they are normal scores with the spread of the bootstrap's draws.
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
    """Share of experiments, (E, V) differences by cluster, whose sign-flip test is significant after a shift.

    ``flips`` are (F, V) signs.
    """
    shifted = drawn + drawn.dtype.type(shift)
    observed = np.abs(shifted.sum(1))
    flipped = np.abs(flips @ shifted.T)
    p = (1 + (flipped >= observed * (1 - 1e-6)).sum(0)) / (1 + len(flips))
    return float((p <= max(alpha, 1.5 / (1 + len(flips)))).mean())


@lru_cache(maxsize=8)
def _experiments(videos: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(E, V) resampled clusters, (E, 1) factors of their spread, and (F, V) random signs."""
    rng = np.random.default_rng(seed)
    places = rng.integers(0, videos, (EXPERIMENTS, videos))
    scales = np.sqrt((videos - 1) / rng.chisquare(videos - 1, (EXPERIMENTS, 1)))
    return places, scales, (1 - 2 * rng.integers(0, 2, (FLIPS, videos))).astype(np.float32)


def power_detectable_by_interval(first: np.ndarray, second: np.ndarray, statistic: Statistic | Value) -> float | None:
    """The least true difference whose 95 % interval excludes 0 with a power of 0.8.

    The sum of both normal quantiles times the error of the bootstrap's draws, corrected for the number of clusters.

    Args:
        first: (V, C) counts of one side.
        second: (V, C) counts of the other side, the same clusters in the same order.
        statistic: what is taken of each side's sum.

    Returns:
        The difference, in the unit of the value; None with fewer than two clusters or where they do not vary.
    """
    require_same_bootstrap_clusters(first, second)
    videos = len(first)
    if videos < 2:
        return None
    value = statistic.value if isinstance(statistic, Statistic) else statistic
    draws = BootstrapDraws.of(np.hstack([first, second]), bootstrap_difference(value, first.shape[1]), Resampling())
    error = 0.0 if draws is None else float(draws.defined.std()) * np.sqrt(videos / (videos - 1))
    return float((ndtri(0.975) + ndtri(POWER)) * error) if error > 0 else None
