"""Pair predicted with reference events one to one, over any rule of which pairs are allowed."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment


def assign_allowed_pairs(costs: np.ndarray) -> list[tuple[int, int]]:
    """Return the largest one-to-one assignment of allowed pairs.

    Of the assignments with the most pairs, the one with the least sum of costs is chosen.

    Args:
        costs: (P, R) cost of each pair, 0 or more; infinite for a pair that is not allowed.

    Returns:
        (prediction, reference) indices of the pairs, sorted.
    """
    allowed = np.isfinite(costs)
    if not allowed.any():
        return []
    # one pair that is not allowed costs more than all allowed ones together
    forbidden = (float(costs[allowed].max()) + 1.0) * (min(costs.shape) + 1)
    rows, columns = linear_sum_assignment(np.where(allowed, costs, forbidden))
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True) if allowed[row, column]]
