"""Intervals and paired comparisons of official values over videos."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from prospect_core.util.errors import UserError
from prospect_eval.stats.bootstrap import Resampling, Statistic, bootstrap_interval
from prospect_eval.stats.permutation import holm_correction, sign_flip_p_value
from prospect_eval.suites.benchmark import Benchmark, make_values_of_totals
from prospect_eval.suites.official_intervals import (
    compare_official_scores,
    find_official_intervals,
    keep_common_items,
    make_value_of_counts,
    sum_items_by_video,
)
from prospect_eval.suites.official_score import ItemScore, make_official_score


def array_values(totals):
    values = {}
    for task in ("a", "b"):
        number = np.asarray(totals.get(f"{task}.number", 0.0))
        values[task] = np.where(number > 0, totals.get(f"{task}.right", 0.0) / np.where(number > 0, number, 1), np.nan)
    return {**values, "mean": (values["a"] + values["b"]) / 2}


def unused(*args):
    raise AssertionError("intervals read no files")


BENCHMARK = Benchmark(
    name="small",
    title="Small",
    source="http://example.org",
    licence="none",
    headline=("mean",),
    read_annotations=unused,
    read_results=unused,
    score=unused,
    values_of_totals=make_values_of_totals(array_values),
    find_problems=unused,
    array_values=array_values,
)
FEW = Resampling(resamples=300)


def make_score(right, task="a", numbers=None):
    """One item for each video, with as many right answers as given of ten."""
    items = []
    for index, count in enumerate(right):
        number = 10.0 if numbers is None else numbers[index]
        totals = {f"{task}.right": float(count), f"{task}.number": number}
        items.append(ItemScore(f"{task}{index}", f"video {index:02}", task, totals))
    return items


def scored(items):
    return make_official_score(items, BENCHMARK.values_of_totals)


RNG = np.random.default_rng(3)
RIGHT = RNG.integers(2, 9, 24)
#: two more or none, more on the whole
MORE = np.minimum(RIGHT + 2 * (np.arange(24) % 3 > 0), 10)
MIXED = np.clip(RIGHT + RNG.integers(-1, 2, 24), 0, 10)
COUNTS = RNG.integers(0, 3, (40, 4)).astype(float)


def test_find_official_intervals_share_equals_bootstrap():
    found = find_official_intervals(BENCHMARK, scored(make_score(RIGHT)), ["a"], FEW)["a"]
    counts = np.stack([RIGHT, np.full(24, 10.0)], axis=1)
    # the totals are ordered by name: number before right
    statistic = Statistic(lambda c: c[..., 1] / c[..., 0], bounds=(0.0, 1.0))
    assert found.point == pytest.approx(RIGHT.sum() / 240)
    assert found.ci95 == pytest.approx(bootstrap_interval(counts[:, ::-1], statistic, FEW))
    assert found.videos == 24


def test_find_official_intervals_keep_items_of_video_together():
    single = make_score(RIGHT)
    halves = [
        replace(item, id=f"{item.id}/{half}", totals={name: total / 2 for name, total in item.totals.items()})
        for item in single
        for half in (1, 2)
    ]
    first = find_official_intervals(BENCHMARK, scored(single), ["a"], FEW)
    assert find_official_intervals(BENCHMARK, scored(halves), ["a"], FEW) == first


def test_find_official_intervals_irrelevant_videos_are_left_out():
    items = make_score(RIGHT[:14]) + [
        replace(item, video=f"other {item.video}") for item in make_score(RIGHT[14:], task="b")
    ]
    found = find_official_intervals(BENCHMARK, scored(items), None, FEW)
    assert {name: interval.videos for name, interval in found.items()} == {"a": 14, "b": 10, "mean": 24}


def test_find_official_intervals_mean_over_videos_is_resampled():
    items = make_score(RIGHT[:12]) + [
        replace(item, video=f"other {item.video}") for item in make_score(RIGHT[12:], task="b")
    ]
    low, high = find_official_intervals(BENCHMARK, scored(items), ["mean"], FEW)["mean"].ci95
    assert low < scored(items).values["mean"] < high
    assert high - low < 0.3


def test_find_official_intervals_perfect_value_has_width():
    for task_videos in (make_score([10] * 24), make_score([10] * 24) + make_score([10] * 24, task="b")):
        low, high = find_official_intervals(BENCHMARK, scored(task_videos), ["a"], FEW)["a"].ci95
        assert high == 1.0
        assert 0.8 < low < 1.0


def test_find_official_intervals_undefined_value_is_none():
    found = find_official_intervals(BENCHMARK, scored(make_score(RIGHT)), ["b"], FEW)["b"]
    assert (found.point, found.ci95, found.videos) == (None, None, 0)


def test_find_official_intervals_unknown_value_raises():
    with pytest.raises(UserError, match="the official value of small 'meen' is unknown"):
        find_official_intervals(BENCHMARK, scored(make_score(RIGHT)), ["meen"])


def test_make_value_of_counts_rows_equal_arrays():
    names = ["a.number", "a.right", "b.number", "b.right"]
    by_rows = make_value_of_counts(replace(BENCHMARK, array_values=None), names, "mean")
    by_arrays = make_value_of_counts(BENCHMARK, names, "mean")
    np.testing.assert_array_equal(by_rows(COUNTS), by_arrays(COUNTS))
    np.testing.assert_array_equal(by_rows(COUNTS[:12].reshape(3, 4, 4)), by_arrays(COUNTS[:12].reshape(3, 4, 4)))
    assert np.isnan(make_value_of_counts(BENCHMARK, names, "other")(COUNTS)).all()


def test_find_official_intervals_without_arrays_are_equal():
    items = make_score(RIGHT) + make_score(RIGHT[::-1], task="b")
    slow = find_official_intervals(replace(BENCHMARK, array_values=None), scored(items), ["mean"], FEW)
    fast = find_official_intervals(BENCHMARK, scored(items), ["mean"], FEW)
    assert slow["mean"].ci95 == pytest.approx(fast["mean"].ci95)


def test_sum_items_by_video_adds_items():
    items = [ItemScore(str(i), "v", "a", {"a.right": 0.1, "a.number": 1.0}) for i in range(10)]
    assert sum_items_by_video(items) == {"v": {"a.right": 1.0, "a.number": 10.0}}


def test_compare_official_scores_p_is_holm_sign_flip():
    base = make_score(RIGHT)
    others = {
        "more": make_score(MORE),
        "mixed": make_score(MIXED),
    }
    found = compare_official_scores(BENCHMARK, scored(base), {n: scored(i) for n, i in others.items()}, ["a"], FEW)
    counts = {
        name: np.array([[item.totals["a.number"], item.totals["a.right"]] for item in items])
        for name, items in {"base": base, **others}.items()
    }
    p_values = [sign_flip_p_value(counts["base"], counts[n], lambda c: c[..., 1] / c[..., 0]) for n in others]
    assert [found[name][0].p for name in others] == pytest.approx(holm_correction(p_values))
    assert found["more"][0].verdict == "better"
    assert found["more"][0].ci95[0] > 0
    assert found["mixed"][0].verdict == "not shown"


def test_compare_official_scores_fewer_correct_is_worse():
    found = compare_official_scores(BENCHMARK, scored(make_score(RIGHT)), {"x": scored(make_score(RIGHT - 2))}, ["a"])
    assert found["x"][0].verdict == "worse"
    assert found["x"][0].difference == pytest.approx(-0.2)


def test_compare_official_scores_equal_totals_are_identical():
    found = compare_official_scores(BENCHMARK, scored(make_score(RIGHT)), {"x": scored(make_score(RIGHT))}, ["a"])
    assert (found["x"][0].verdict, found["x"][0].p, found["x"][0].difference) == ("identical", 1.0, 0.0)


def test_compare_official_scores_few_videos_are_not_tested():
    found = compare_official_scores(BENCHMARK, scored(make_score([1, 2])), {"x": scored(make_score([9, 9]))}, ["a"])
    assert (found["x"][0].verdict, found["x"][0].p) == ("too few", None)
    assert "only 2 videos" in found["x"][0].note


def test_compare_official_scores_other_tasks_are_not_tested():
    def values(totals):
        right = totals.get("a.right", 0.0) + totals.get("b.right", 0.0)
        return {"all": right / (totals.get("a.number", 0.0) + totals.get("b.number", 0.0))}

    pooled = replace(BENCHMARK, values_of_totals=make_values_of_totals(values), array_values=values)
    both = make_official_score(make_score(RIGHT) + make_score(RIGHT, task="b"), pooled.values_of_totals)
    one = make_official_score(make_score(RIGHT), pooled.values_of_totals)
    found = compare_official_scores(pooled, both, {"x": one}, ["all"])["x"][0]
    assert (found.verdict, found.p, found.note) == ("other tasks", None, "only one side holds b")
    first, second = keep_common_items(pooled, both, one)
    assert compare_official_scores(pooled, first, {"x": second}, ["all"])["x"][0].verdict == "identical"


def test_compare_official_scores_undefined_value_is_reported():
    other = scored(make_score(RIGHT, task="b"))
    found = compare_official_scores(BENCHMARK, scored(make_score(RIGHT)), {"x": other}, ["a"])["x"][0]
    assert (found.verdict, found.difference, found.p) == ("undefined", None, None)


def test_keep_common_items_drops_missing_on_both_sides():
    full = make_score(RIGHT)
    missing = [replace(item, totals={}, status="missing") if item.id == "a3" else item for item in full]
    first, second = keep_common_items(BENCHMARK, scored(full), scored(missing))
    assert [item.id for item in first.items] == [item.id for item in second.items]
    assert first.values == second.values
    assert "a3" not in {item.id for item in first.items}
