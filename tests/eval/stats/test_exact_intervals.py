"""Statistics to the last digit: every formula implemented a second time, and edge cases by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from prospect_eval.metrics.base import ratio
from prospect_eval.stats.agreement import agreement_noise_floor, kendall_agreement
from prospect_eval.stats.bootstrap import (
    RESAMPLES,
    SEED,
    Resampling,
    Statistic,
    _bca_levels,
    _weights,
    bootstrap_interval,
    bootstrap_jackknife_error,
    bootstrap_numeric_gradient,
    paired_bootstrap_interval,
)
from prospect_eval.stats.permutation import holm_correction, is_exact_permutation, sign_flip_p_value
from prospect_eval.stats.power import power_detectable_difference

LEVELS = np.array([0.025, 0.975])


def counts_of(seed, videos):
    rng = np.random.default_rng(seed)
    whole = rng.integers(4, 30, videos)
    return np.stack([rng.binomial(whole, rng.beta(3, 2, videos)), whole], -1).astype(float)


def bca_by_hand(draws, point, left_out, alphas):
    below = sum(1.0 if d < point else 0.5 if d == point else 0.0 for d in draws) / len(draws)
    bias = stats.norm.ppf(below)
    mean = sum(left_out) / len(left_out)
    cubes = sum((mean - x) ** 3 for x in left_out)
    squares = sum((mean - x) ** 2 for x in left_out)
    a = cubes / (6 * squares**1.5) if squares else 0.0
    return [stats.norm.cdf(bias + (bias + z) / (1 - a * (bias + z))) for z in map(stats.norm.ppf, alphas)]


@pytest.mark.parametrize(
    ("draws", "point", "left_out"),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 0.33, [0.30, 0.36, 0.31, 0.20]),
        # draws that equal the point count as one half
        ([0.1, 0.2, 0.2, 0.2, 0.5, 0.6], 0.2, [0.1, 0.1, 0.4]),
        ([0.2, 0.2, 0.2, 0.7], 0.2, [0.1, 0.5, 0.4]),
        # without spread of the leave-one-out values there is no acceleration
        ([0.1, 0.2, 0.3, 0.9], 0.25, [0.2, 0.2, 0.2]),
    ],
)
def test_bca_levels_equal_efron_formula(draws, point, left_out):
    found = _bca_levels(np.array(draws), point, np.array(left_out), LEVELS)
    assert found.tolist() == pytest.approx(bca_by_hand(draws, point, left_out, LEVELS), abs=1e-12)


@pytest.mark.parametrize(
    ("draws", "point", "left_out"),
    [
        ([0.1, 0.2], 0.05, [0.1, 0.3]),
        ([0.1, 0.2], 0.3, [0.1, 0.3]),
        ([0.1, 0.2, 0.3], 0.15, [0.1, math.nan]),
        ([0.1, 0.2, 0.3], 0.15, [0.1, math.inf]),
    ],
)
def test_bca_levels_without_correction_are_unchanged(draws, point, left_out):
    assert _bca_levels(np.array(draws), point, np.array(left_out), LEVELS) is LEVELS


def resampled(counts, resamples=RESAMPLES, seed=SEED):
    """Return the sums of each resample, one by one."""
    n = len(counts)
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
    return [sum(w * row for w, row in zip(ws, counts, strict=True)) for ws in weights]


@pytest.mark.parametrize("level", [0.95, 0.8])
def test_bootstrap_interval_percentile_bca_equal_loop(level):
    counts = counts_of(1, 9)
    draws = [s[0] / s[1] for s in resampled(counts, 500, 7)]
    alphas = [(1 - level) / 2, (1 + level) / 2]
    plain = bootstrap_interval(counts, ratio, Resampling(500, 7, level, "percentile"))
    assert plain == pytest.approx(np.quantile(draws, alphas).tolist(), abs=1e-12)
    total = counts.sum(0)
    left_out = [(total - row)[0] / (total - row)[1] for row in counts]
    shifted = bca_by_hand(draws, total[0] / total[1], left_out, alphas)
    assert bootstrap_interval(counts, ratio, Resampling(500, 7, level, "bca")) == pytest.approx(
        np.quantile(draws, shifted).tolist(), abs=1e-9
    )


def test_bootstrap_interval_studentised_equals_formula():
    counts = counts_of(2, 12)
    n, total = len(counts), counts.sum(0)
    point = total[0] / total[1]
    left_out = np.array([(total - row)[0] / (total - row)[1] for row in counts])
    error = math.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum())
    weights = np.random.default_rng(3).multinomial(n, np.full(n, 1 / n), size=400)
    pivots = []
    for ws in weights:
        a, b = (ws[:, None] * counts).sum(0)
        # the influence of a video on a ratio is known
        influence = counts[:, 0] / b - a / b**2 * counts[:, 1]
        first, second = (ws * influence).sum() / n, (ws * influence**2).sum() / n
        own = math.sqrt(max(second - first**2, 0) * n**2 / (n - 1))
        if own > 1e-3 * error:
            pivots.append((a / b - point) / own)
    high, low = np.quantile(pivots, LEVELS)
    expected = (point - low * error, point - high * error)
    assert bootstrap_interval(counts, ratio, Resampling(400, 3, method="studentised")) == pytest.approx(
        expected, abs=1e-6
    )
    assert bootstrap_interval(counts, ratio, Resampling(400, 3)) == pytest.approx(expected, abs=1e-6)


def test_bootstrap_numeric_gradient_of_ratio():
    sums = np.array([[3.0, 4.0], [0.0, 5.0]])
    expected = [[1 / 4, -3 / 16], [1 / 5, 0.0]]
    np.testing.assert_allclose(bootstrap_numeric_gradient(ratio, sums), expected, atol=1e-6)


def test_bootstrap_interval_nothing_to_resample_is_none():
    assert bootstrap_interval(np.ones((1, 2)), ratio) is None
    assert bootstrap_interval(np.ones((0, 2)), ratio) is None
    two = np.array([[1.0, 2.0], [2.0, 3.0]])
    assert bootstrap_interval(two, ratio) is not None
    # equal clusters, and a value without a range
    assert bootstrap_interval(np.ones((5, 2)), ratio) is None
    assert bootstrap_interval(np.zeros((5, 2)), ratio) is None
    # undefined without the only video that counts: in (4 / 5)^5 = 0.33 of all resamples
    assert bootstrap_interval(np.array([[1.0, 2.0]] + [[0.0, 0.0]] * 4), ratio) is None
    # undefined in (15 / 20)^20 = 0.003 of the resamples, which are left out
    rare = np.array([[1.0, 2.0], [2.0, 3.0], [1.0, 4.0], [3.0, 4.0], [1.0, 3.0]] + [[0.0, 0.0]] * 15)
    assert bootstrap_interval(rare, ratio) is not None


def test_bootstrap_interval_bounds_clip_both_ends():
    counts = np.array([[9.0, 10.0], [10.0, 10.0], [1.0, 10.0]])
    low, high = bootstrap_interval(counts, ratio, Resampling(method="percentile"))
    assert bootstrap_interval(
        counts, Statistic(ratio, (low + 0.1, high - 0.1)), Resampling(method="percentile")
    ) == pytest.approx((low + 0.1, high - 0.1))
    assert low < 0.2
    assert high > 0.9


def test_bootstrap_weights_are_seeded_and_sum_to_videos():
    weights, drawn = _weights(7, 50, 3)
    assert weights[drawn].shape == (50, 7)
    assert set(weights.sum(1)) == {7.0}
    assert not np.array_equal(weights, _weights(7, 50, 4)[0])


def test_bootstrap_weights_few_videos_are_distinct(monkeypatch):
    counts = counts_of(6, 4)
    few, (distinct, drawn) = bootstrap_interval(counts, ratio), _weights(4, 2000, 1)
    assert len(distinct) == 35
    monkeypatch.setattr("prospect_eval.stats.bootstrap.FEW_VIDEOS", 0)
    _weights.cache_clear()
    assert np.array_equal(_weights(4, 2000, 1)[0], distinct[drawn])
    assert bootstrap_interval(counts, ratio) == few
    _weights.cache_clear()


def test_jackknife_error_of_mean_equals_textbook():
    values = np.array([1.0, 4.0, 2.0, 7.0])
    left_out = (values.sum() - values) / 3
    assert bootstrap_jackknife_error(left_out) == pytest.approx(values.std(ddof=1) / 2)


def test_paired_interval_equals_interval_of_differences():
    first, second = counts_of(4, 10), counts_of(5, 10)
    both = np.hstack([first, second])
    expected = bootstrap_interval(both, lambda c: ratio(c[..., 2:]) - ratio(c[..., :2]), Resampling(300, 2))
    assert paired_bootstrap_interval(first, second, ratio, Resampling(300, 2)) == expected
    assert paired_bootstrap_interval(second, first, ratio, Resampling(300, 2)) == pytest.approx(
        (-expected[1], -expected[0]), abs=1e-9
    )
    assert paired_bootstrap_interval(first, second, ratio) == bootstrap_interval(
        both, lambda c: ratio(c[..., 2:]) - ratio(c[..., :2])
    )


def brute_p(first, second, value):
    observed = abs(float(value(second.sum(0)) - value(first.sum(0))))
    extreme = valid = 0
    for flips in itertools.product([False, True], repeat=len(first)):
        chosen = np.array(flips)[:, None]
        a, b = np.where(chosen, second, first).sum(0), np.where(chosen, first, second).sum(0)
        with np.errstate(divide="ignore", invalid="ignore"):
            gap = float(value(b) - value(a))
        if math.isfinite(gap):
            valid += 1
            extreme += abs(gap) >= observed - 1e-12
    return extreme / valid


@pytest.mark.parametrize("videos", [1, 2, 3, 6, 9])
def test_sign_flip_few_videos_is_exact(videos):
    first, second = counts_of(6, videos), counts_of(7, videos)
    assert sign_flip_p_value(first, second, ratio) == pytest.approx(brute_p(first, second, ratio))


def test_sign_flip_undefined_flips_are_left_out():
    first = np.array([[2.0, 3.0], [0.0, 0.0], [1.0, 2.0]])
    second = np.array([[0.0, 0.0], [1.0, 3.0], [1.0, 4.0]])
    some = np.array([[1.0, 1.0], [0.0, 0.0]]), np.array([[0.0, 0.0], [1.0, 2.0]])
    assert sign_flip_p_value(first, second, ratio) == pytest.approx(brute_p(first, second, ratio))
    # (1, 1) against (1, 2); after a flip one side is empty
    assert sign_flip_p_value(*some, ratio) == pytest.approx(brute_p(*some, ratio)) == 1.0
    assert sign_flip_p_value(np.zeros((3, 2)), second, ratio) is None


@pytest.mark.parametrize("videos", [16, 18, 22])
def test_sign_flip_many_videos_equals_scipy(videos):
    first, second = np.ones((videos, 2)), np.ones((videos, 2))
    rng = np.random.default_rng(1)
    first[:, 0] = rng.random(videos)
    second[:, 0] = first[:, 0] + rng.normal(0.1, 0.3, videos)
    found = sign_flip_p_value(first, second, ratio, permutations=40_000)
    gap = second[:, 0] - first[:, 0]
    if is_exact_permutation(videos, 2):
        signs = 1 - 2 * ((np.arange(2**videos)[:, None] >> np.arange(videos)) & 1)
        expected = (np.abs(signs @ gap) >= abs(gap.sum()) - 1e-12).mean()
    else:
        bits = np.random.default_rng(SEED).integers(0, 2, (40_000, videos))
        expected = ((np.abs((1 - 2 * bits) @ gap) >= abs(gap.sum()) - 1e-12).sum() + 1) / 40_001
    assert is_exact_permutation(videos, 2) == (videos <= 18)
    assert found == pytest.approx(expected, abs=1e-12)


def test_paired_statistics_unequal_shapes_raise():
    for call in (sign_flip_p_value, paired_bootstrap_interval, power_detectable_difference):
        with pytest.raises(ValueError, match="counts of 3 and 4 videos cannot be paired"):
            call(np.ones((3, 2)), np.ones((4, 2)), ratio)


def test_holm_correction_keeps_order_and_ends_at_one():
    assert holm_correction([0.5, 0.4]) == [0.8, 0.8]
    assert holm_correction([0.9, 0.6, 0.01]) == pytest.approx([1.0, 1.0, 0.03])
    assert holm_correction([0.02, 0.02, 0.02]) == pytest.approx([0.06] * 3)
    assert holm_correction([0.3]) == [0.3]


def test_noise_floor_is_largest_difference():
    assert agreement_noise_floor([0.1, 0.4, 0.2]) == pytest.approx(0.3)
    with pytest.raises(ValueError, match=r"^a noise floor needs at least two runs of the same model$"):
        agreement_noise_floor([1.0])


def test_kendall_agreement_needs_three_systems():
    scores = np.array([[1, 2, 3.0, np.nan], [3, 1, 2, 5], [1, 1, 1, 1], [np.nan, 2, np.nan, 1]])
    table = kendall_agreement(scores)
    assert table.shape == (4, 4)
    assert table[0, 0] == pytest.approx(1)
    assert table[0, 1] == table[1, 0] == pytest.approx(stats.kendalltau([1, 2, 3], [3, 1, 2]).statistic)
    assert np.isnan(table[0, 2])
    assert np.isnan(table[0, 3])
    assert np.isnan(table[1, 3])
    assert math.isnan(kendall_agreement(np.array([[1.0, 2.0], [1.0, 2.0]]))[0, 1])
