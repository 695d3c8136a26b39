"""Rank scored runs over the same episodes, each with its difference from the best.

prospect-eval leaderboard runs/a runs/b runs/c
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prospect_core.util.errors import UserError, require_choice
from prospect_eval.analysis.compare import ALPHA
from prospect_eval.analysis.pairing import ScoredRun, pair_runs, pairing_headline_metrics
from prospect_eval.metrics import Metric
from prospect_eval.stats.permutation import holm_correction, sign_flip_p_value
from prospect_eval.suites.gate_rules import MIN_VIDEOS


@dataclass(frozen=True)
class Place:
    """One run of a leaderboard.

    Attributes:
        run: Folder of the run.
        model: Name of its model.
        entries: Entries of the headline metrics as in ``metrics.json``.
        p: Adjusted p value of its difference from the best run; None for the best run and if not
            tested.
        verdict: Verdict on that difference.
    """

    run: str
    model: str
    entries: dict[str, dict[str, Any]]
    p: float | None
    verdict: str


@dataclass(frozen=True)
class Leaderboard:
    """Runs in the order of one metric.

    Attributes:
        by: The metric that orders the runs.
        metrics: The shown metrics.
        episodes: Number of common episodes.
        left_out: Number of episodes that not all runs have.
        places: The runs, the best first.
    """

    by: str
    metrics: tuple[str, ...]
    episodes: int
    left_out: int
    places: tuple[Place, ...]


def make_leaderboard(
    folders: Sequence[Path], metrics: Sequence[Metric], by: str | None = None, intersect: bool = False
) -> Leaderboard:
    """Order scored runs by a metric.

    Args:
        folders: At least two scored run folders.
        metrics: All metrics.
        by: The metric that orders the runs; None for the first headline metric.
        intersect: Use the common episodes if the runs have different ones.

    Returns:
        The leaderboard.

    Raises:
        UserError: There are fewer than two runs, the runs are not comparable, or the metric has no
            direction.
    """
    if len(folders) < 2:
        raise UserError("a leaderboard needs at least two scored runs")
    runs = [ScoredRun.open(folder) for folder in folders]
    pairings = [pair_runs(runs[0], run, intersect) for run in runs[1:]]
    shared = sorted(set.intersection(*(set(pairing.episodes) for pairing in pairings)))
    names = pairing_headline_metrics(runs, metrics)
    by_name = {metric.name: metric for metric in metrics}
    order = require_choice("--by", by, list(by_name)) if by else names[0]
    metric = by_name[order]
    if metric.better not in ("higher", "lower"):
        raise UserError(f"--by {order}: cannot rank runs, because neither higher nor lower values are better")
    shown = tuple(dict.fromkeys((order, *names)))
    entries = [{name: run.entry(by_name[name], shared) for name in shown} for run in runs]
    sign = -1.0 if metric.better == "higher" else 1.0
    ranked = sorted(range(len(runs)), key=lambda k: _key(entries[k][order]["value"], sign))
    tests = _tests([runs[k] for k in ranked], metric, shared)
    places = tuple(
        Place(runs[k].name, str(runs[k].config["model"]), entries[k], p, verdict)
        for k, (p, verdict) in zip(ranked, tests, strict=True)
    )
    left_out = len(frozenset().union(*(run.episodes for run in runs))) - len(shared)
    return Leaderboard(order, shown, len(shared), left_out, places)


def _key(value: float | None, sign: float) -> float:
    return float("inf") if value is None else sign * value


def _tests(runs: Sequence[ScoredRun], metric: Metric, episodes: Sequence[str]) -> list[tuple[float | None, str]]:
    """Return (adjusted p, verdict) of each run against the best one, which is the first."""
    found: list[float | None] = []
    for run in runs[1:]:
        pairing = pair_runs(runs[0], run, intersect=True)
        first, second = type(pairing)(runs[0], run, tuple(episodes)).counts(metric)
        found.append(sign_flip_p_value(first, second, metric.value) if len(first) >= MIN_VIDEOS else None)
    adjusted = iter(holm_correction([p for p in found if p is not None]))
    out: list[tuple[float | None, str]] = [(None, "best")]
    for p in found:
        if p is None:
            out.append((None, f"too few videos (fewer than {MIN_VIDEOS})"))
        else:
            q = next(adjusted)
            out.append((q, "worse than the best" if q <= ALPHA else "no difference from the best shown"))
    return out
