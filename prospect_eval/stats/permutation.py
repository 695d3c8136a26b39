"""Sign-flip permutation test of paired counts, and Holm's correction for several tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prospect_eval.stats.bootstrap import SEED, Value, require_same_bootstrap_clusters

#: a test enumerates all flips while that takes at most this many numbers (about 0.1 s); beyond, it draws flips
EXACT_NUMBERS = 400_000
PERMUTATIONS = 10_000
#: flips whose value differs from the observed one by less than this share of the numbers involved are ties
RELATIVE_TOLERANCE = 1e-9
#: numbers held in memory together
CHUNK_NUMBERS = 4_000_000


def sign_flip_p_value(
    first: np.ndarray, second: np.ndarray, value: Value, permutations: int = PERMUTATIONS, seed: int = SEED
) -> float | None:
    """Two-sided p of no difference: the counts of each cluster are swapped between the two sides or not.

    Args:
        first: (V, C) counts of one side.
        second: (V, C) counts of the other side, the same clusters in the same order.
        value: maps summed counts (..., C) to values (...), NaN where undefined.
        permutations: number of random flips where not all flips are enumerated.
        seed: of the random flips.

    Returns:
        The exact p over all 2^V flips where they are few (`is_exact_permutation`), else the Monte Carlo p, (b + 1) / (m + 1). None
        where the observed difference is undefined.
    """
    require_same_bootstrap_clusters(first, second)
    videos, size = first.shape
    gap, total = second - first, first.sum(0) + second.sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = float(value(first.sum(0))), float(value(second.sum(0)))
        observed = ends[1] - ends[0]
        if not np.isfinite(observed):
            return None
        least = abs(observed) - RELATIVE_TOLERANCE * max(map(abs, ends))
        exact = is_exact_permutation(videos, size)
        # flipping every sign mirrors the difference: half of all flips are enough
        count = 2 ** max(videos - 1, 0) if exact else permutations
        rng = np.random.default_rng(seed)
        extreme = valid = 0
        chunk = max(256, CHUNK_NUMBERS // size)
        for begin in range(0, count, chunk):
            number = min(count - begin, chunk)
            if exact:
                bits = (np.arange(begin, begin + number)[:, None] >> np.arange(videos)) & 1
            else:
                bits = rng.integers(0, 2, (number, videos))
            moved = (1.0 - 2.0 * bits) @ gap
            flipped = value((total + moved) / 2) - value((total - moved) / 2)
            flipped = flipped[np.isfinite(flipped)]
            valid += len(flipped)
            extreme += int((np.abs(flipped) >= least).sum())
    if not valid:
        return None
    return extreme / valid if exact else (extreme + 1) / (valid + 1)


def is_exact_permutation(videos: int, size: int) -> bool:
    """Whether a test over ``videos`` clusters with ``size`` counts each enumerates all flips."""
    return videos < 40 and 2 ** max(videos - 1, 0) * size <= EXACT_NUMBERS


def least_permutation_p_value(videos: int, size: int, permutations: int = PERMUTATIONS) -> float:
    """The least p that the test can give: 2^(1 - V) where exact, else 1 / (m + 1)."""
    return (
        2.0 ** (1 - videos) if is_exact_permutation(videos, size) else max(1 / (permutations + 1), 2.0 ** (1 - videos))
    )


def permutation_videos_needed(tests: int, alpha: float = 0.05) -> int:
    """The least number of clusters with which one of ``tests`` Holm-corrected tests can be significant."""
    return int(np.ceil(1 + np.log2(tests / alpha)))


def holm_correction(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values (Holm 1979), in the given order."""
    order = np.argsort(p_values, kind="stable")
    out, so_far = [0.0] * len(order), 0.0
    for rank, index in enumerate(order.tolist()):
        so_far = max(so_far, min(1.0, (len(order) - rank) * p_values[index]))
        out[index] = so_far
    return out
