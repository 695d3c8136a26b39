"""Compare two training recipes over several training seeds: mean, spread and test.

prospect-eval compare --group runs/a-1,runs/a-2,runs/a-3 --group runs/b-1,runs/b-2,runs/b-3
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.special import stdtr, stdtrit

from prospect_core.util.errors import UserError
from prospect_eval.analysis.compare import ALPHA
from prospect_eval.analysis.pairing import ScoredRun, pair_runs, pairing_cluster_counts, pairing_headline_metrics
from prospect_eval.metrics import Metric
from prospect_eval.stats.bootstrap import BootstrapDraws, Resampling
from prospect_eval.stats.permutation import holm_correction
from prospect_eval.suites.gate_rules import MIN_VIDEOS

#: minimum number of training seeds, because one has no spread
MIN_SEEDS = 2


@dataclass(frozen=True)
class GroupDifference:
    """The second recipe's mean over its seeds minus the first's.

    Attributes:
        name: Name of the metric.
        first: Mean and standard deviation over the first recipe's seeds.
        second: Mean and standard deviation over the second recipe's seeds.
        difference: Difference of the means.
        ci95: 95 % interval of the difference, with the variance of seeds plus that of videos.
        p: p value of Welch's t test, Holm-adjusted over the headline metrics.
        videos: Number of clusters.
        verdict: ``better``, ``worse``, ``differs``, ``not shown`` or ``too few``.
    """

    name: str
    first: tuple[float, float]
    second: tuple[float, float]
    difference: float
    ci95: tuple[float, float]
    p: float
    videos: int
    verdict: str


def compare_seed_groups(
    first: Sequence[Path], second: Sequence[Path], metrics: Sequence[Metric], intersect: bool = False
) -> list[GroupDifference]:
    """Compare two recipes over the headline metrics.

    Args:
        first: Scored runs of the first recipe, one for each training seed.
        second: Scored runs of the second recipe.
        metrics: All metrics.
        intersect: Compare the common episodes if the runs have different ones.

    Returns:
        The difference of each headline metric.

    Raises:
        UserError: A recipe has fewer than `MIN_SEEDS` runs, or the runs are not comparable.
    """
    for group in (first, second):
        if len(group) < MIN_SEEDS:
            raise UserError(f"--group {','.join(map(str, group))}: give runs of at least {MIN_SEEDS} training seeds")
    runs = [[ScoredRun.open(folder) for folder in group] for group in (first, second)]
    every = [run for group in runs for run in group]
    pairings = [pair_runs(every[0], run, intersect) for run in every[1:]]
    episodes = sorted(set.intersection(*(set(pairing.episodes) for pairing in pairings)))
    by_name = {metric.name: metric for metric in metrics}
    found = []
    for name in pairing_headline_metrics(every, metrics):
        shared = [e for e in episodes if all(e in run.counts.get(name, {}) for run in every)]
        if shared:
            found.append(_group_difference(by_name[name], runs, shared))
    adjusted = holm_correction([d.p for d in found])
    return [_judged(d, p, by_name[d.name].better) for d, p in zip(found, adjusted, strict=True)]


def _group_difference(metric: Metric, runs: Sequence[Sequence[ScoredRun]], episodes: Sequence[str]) -> GroupDifference:
    draws, values = [], []
    for group in runs:
        made = []
        for run in group:
            table = pairing_cluster_counts(metric, run.counts[metric.name], episodes, run.clusters)
            found = BootstrapDraws.of(table, metric.value, Resampling())
            made.append(np.full(2000, np.nan) if found is None else found.values)
        draws.append(np.mean(made, axis=0))
        values.append(
            [
                float(metric.value(pairing_cluster_counts(metric, r.counts[metric.name], episodes, r.clusters).sum(0)))
                for r in group
            ]
        )
    videos = len({runs[0][0].clusters[episode] for episode in episodes})
    gap = draws[1] - draws[0]
    # the spread of resampled clusters is smaller by the square root of (V - 1) / V
    parts = [(float(np.nanvar(gap)) * videos / max(1, videos - 1), max(1, videos - 1))]
    parts += [(float(np.var(v, ddof=1)) / len(v), len(v) - 1) for v in values]
    variance = sum(part for part, _ in parts)
    difference = float(np.mean(values[1]) - np.mean(values[0]))
    # Welch and Satterthwaite: the degrees of freedom of a sum of independent variances
    freedom = variance**2 / sum(part**2 / df for part, df in parts) if variance > 0 else 1.0
    reach = float(stdtrit(freedom, 1 - ALPHA / 2)) * variance**0.5
    p = float(2 * stdtr(freedom, -abs(difference) / variance**0.5)) if variance > 0 else 1.0
    spread = [(float(np.mean(v)), float(np.std(v, ddof=1))) for v in values]
    return GroupDifference(
        metric.name, spread[0], spread[1], difference, (difference - reach, difference + reach), p, videos, ""
    )


def _judged(d: GroupDifference, p: float, better: str) -> GroupDifference:
    if d.videos < MIN_VIDEOS:
        return replace(d, p=p, verdict="too few")
    if p > ALPHA:
        return replace(d, p=p, verdict="not shown")
    if better not in ("higher", "lower"):
        return replace(d, p=p, verdict="differs")
    return replace(d, p=p, verdict="better" if (d.difference > 0) == (better == "higher") else "worse")
