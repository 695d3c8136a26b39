"""Intervals at the ends of a range and of quantiles, and stated power: by hand, by scipy, by
simulation.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from prospect_eval.metrics.base import f1, ratio
from prospect_eval.metrics.histogram import (
    BINS,
    histogram_average_precision,
    histogram_average_precision_gradient,
    probability_histogram,
)
from prospect_eval.stats.bootstrap import (
    Statistic,
    bootstrap_interval,
    bootstrap_numeric_gradient,
    paired_bootstrap_interval,
)
from prospect_eval.stats.boundary import (
    boundary_binomial_interval,
    boundary_difference_interval,
    boundary_proportion_interval,
)
from prospect_eval.stats.permutation import least_permutation_p_value, permutation_videos_needed, sign_flip_p_value
from prospect_eval.stats.power import power_detectable_by_interval, power_detectable_difference
from prospect_eval.stats.quantile import woodruff_quantile_interval
from tests.helpers.tiers import slow

pytestmark = pytest.mark.integration
SHARE = (0.0, 1.0)


@pytest.mark.parametrize(("successes", "trials"), [(0, 12), (12, 12), (3, 10), (59, 60)])
def test_boundary_binomial_interval_equals_scipy(successes, trials):
    expected = stats.binomtest(successes, trials).proportion_ci(method="exact")
    assert boundary_binomial_interval(successes, trials) == pytest.approx(tuple(expected), abs=1e-9)


@pytest.mark.parametrize("videos", [2, 12, 60])
def test_bootstrap_interval_perfect_videos_has_width(videos):
    low, high = bootstrap_interval(np.array([[3.0, 3.0]] * videos), Statistic(ratio, SHARE))
    assert (low, high) == (pytest.approx(0.025 ** (1 / videos)), 1.0)


def test_bootstrap_interval_two_equal_videos_has_width():
    low, high = bootstrap_interval(np.array([[1.0, 2.0], [1.0, 2.0]]), Statistic(ratio, SHARE))
    assert low < 0.1 < 0.9 < high


def test_bootstrap_interval_near_boundary_is_korn_graubard():
    # 11 of 12 videos correct: share 11/12 with the standard error of 12 independent trials, s^2 /
    # 12 of 0s and 1s
    counts = np.column_stack([np.r_[np.ones(11), 0.0], np.ones(12)])
    share, error = 11 / 12, np.r_[np.ones(11), 0.0].std(ddof=1) / np.sqrt(12)
    effective = share * (1 - share) / error**2 * (stats.norm.ppf(0.975) / stats.t.ppf(0.975, 11)) ** 2
    x = share * effective
    expected = stats.beta.ppf(0.025, x, effective - x + 1), stats.beta.ppf(0.975, x + 1, effective - x)
    assert bootstrap_interval(counts, Statistic(ratio, SHARE)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("share", [slow(0.9), 0.97, slow(0.99), 1.0])
@pytest.mark.parametrize("videos", [10, slow(30)])
def test_bootstrap_interval_near_boundary_covers(share, videos):
    rng, inside = np.random.default_rng(videos), 0
    for _ in range(300):
        counts = np.stack([rng.binomial(3, share, videos), np.full(videos, 3)], -1).astype(float)
        low, high = bootstrap_interval(counts, Statistic(ratio, SHARE))
        inside += low <= share <= high
    assert inside / 300 >= 0.93


def test_bootstrap_interval_constant_unbounded_is_none():
    assert bootstrap_interval(np.array([[4.0, 2.0]] * 12), ratio) is None


def test_boundary_proportion_interval_scales_with_unit():
    assert boundary_proportion_interval(100, 0, 12, (0, 100)) == pytest.approx((100 * 0.025 ** (1 / 12), 100))


def test_paired_interval_equal_counts_is_none():
    counts = np.array([[3.0, 4.0]] * 12)
    assert paired_bootstrap_interval(counts, counts, ratio) is None


def test_boundary_difference_interval_by_hand():
    # two of ten clusters gain, the largest contribution is 0.5, none loses
    pseudo = np.array([0.5, 0.3] + [0.0] * 8)
    gain, loss = boundary_binomial_interval(2, 10), boundary_binomial_interval(0, 10)
    expected = ((gain[0] - loss[1]) * 0.5, (gain[1] - loss[0]) * 0.5)
    assert boundary_difference_interval(pseudo) == pytest.approx(expected)


def test_paired_interval_two_contributing_videos_includes_zero():
    first = np.array([[3.0, 3.0]] * 12)
    second = first.copy()
    second[:2, 0] = 2
    low, high = paired_bootstrap_interval(first, second, ratio)
    assert low < -2 / 36 < 0 < high


def test_woodruff_interval_by_hand():
    # four clusters with two values each; the median's bin is the first; shares below it .5
    counts = np.array([[2.0, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 1, 1]])
    values = np.array([0.0, 1.0, 2.0, 3.0])
    residuals = np.array([2, 1, 1, 0]) - 0.5 * 2
    error = np.sqrt(4 / 3 * (residuals**2).sum()) / 8
    reach = stats.t.ppf(0.975, 3) * error
    shares = np.array([4, 5, 7, 8]) / 8
    expected = values[np.searchsorted(shares, 0.5 - reach)], values[min(3, np.searchsorted(shares, 0.5 + reach))]
    assert woodruff_quantile_interval(counts, 0.5, values) == pytest.approx(expected)
    assert woodruff_quantile_interval(counts[:1], 0.5, values) is None
    assert woodruff_quantile_interval(np.zeros((4, 4)), 0.5, values) is None


def test_histogram_average_precision_gradient_equals_numeric():
    rng = np.random.default_rng(3)
    labels = rng.random(300) < 0.2
    counts = probability_histogram(labels, rng.random(300))[None]
    used = np.flatnonzero(counts[0])
    found = histogram_average_precision_gradient(counts)[0]
    expected = bootstrap_numeric_gradient(histogram_average_precision, counts)[0]
    assert len(counts[0]) == 2 * BINS
    np.testing.assert_allclose(found[used], expected[used], atol=1e-6)


@pytest.mark.slow
def test_bootstrap_interval_average_precision_covers():
    def draw(rng, videos):
        rows = []
        for _ in range(videos):
            labels = rng.random(200) < 0.05
            logits = np.where(labels, 2 + rng.normal(), 0) + rng.normal(-3, 1.2, 200)
            rows.append(probability_histogram(labels, 1 / (1 + np.exp(-logits))))
        return np.stack(rows)

    of = Statistic(histogram_average_precision, SHARE, histogram_average_precision_gradient)
    truth = float(histogram_average_precision(draw(np.random.default_rng(5), 3000).sum(0)))
    rng, inside = np.random.default_rng(1), 0
    for _ in range(100):
        low, high = bootstrap_interval(draw(rng, 12), of)
        inside += low <= truth <= high
    assert inside >= 90


def test_sign_flip_two_large_videos_is_not_zero():
    first = np.array([[1e7 / 3, 1.0], [1e7 / 7, 1.0]])
    second = first + np.array([[1e6 / 3, 0.0], [1e6 / 7, 0.0]])
    # two of the four flips have the observed size
    assert sign_flip_p_value(first, second, ratio) == 0.5


def test_least_p_and_videos_needed_by_hand():
    assert least_permutation_p_value(5, 3) == 2 / 2**5
    assert least_permutation_p_value(30, 3) == 1 / 10_001
    # 2^(1 - V) <= .05 / 10 from V = 9 on (2^-8 = .0039)
    assert permutation_videos_needed(10) == 9
    assert permutation_videos_needed(1) == 6


def paired(rng, videos, difference):
    first = np.stack([rng.normal(0.5, 0.1, videos), np.ones(videos)], -1)
    second = first.copy()
    second[:, 0] += rng.normal(difference, 0.2, videos)
    return first, second


@pytest.mark.slow
@pytest.mark.parametrize(("videos", "alpha"), [(20, 0.05), (30, 0.005)])
def test_detectable_difference_has_stated_power(videos, alpha):
    rng, found = np.random.default_rng(videos), 0
    for _ in range(60):
        detectable = power_detectable_difference(*paired(rng, videos, 0.0), ratio, alpha)
        found += sign_flip_p_value(*paired(rng, videos, detectable), ratio, permutations=4000) <= alpha
    assert found / 60 >= 0.7


def test_detectable_difference_is_close_to_textbook():
    first, second = paired(np.random.default_rng(9), 60, 0.0)
    error = (second - first)[:, 0].std(ddof=1) / np.sqrt(60)
    found = power_detectable_difference(first, second, ratio)
    assert found == pytest.approx((1.959964 + 0.841621) * error, rel=0.1)
    assert power_detectable_difference(first, second, ratio, 0.005) > 1.2 * found


def test_detectable_difference_undetectable_is_none():
    first, second = paired(np.random.default_rng(9), 5, 0.0)
    assert power_detectable_difference(first, second, ratio) is None
    assert power_detectable_difference(first[:1], second[:1], ratio) is None
    same = np.ones((20, 2))
    assert power_detectable_difference(same, same, ratio) is None
    assert power_detectable_difference(np.ones((20, 3)), np.ones((20, 3)), f1) is None


def test_detectable_difference_coarse_median_is_positive():
    from functools import partial

    from prospect_eval.metrics.histogram import histogram_quantile, seconds_histogram

    rng = np.random.default_rng(0)
    median = partial(histogram_quantile, q=0.5, limit_s=5)

    def sides():
        return np.stack([seconds_histogram((rng.integers(-4, 5, 8) / 2).clip(-5, 5), 5) for _ in range(30)])

    for _ in range(10):
        first, second = sides(), sides()
        low, high = paired_bootstrap_interval(first, second, median)
        assert low < high
        assert power_detectable_difference(first, second, median) > 0.1


def test_detectable_by_interval_equals_textbook():
    first, second = paired(np.random.default_rng(4), 40, 0.0)
    error = (second - first)[:, 0].std(ddof=1) / np.sqrt(40)
    expected = (1.959964 + 0.841621) * error
    assert power_detectable_by_interval(first, second, ratio) == pytest.approx(expected, rel=0.05)
    assert power_detectable_by_interval(first, first, ratio) is None
    assert power_detectable_by_interval(first[:1], second[:1], ratio) is None
