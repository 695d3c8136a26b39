"""Intervals and tests compared with scipy, brute force and simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from prospect_eval.metrics.base import f1, ratio
from prospect_eval.stats.agreement import agreement_noise_floor, kendall_agreement
from prospect_eval.stats.bootstrap import Resampling, Statistic, bootstrap_interval, paired_bootstrap_interval
from prospect_eval.stats.permutation import holm_correction, sign_flip_p_value


def counts_of(rng, videos, quality=(3, 2)):
    """Return (pairs, predicted, reference) of videos that differ in length and difficulty."""
    reference = rng.poisson(rng.gamma(2, 7, videos)) + 1
    hits = rng.binomial(reference, rng.beta(*quality, videos))
    return np.stack([hits, hits + rng.poisson(reference * rng.gamma(1, 0.4, videos)), reference], -1).astype(float)


@pytest.mark.parametrize(("method", "theirs"), [("bca", "BCa"), ("percentile", "percentile")])
def test_bootstrap_interval_equals_scipy(method, theirs):
    rng = np.random.default_rng(1)
    counts = np.stack([rng.poisson(4, 40), rng.poisson(8, 40) + 5], axis=1).astype(float)
    ours = bootstrap_interval(counts, ratio, Resampling(20000, method=method))
    expected = stats.bootstrap(
        (counts[:, 0], counts[:, 1]), lambda a, b, axis: a.sum(axis) / b.sum(axis), paired=True, n_resamples=20000,
        method=theirs, random_state=rng,
    ).confidence_interval  # fmt: skip
    np.testing.assert_allclose(ours, (expected.low, expected.high), atol=0.006)


def test_bootstrap_interval_studentised_equals_loop():
    counts = counts_of(np.random.default_rng(2), 25)
    ours = bootstrap_interval(counts, f1, Resampling(4000, method="studentised"))
    rng, pivots, n = np.random.default_rng(5), [], len(counts)

    def jackknife(rows):
        values = np.array([float(f1(rows.sum(0) - row)) for row in rows])
        return np.sqrt((n - 1) / n * ((values - values.mean()) ** 2).sum())

    point = float(f1(counts.sum(0)))
    for _ in range(4000):
        rows = counts[rng.integers(0, n, n)]
        pivots.append((float(f1(rows.sum(0))) - point) / jackknife(rows))
    low, high = point - np.quantile(pivots, [0.975, 0.025]) * jackknife(counts)
    np.testing.assert_allclose(ours, (low, high), atol=0.015)


def test_bootstrap_interval_covers_true_value():
    rng = np.random.default_rng(3)
    truth = float(f1(counts_of(rng, 100_000).sum(0)))
    inside = 0
    for _ in range(400):
        low, high = bootstrap_interval(counts_of(rng, 30), f1, Resampling(1000))
        inside += low <= truth <= high
    assert 0.92 <= inside / 400 <= 0.98


def test_bootstrap_interval_stays_within_bounds():
    counts = np.array([[10, 10, 10]] * 9 + [[7, 10, 10], [8, 10, 9]], dtype=float)
    low, high = bootstrap_interval(counts, Statistic(f1, (0, 1)))
    assert 0 <= low < high <= 1


def test_sign_flip_equals_brute_force():
    rng = np.random.default_rng(4)
    first, second = counts_of(rng, 7), counts_of(rng, 7)
    observed = abs(float(f1(second.sum(0)) - f1(first.sum(0))))
    extreme = 0
    for flips in itertools.product([False, True], repeat=7):
        chosen = np.array(flips)[:, None]
        a, b = np.where(chosen, second, first).sum(0), np.where(chosen, first, second).sum(0)
        extreme += abs(float(f1(b) - f1(a))) >= observed - 1e-12
    assert sign_flip_p_value(first, second, f1) == pytest.approx(extreme / 2**7)


def test_sign_flip_of_means_equals_scipy():
    rng = np.random.default_rng(6)
    first, second = np.ones((12, 2)), np.ones((12, 2))
    first[:, 0], second[:, 0] = rng.random(12), rng.random(12) + 0.2
    expected = stats.permutation_test(
        (first[:, 0], second[:, 0]), lambda a, b, axis: (b - a).mean(axis), permutation_type="samples",
        n_resamples=np.inf, vectorized=True,
    ).pvalue  # fmt: skip
    assert sign_flip_p_value(first, second, ratio) == pytest.approx(expected, abs=1e-9)


def test_sign_flip_five_videos_never_significant():
    first = np.ones((5, 2))
    second = np.column_stack([np.full(5, 2.0), np.ones(5)])
    assert sign_flip_p_value(first, second, ratio) == pytest.approx(2 / 2**5)


def test_sign_flip_many_videos_is_random_and_seeded():
    rng = np.random.default_rng(7)
    first, second = counts_of(rng, 60), counts_of(rng, 60, (30, 1))
    p = sign_flip_p_value(first, second, f1)
    assert p == sign_flip_p_value(first, second, f1) < 0.05
    assert sign_flip_p_value(first, first, f1) == 1.0


def test_paired_interval_is_narrower_than_unpaired():
    rng = np.random.default_rng(8)
    first = counts_of(rng, 40)
    second = first + np.array([1.0, 1.0, 0.0])
    low, high = paired_bootstrap_interval(first, second, f1)
    distributed = bootstrap_interval(second, f1)
    assert 0 < low < high
    assert high - low < (distributed[1] - distributed[0]) / 3
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_bootstrap_interval(first, second[:10], f1)


def test_holm_correction_by_hand():
    assert holm_correction([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm_correction([]) == []


def test_noise_floor_and_agreement_by_hand():
    assert agreement_noise_floor([0.5, 0.52, 0.49]) == pytest.approx(0.03)
    with pytest.raises(ValueError, match="two runs"):
        agreement_noise_floor([0.5])
    table = kendall_agreement(np.array([[1, 2, 3, 4.0], [1, 2, 4, 3.0], [4, 3, 2, 1.0], [np.nan, np.nan, 1, 2]]))
    assert table[0, 1] == pytest.approx(stats.kendalltau([1, 2, 3, 4], [1, 2, 4, 3]).statistic)
    assert table[0, 2] == pytest.approx(-1)
    assert np.isnan(table[0, 3])
