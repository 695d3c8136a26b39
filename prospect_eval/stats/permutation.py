"""Sign-flip permutation test of paired counts, and Holm's correction for several tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prospect_eval.stats.bootstrap import SEED, Value, require_same_bootstrap_clusters

#: a test enumerates all flips if that takes at most this many numbers (about 0.1 s), and draws
#: random flips otherwise
EXACT_NUMBERS = 400_000
PERMUTATIONS = 10_000
#: a flip is a tie if its value differs from the observed one by less than this share of the values
RELATIVE_TOLERANCE = 1e-9
#: maximum number of values in memory
CHUNK_NUMBERS = 4_000_000


def sign_flip_p_value(
    first: np.ndarray, second: np.ndarray, value: Value, permutations: int = PERMUTATIONS, seed: int = SEED
) -> float | None:
    """Return the two-sided p value of no difference, by a sign-flip test.

    The test swaps the counts of each cluster between the two sides or leaves them.

    Args:
        first: (V, C) counts of one side.
        second: (V, C) counts of the other side, the same clusters in the same order.
        value: Maps summed counts (..., C) to values (...), NaN where undefined.
        permutations: Number of random flips if not all flips are enumerated.
        seed: Random seed of the flips.

    Returns:
        The exact p over all 2^V flips if they are few (`is_exact_permutation`), otherwise the Monte
        Carlo p, (b + 1) / (m + 1). None if the observed difference is undefined.

    Raises:
        ValueError: The two sides have different shapes.
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
        # flipping all signs negates the difference, so half of the flips suffice
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
    """Return whether a test of ``videos`` clusters with ``size`` counts each enumerates all flips."""
    return videos < 40 and 2 ** max(videos - 1, 0) * size <= EXACT_NUMBERS


def least_permutation_p_value(videos: int, size: int, permutations: int = PERMUTATIONS) -> float:
    """Return the smallest p that a test can reach: 2^(1 - V) if exact, otherwise 1 / (m + 1).

    Args:
        videos: Number of clusters V.
        size: Number of counts of a cluster.
        permutations: Number of random flips m.
    """
    return (
        2.0 ** (1 - videos) if is_exact_permutation(videos, size) else max(1 / (permutations + 1), 2.0 ** (1 - videos))
    )


def permutation_videos_needed(tests: int, alpha: float = 0.05) -> int:
    """Return the smallest number of clusters with which a test can be significant.

    Args:
        tests: Number of tests that Holm's method corrects for.
        alpha: Significance level after correction.
    """
    return int(np.ceil(1 + np.log2(tests / alpha)))


def holm_correction(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted by Holm's step-down method (Holm 1979), in the given order."""
    order = np.argsort(p_values, kind="stable")
    out, so_far = [0.0] * len(order), 0.0
    for rank, index in enumerate(order.tolist()):
        so_far = max(so_far, min(1.0, (len(order) - rank) * p_values[index]))
        out[index] = so_far
    return out
