"""Paired differences of scored runs over the same episodes, from their stored counts.

    prospect-eval compare runs/a runs/b

The headline metrics of the suite are tested, with Holm's correction over all metrics and pairs of
runs. Differences of the other metrics are exploratory and have only an interval. Failed and missing
episodes count as the worst value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from prospect_core.util.console import format_count
from prospect_core.util.errors import DataError, UserError
from prospect_core.util.json_io import flatten_json
from prospect_eval.analysis.episode_diff import EpisodeChange
from prospect_eval.analysis.pairing import (
    Pairing,
    ScoredRun,
    pair_runs,
    pairing_headline_metrics,
    require_pairing_same_signatures,
)
from prospect_eval.metrics import Metric
from prospect_eval.metrics.base import SHARE
from prospect_eval.runs.schemas import read_run_schema
from prospect_eval.stats.agreement import agreement_noise_floor
from prospect_eval.stats.bootstrap import paired_bootstrap_interval
from prospect_eval.stats.permutation import (
    holm_correction,
    least_permutation_p_value,
    permutation_videos_needed,
    sign_flip_p_value,
)
from prospect_eval.stats.power import power_detectable_difference
from prospect_eval.suites.gate_rules import MIN_VIDEOS

ALPHA = 0.05
Verdict = Literal["better", "worse", "differs", "not shown", "identical", "too few", "exploratory"]


@dataclass(frozen=True)
class Difference:
    """Second run minus first run of one metric.

    Attributes:
        name: Name of the metric.
        family: Family of the metric.
        first: Value of the first run; failed and missing episodes count as the worst value.
        second: Value of the second run.
        difference: Second minus first.
        ci95: 95 % interval of the difference; None if no video differs.
        p: p value of the sign-flip test, Holm-adjusted over the tested metrics; None for
            exploratory metrics.
        detectable: Smallest true difference that this test finds with a power of 0.8 at the
            corrected level.
        videos: Number of compared clusters.
        verdict: The verdict in one word.
        note: Limits of the verdict.
        share: Whether the metric ranges from 0 to 1.
        without_failed: Both values over the episodes that did not fail, if any failed.
    """

    name: str
    family: str
    first: float
    second: float
    difference: float
    ci95: tuple[float, float] | None
    p: float | None
    detectable: float | None
    videos: int
    verdict: Verdict
    note: str = ""
    share: bool = True
    without_failed: tuple[float | None, float | None] | None = None

    @property
    def tested(self) -> bool:
        """Whether the metric is tested."""
        return self.verdict != "exploratory"


@dataclass(frozen=True)
class Comparison:
    """Comparison of two runs.

    Attributes:
        first: Folder of the first run.
        second: Folder of the second run.
        differences: Difference of each metric, the tested ones first.
        tests: Number of tests that Holm's method corrects for.
        left_out: Ids of the episodes that only one run has.
        episodes: The episodes that changed most.
    """

    first: str
    second: str
    differences: tuple[Difference, ...]
    tests: int = 0
    left_out: tuple[str, ...] = ()
    episodes: tuple[EpisodeChange, ...] = ()


def compare_runs_json(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as plain values for JSON."""
    return asdict(comparison)


def compare_runs(
    first: Path, others: Sequence[Path], metrics: Sequence[Metric], intersect: bool = False
) -> list[Comparison]:
    """Compare every other run with the first one.

    Args:
        first: A scored run folder.
        others: Scored run folders.
        metrics: All metrics.
        intersect: Compare the common episodes if the runs have different ones.

    Returns:
        One comparison for each of the others.

    Raises:
        UserError: The runs are not comparable (`prospect_eval.analysis.pairing.pair_runs`).
        DataError: A folder is not scored, or no metric is defined in both runs.
    """
    base = ScoredRun.open(first)
    pairings = [pair_runs(base, ScoredRun.open(other), intersect) for other in others]
    headline = pairing_headline_metrics([base, *(pairing.second for pairing in pairings)], metrics)
    order = sorted(
        metrics, key=lambda metric: headline.index(metric.name) if metric.name in headline else len(headline)
    )
    tests = max(1, len(headline) * len(pairings))
    found = [[d for m in order if (d := _difference(p, m, m.name in headline, tests))] for p in pairings]
    for pairing, differences in zip(pairings, found, strict=True):
        if not differences:
            raise DataError(f"{first} and {pairing.second.name}: no metric is defined in both runs")
    adjusted = iter(holm_correction([d.p for differences in found for d in differences if d.p is not None]))
    better = {metric.name: metric.better for metric in metrics}
    return [
        Comparison(
            base.name, pairing.second.name,
            tuple(d if d.p is None else _judged(d, next(adjusted), better[d.name]) for d in differences),
            tests, pairing.left_out,
        )
        for pairing, differences in zip(pairings, found, strict=True)
    ]  # fmt: skip


def _difference(pairing: Pairing, metric: Metric, tested: bool, tests: int) -> Difference | None:
    """Return the difference of a metric before Holm's correction; None if a side is undefined."""
    first, second = pairing.counts(metric)
    if not len(first):
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled = [float(metric.value(side.sum(0))) for side in (first, second)]
    if not np.isfinite(pooled).all():
        return None
    values = pooled if pairing.left_out else [_stored(run, metric, v) for run, v in _sides(pairing, pooled)]
    ci = paired_bootstrap_interval(first, second, metric.statistic)
    if ci is not None:
        # an average precision is computed from the frames, its interval from histograms
        shift = (values[1] - values[0]) - (pooled[1] - pooled[0])
        ci = ci[0] + shift, ci[1] + shift
    found = Difference(
        metric.name, metric.family.name, values[0], values[1], values[1] - values[0], ci, None, None, len(first),
        "exploratory", share=metric.range == SHARE, without_failed=_without_failed(pairing, metric),
    )  # fmt: skip
    if not tested:
        return found
    needed = max(MIN_VIDEOS, permutation_videos_needed(tests))
    if len(first) < needed or least_permutation_p_value(*first.shape) * tests > ALPHA:
        note = (
            f"only {format_count(len(first), 'video')}: at least {needed} are needed to show a difference with"
            f" {format_count(tests, 'test')}"
        )
        return replace(found, verdict="too few", note=note)
    if np.array_equal(first, second):
        return replace(found, verdict="identical", note=f"equal on all {len(first)} videos", p=1.0)
    p = sign_flip_p_value(first, second, metric.value)
    detectable = power_detectable_difference(first, second, metric.statistic, ALPHA / tests)
    return replace(found, p=p, detectable=detectable, verdict="not shown")


def _sides(pairing: Pairing, values: Sequence[float]) -> list[tuple[ScoredRun, float]]:
    return list(zip((pairing.first, pairing.second), values, strict=True))


def _stored(run: ScoredRun, metric: Metric, pooled: float) -> float:
    """Return the value in the run's table."""
    value = run.table["metrics"].get(metric.name, {}).get("value")
    return pooled if value is None else float(value)


def _without_failed(pairing: Pairing, metric: Metric) -> tuple[float | None, float | None] | None:
    sides = [run.table.get("without_failed", {}) for run in (pairing.first, pairing.second)]
    if not any(sides):
        return None
    runs = (pairing.first, pairing.second)
    first, second = (
        (side or {n: e["value"] for n, e in run.table["metrics"].items()}).get(metric.name)
        for side, run in zip(sides, runs, strict=True)
    )
    return first, second


def _judged(d: Difference, p: float, better: str) -> Difference:
    if d.verdict == "identical":
        return d
    if p > ALPHA:
        return replace(d, p=p, note="'no difference shown' does not mean equal; see the smallest detectable difference")
    if better not in ("higher", "lower"):
        return replace(d, p=p, verdict="differs")
    return replace(d, p=p, verdict="better" if (d.difference > 0) == (better == "higher") else "worse")


def compare_noise_floors(runs: Sequence[Path], metrics: Sequence[Metric], seeds: bool = False) -> dict[str, float]:
    """Return the largest difference of each metric between repeated runs.

    A smaller difference between two models is not evidence.

    Args:
        runs: Scored run folders of one model (A/A), or with ``seeds`` of several trainings of one
            recipe.
        metrics: All metrics.
        seeds: Whether the models may differ.

    Returns:
        The noise floor of each metric by name.

    Raises:
        UserError: There are fewer than two runs, or the runs differ in another setting.
    """
    if len(runs) < 2:
        raise UserError("a noise floor needs at least two runs of the same model")
    scored = [ScoredRun.open(folder) for folder in runs]
    thresholds = tuple(f"knobs.{knob}_threshold" for knob in ("speaking", "update", "mistake"))
    free = ("model", "model_digest", "thresholds_from", *thresholds)
    configs = [flatten_json(read_run_schema(folder)["config"]) for folder in runs]
    for folder, run, config in zip(runs, scored, configs, strict=True):
        wrong = [key for key in config if config[key] != configs[0].get(key) and not (seeds and key in free)]
        if wrong:
            more = "" if seeds else "; --seeds allows trainings of one recipe with different seeds"
            raise UserError(f"{folder} is not a repeated run of {runs[0]}: {', '.join(wrong)} differ{more}")
        require_pairing_same_signatures(scored[0], run)
    out = {}
    for metric in metrics:
        values = [run.table["metrics"].get(metric.name, {}).get("value") for run in scored]
        if None not in values:
            out[metric.name] = agreement_noise_floor(values)
    return out
