"""Average precision from histograms compared with scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from prospect_eval.metrics.histogram import (
    BINS,
    average_precision_without_histogram,
    histogram_average_precision,
    histogram_average_precision_gradient,
    probability_histogram,
)
from prospect_eval.stats.bootstrap import bootstrap_numeric_gradient


def binned(labels, probabilities):
    return float(histogram_average_precision(probability_histogram(np.asarray(labels, bool), probabilities)))


def simulated(mean, spread, rate, gap=2.5):
    """Return labels and probabilities of 4,000 frames; positive ones have higher log odds."""
    rng = np.random.default_rng(0)
    labels = rng.random(4000) < rate
    log_odds = rng.normal(mean, spread, 4000) + gap * labels
    return labels, np.exp(log_odds) / (1 + np.exp(log_odds))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=60))
@settings(max_examples=200, deadline=None)
def test_average_precision_reported_equals_scikit_learn(rows):
    labels, probabilities = np.array([(a, b / 6) for a, b in rows]).T
    got = average_precision_without_histogram([np.stack([labels, probabilities])])
    if labels.any():
        assert got == average_precision_score(labels, probabilities)
    else:
        assert np.isnan(got)


@pytest.mark.parametrize("mean", [-20, -16, -13, -9, -4, 0, 5])
@pytest.mark.parametrize("spread", [0.5, 1.5])
def test_histogram_average_precision_any_log_odds_is_close(mean, spread):
    labels, probabilities = simulated(mean, spread, rate=0.05)
    assert binned(labels, probabilities) == pytest.approx(average_precision_score(labels, probabilities), abs=0.013)


def test_histogram_average_precision_certain_decisions_is_exact():
    labels = [True, True, True, False, False, False, False]
    probabilities = [1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    # 2 of 3 positives at precision 2/3, the last one at 3/7
    assert binned(labels, probabilities) == pytest.approx((2 * 2 / 3 + 3 / 7) / 3)
    assert average_precision_score(labels, probabilities) == pytest.approx((2 * 2 / 3 + 3 / 7) / 3)


def test_probability_histogram_separates_float32_extremes():
    tiny = np.finfo(np.float32).smallest_subnormal
    probabilities = [0.0, float(tiny), 1e-30, 1e-12, 0.5, 1 - 1e-12, float(np.nextafter(1, 0)), 1.0]
    histogram = probability_histogram(np.ones(len(probabilities), bool), probabilities)
    assert np.count_nonzero(histogram[:BINS]) == len(probabilities)
    assert histogram[0] == histogram[BINS - 1] == 1


def test_histogram_average_precision_gradient_certain_equals_numeric():
    labels = np.array([True, True, False, True, False, True, False, False])
    counts = probability_histogram(labels, [1.0, 1.0, 1.0, 0.8, 0.3, 0.0, 0.0, 0.0])[None]
    used = np.flatnonzero(counts[0])
    found = histogram_average_precision_gradient(counts)[0]
    expected = bootstrap_numeric_gradient(histogram_average_precision, counts)[0]
    np.testing.assert_allclose(found[used], expected[used], atol=1e-6)


def test_histogram_average_precision_no_positive_is_undefined():
    assert np.isnan(binned([False, False], [0.2, 0.4]))
