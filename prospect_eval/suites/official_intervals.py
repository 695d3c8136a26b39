"""Intervals of official values over videos, and paired comparisons of two sets of predictions.

The resampling unit is the video: its items stay together, and the official formula is applied to
the pooled totals of each resample.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from prospect_core.util.console import format_count
from prospect_core.util.errors import require_choice
from prospect_eval.stats.bootstrap import (
    Interval,
    Resampling,
    Statistic,
    Value,
    bootstrap_interval,
    paired_bootstrap_interval,
)
from prospect_eval.stats.boundary import FEW_CLUSTERS
from prospect_eval.stats.permutation import (
    holm_correction,
    least_permutation_p_value,
    permutation_videos_needed,
    sign_flip_p_value,
)
from prospect_eval.suites.benchmark import Benchmark
from prospect_eval.suites.gate_rules import MIN_VIDEOS
from prospect_eval.suites.official_score import (
    ItemScore,
    OfficialScore,
    make_official_score,
    pool_item_totals,
)

DEFAULT_RESAMPLING = Resampling()
#: significance level of the corrected tests
SIGNIFICANCE = 0.05
OfficialVerdict = Literal["better", "worse", "not shown", "identical", "too few", "other tasks", "undefined"]
#: intervals and tests use neither annotations nor results, hence ``Any``
AnyBenchmark = Benchmark[Any, Any]


@dataclass(frozen=True)
class OfficialInterval:
    """An official value with its interval.

    Attributes:
        value: Name of the official value.
        point: The official value; None if undefined.
        ci95: 95 % interval over videos; None if the value is undefined, if too few resamples define
            it, or if all videos have the same value inside its range.
        videos: Number of videos that the value depends on.
    """

    value: str
    point: float | None
    ci95: Interval | None
    videos: int


@dataclass(frozen=True)
class OfficialDifference:
    """Difference of two sets of predictions in one official value: second minus first.

    Attributes:
        value: Name of the official value.
        first: Value of the first set.
        second: Value of the second set.
        difference: Second minus first; None if one of them is undefined.
        ci95: 95 % interval of the difference over jointly resampled videos; None if no video
            differs.
        p: p value of the sign-flip test over videos, Holm-adjusted over all tests of the
            comparison; None without a test.
        videos: Number of videos that the value of either set depends on.
        verdict: Result in one word; higher values are better.
        note: Explanation of the verdict.
    """

    value: str
    first: float | None
    second: float | None
    difference: float | None
    ci95: Interval | None
    p: float | None
    videos: int
    verdict: OfficialVerdict
    note: str = ""


def make_value_of_counts(benchmark: AnyBenchmark, names: Sequence[str], value: str) -> Value:
    """Return the official value as a function of summed counts.

    Args:
        benchmark: The benchmark.
        names: Names of the C totals in the last axis of the counts.
        value: Name of the official value.

    Returns:
        A function from counts (..., C) to values (...), NaN where undefined.
    """

    def evaluate_arrays(counts: np.ndarray) -> np.ndarray:
        assert benchmark.array_values is not None
        totals = {name: counts[..., k] for k, name in enumerate(names)}
        with np.errstate(divide="ignore", invalid="ignore"):
            found = benchmark.array_values(totals).get(value)
        # a value that depends on none of these totals has no shape of its own
        return np.broadcast_to(np.asarray(np.nan if found is None else found, dtype=float), counts.shape[:-1])

    def evaluate_rows(counts: np.ndarray) -> np.ndarray:
        rows = counts.reshape(-1, counts.shape[-1]).tolist()
        found = [benchmark.values_of_totals(dict(zip(names, row, strict=True))).get(value) for row in rows]
        numbers = [np.nan if number is None else number for number in found]
        return np.array(numbers, dtype=float).reshape(counts.shape[:-1])

    return evaluate_rows if benchmark.array_values is None else evaluate_arrays


def sum_items_by_video(items: Iterable[ItemScore]) -> dict[str, dict[str, float]]:
    """Return the totals of each video that has an item."""
    groups: dict[str, list[ItemScore]] = defaultdict(list)
    for item in items:
        groups[item.video].append(item)
    return {video: pool_item_totals(group) for video, group in groups.items()}


@dataclass(frozen=True)
class _VideoCounts:
    """Totals that one official value depends on: a (V, C) array for each side, over equal videos."""

    value: str
    of: Value
    names: tuple[str, ...]
    sides: tuple[np.ndarray, ...]

    @property
    def videos(self) -> int:
        return len(self.sides[0])

    @classmethod
    def of_scores(cls, benchmark: AnyBenchmark, value: str, scores: Sequence[OfficialScore]) -> _VideoCounts:
        """Collect the totals; leave out irrelevant totals and videos without a relevant one."""
        by_video = [sum_items_by_video(score.items) for score in scores]
        videos = sorted({video for side in by_video for video in side})
        names = sorted({name for side in by_video for totals in side.values() for name in totals})
        sides = [_fill_counts(side, videos, names) for side in by_video]
        of = make_value_of_counts(benchmark, names, value)
        matters = np.any([_find_relevant_totals(of, side.sum(0)) for side in sides], axis=0)
        kept_names = tuple(name for name, kept in zip(names, matters, strict=True) if kept)
        kept = [side[:, matters] for side in sides]
        present = np.any([(side != 0).any(axis=1) for side in kept], axis=0)
        return cls(
            value=value,
            of=make_value_of_counts(benchmark, kept_names, value),
            names=kept_names,
            sides=tuple(side[present] for side in kept),
        )

    def statistic(self, benchmark: AnyBenchmark, side: int) -> Statistic:
        """Return the value with its range.

        Intervals at the ends of the range need the value of single videos. Some values are
        undefined for almost every single video, such as a mean of categories of different videos.
        They are resampled without a range.
        """
        own = self.of(self.sides[side])
        few = np.isfinite(own).sum() < min(FEW_CLUSTERS, self.videos)
        return Statistic(self.of) if few else Statistic(self.of, bounds=benchmark.find_value_range(self.value))


def _fill_counts(side: Mapping[str, Mapping[str, float]], videos: Sequence[str], names: Sequence[str]) -> np.ndarray:
    counts = np.zeros((len(videos), len(names)))
    columns = {name: k for k, name in enumerate(names)}
    for row, video in enumerate(videos):
        for name, total in side.get(video, {}).items():
            counts[row, columns[name]] = total
    return counts


def _find_relevant_totals(of: Value, sums: np.ndarray) -> np.ndarray:
    """Return a (C,) mask of the totals that change the value when they grow by one."""
    size = len(sums)
    here = of(sums[None])
    moved = of(sums + np.eye(size)) if size else np.empty(0)
    same = (moved == here) | (np.isnan(moved) & np.isnan(here))
    return np.asarray(~same)


def find_official_intervals(
    benchmark: AnyBenchmark,
    score: OfficialScore,
    values: Sequence[str] | None = None,
    how: Resampling = DEFAULT_RESAMPLING,
) -> dict[str, OfficialInterval]:
    """Return intervals of official values, by name.

    Args:
        benchmark: The benchmark of the values.
        score: Official numbers of one set of predictions.
        values: Names of official values; None for all.
        how: Number of resamples, seed and level.
    """
    names = list(score.values) if values is None else list(values)
    return {name: _find_interval(benchmark, score, name, how) for name in names}


def _find_interval(benchmark: AnyBenchmark, score: OfficialScore, value: str, how: Resampling) -> OfficialInterval:
    require_choice(f"the official value of {benchmark.name}", value, score.values)
    point = score.values[value]
    counts = _VideoCounts.of_scores(benchmark, value, [score])
    if point is None:
        return OfficialInterval(value, None, None, counts.videos)
    ends = bootstrap_interval(counts.sides[0], counts.statistic(benchmark, 0), how)
    low, high = benchmark.find_value_range(value)
    if ends is None:
        # no video differs from another: the range alone bounds the value
        ends = bootstrap_interval(counts.sides[0], Statistic(counts.of, bounds=(low, high)), how)
    ci95 = None if ends is None else (max(low, ends[0]), min(high, ends[1]))
    return OfficialInterval(value, point, ci95, counts.videos)


def keep_common_items(
    benchmark: AnyBenchmark, first: OfficialScore, second: OfficialScore
) -> tuple[OfficialScore, OfficialScore]:
    """Return both scores over the items that both sides have, joined by id."""
    common = _present_ids(first) & _present_ids(second)
    sides = []
    for score in (first, second):
        kept = [item for item in score.items if item.id in common]
        sides.append(make_official_score(kept, benchmark.values_of_totals, score.notes))
    return sides[0], sides[1]


def _present_ids(score: OfficialScore) -> set[str]:
    return {item.id for item in score.items if item.status != "missing"}


def compare_official_scores(
    benchmark: AnyBenchmark,
    first: OfficialScore,
    others: Mapping[str, OfficialScore],
    values: Sequence[str] | None = None,
    how: Resampling = DEFAULT_RESAMPLING,
) -> dict[str, list[OfficialDifference]]:
    """Compare sets of predictions with a first one, paired by video.

    Each difference has an interval and a p value of a sign-flip test with Holm's correction over
    all values and sets. A value is not tested if the sets contain different tasks of it;
    `keep_common_items` makes them comparable.

    Args:
        benchmark: The benchmark of the values.
        first: The set that all others are compared with.
        others: The other sets, by name.
        values: Names of official values; None for the headline values.
        how: Number of resamples, seed and level of the intervals.

    Returns:
        For each set the differences, in the order of ``values``.
    """
    names = list(benchmark.headline if values is None else values)
    tests = max(1, len(names) * len(others))
    found = {
        other: [_find_difference(benchmark, (first, score), name, tests, how) for name in names]
        for other, score in others.items()
    }
    tested = [difference for differences in found.values() for difference in differences if difference.p is not None]
    adjusted = iter(holm_correction([difference.p for difference in tested if difference.p is not None]))
    return {
        other: [d if d.p is None else _judge_difference(d, next(adjusted)) for d in differences]
        for other, differences in found.items()
    }


def _find_difference(
    benchmark: AnyBenchmark, pair: tuple[OfficialScore, OfficialScore], value: str, tests: int, how: Resampling
) -> OfficialDifference:
    """Return the difference in one value, before Holm's correction."""
    points = [score.values.get(value) for score in pair]
    counts = _VideoCounts.of_scores(benchmark, value, pair)
    found = OfficialDifference(
        value=value,
        first=points[0],
        second=points[1],
        difference=None,
        ci95=None,
        p=None,
        videos=counts.videos,
        verdict="undefined",
    )
    if points[0] is None or points[1] is None:
        return found
    tasks = [_find_tasks(score, counts.names) for score in pair]
    found = replace(found, difference=points[1] - points[0])
    if tasks[0] != tasks[1]:
        only = ", ".join(sorted(tasks[0] ^ tasks[1]))
        return replace(found, verdict="other tasks", note=f"only one side holds {only}")
    if np.array_equal(counts.sides[0], counts.sides[1]):
        note = f"equal totals on all {counts.videos} videos"
        return replace(found, p=1.0, verdict="identical", note=note)
    ci95 = paired_bootstrap_interval(counts.sides[0], counts.sides[1], counts.statistic(benchmark, 0), how)
    found = replace(found, ci95=ci95)
    needed = max(MIN_VIDEOS, permutation_videos_needed(tests))
    least = least_permutation_p_value(counts.videos, len(counts.names))
    if counts.videos < needed or least * tests > SIGNIFICANCE:
        note = (
            f"only {format_count(counts.videos, 'video')}: at least {needed} are needed to show a difference with"
            f" {format_count(tests, 'test')}"
        )
        return replace(found, verdict="too few", note=note)
    p = sign_flip_p_value(counts.sides[0], counts.sides[1], counts.of)
    return replace(found, p=p, verdict="undefined" if p is None else "not shown")


def _find_tasks(score: OfficialScore, names: Sequence[str]) -> set[str]:
    """Return the tasks with an item that adds to one of these totals."""
    return {item.task for item in score.items if any(item.totals.get(name) for name in names)}


def _judge_difference(difference: OfficialDifference, p: float) -> OfficialDifference:
    if difference.verdict == "identical" or difference.difference is None:
        return difference
    if p > SIGNIFICANCE:
        return replace(difference, p=p)
    return replace(difference, p=p, verdict="better" if difference.difference > 0 else "worse")
