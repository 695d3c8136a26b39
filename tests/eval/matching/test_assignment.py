"""The largest assignment of allowed pairs, compared with all assignments."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prospect_eval.matching.assignment import assign_allowed_pairs

COSTS = st.sampled_from([0.0, 1.0, 2.5, 100.0, np.inf])


def best_of_all(costs):
    """Return (number of pairs, sum of costs) of the best assignment, by trying all of them."""
    wide = costs if costs.shape[0] <= costs.shape[1] else costs.T
    best = (0, 0.0)
    for columns in permutations(range(wide.shape[1]), wide.shape[0]):
        taken = [wide[row, column] for row, column in enumerate(columns) if np.isfinite(wide[row, column])]
        best = max(best, (len(taken), -sum(taken)))
    return best[0], -best[1]


@given(st.integers(1, 4), st.integers(1, 4), st.data())
def test_assign_allowed_pairs_is_best_of_all(rows, columns, data):
    drawn = data.draw(st.lists(COSTS, min_size=rows * columns, max_size=rows * columns))
    costs = np.array(drawn).reshape(rows, columns)
    pairs = assign_allowed_pairs(costs)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    assert (len(pairs), sum(costs[pair] for pair in pairs)) == pytest.approx(best_of_all(costs))


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (2, 0)])
def test_assign_allowed_pairs_empty_side_has_no_pair(shape):
    assert assign_allowed_pairs(np.zeros(shape)) == []


def test_assign_allowed_pairs_prefers_pairs_to_low_costs():
    costs = np.array([[0.0, 50.0], [90.0, np.inf]])
    assert assign_allowed_pairs(costs) == [(0, 1), (1, 0)]
