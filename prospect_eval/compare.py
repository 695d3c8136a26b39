"""Two scored runs side by side: paired differences over the videos they share, from their stored counts.

    prospect-eval compare runs/a runs/b

Numbers with different metric signatures are never set side by side: what differs is named instead. Below ten videos the
verdict is inconclusive, whatever the means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prospect_core.errors import DataError, UserError
from prospect_core.jsonio import flat
from prospect_eval.changed import EpisodeChange
from prospect_eval.derived import read_counts, read_metrics, read_run
from prospect_eval.markdown import short, text
from prospect_eval.metrics import Metric
from prospect_eval.stats.agreement import noise_floor
from prospect_eval.stats.bootstrap import paired_ci
from prospect_eval.stats.permutation import holm, sign_flip_p
from prospect_eval.stats.power import detectable_difference

MIN_VIDEOS = 10


@dataclass(frozen=True)
class Difference:
    """Second run minus first run of one metric over the same videos; ``p`` is Holm-adjusted."""

    name: str
    first: float
    second: float
    ci95: tuple[float, float] | None
    p: float | None
    detectable: float | None
    videos: int
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """One run beside another: differences by metric, and the episodes that changed most."""

    first: str
    second: str
    differences: tuple[Difference, ...]
    episodes: tuple[EpisodeChange, ...] = ()


def plain(comparison: Comparison) -> dict[str, Any]:
    """As JSON."""
    return asdict(comparison)


def as_markdown(comparison: Comparison) -> str:
    """A table of all metrics with a verdict, those that differ first, then the episodes that changed most."""
    first, second = (Path(run).name for run in (comparison.first, comparison.second))
    head = ("metric", first, second, "difference [95 %]", "p (Holm)", "detectable", "verdict")
    lines = [
        f"### {text(second)} against {text(first)}",
        "",
        f"| {' | '.join(map(text, head))} |",
        "|---" * len(head) + "|",
    ]
    told = ("better", "worse", "differs")
    for d in sorted(comparison.differences, key=lambda d: d.verdict not in told):
        ci = f" [{d.ci95[0]:.4g}, {d.ci95[1]:.4g}]" if d.ci95 else ""
        cells = (d.name, *map(short, (d.first, d.second)), f"{d.second - d.first:+.4g}{ci}", short(d.p), short(d.detectable),
                 d.verdict)  # fmt: skip
        lines.append(f"| {' | '.join(map(text, cells))} |")
    if comparison.episodes:
        lines += ["", "Changed most:", ""]
    for change in comparison.episodes:
        lines.append(f"* {text(change.episode)} ({change.score:.2f})")
        lines += [f"  * {text(reason)}" for reason in change.why]
    return "\n".join([*lines, ""])


def differing_keys(first: str, second: str) -> list[str]:
    """``key: a there, b here`` for every key of two signatures that is not equal in both."""
    a, b = (dict(part.partition(":")[::2] for part in text.split("|")) for text in (first, second))
    return [f"{key}: {a.get(key, 'absent')} / {b.get(key, 'absent')}" for key in {**a, **b} if a.get(key) != b.get(key)]


def require_comparable(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Refuse two ``metrics.json`` whose metric signatures differ, with the differing keys: a `UserError`."""
    wrong: dict[str, list[str]] = {}
    for name in first["metrics"].keys() & second["metrics"].keys():
        for key in differing_keys(first["metrics"][name]["signature"], second["metrics"][name]["signature"]):
            wrong.setdefault(key, []).append(name)
    if wrong:
        shown = "; ".join(f"{key} (in {min(names)} and {len(names) - 1} more)" for key, names in sorted(wrong.items()))
        raise UserError(f"these runs were measured differently and are not set side by side: {shown}; score both anew")


def compare_runs(first: Path, second: Path, metrics: list[Metric]) -> list[Difference]:
    """Differences of all metrics that both runs have, over the videos that both have counts of."""
    tables = [read_metrics(folder) for folder in (first, second)]
    require_comparable(*tables)
    counts = [read_counts(folder) for folder in (first, second)]
    out = []
    for metric in metrics:
        sides = [side.get(metric.name, {}) for side in counts]
        shared = [video for video in sides[0] if video in sides[1]]
        if not shared:
            continue
        a, b = (np.array([side[video] for video in shared], dtype=float) for side in sides)
        with np.errstate(divide="ignore", invalid="ignore"):
            values = float(metric.value(a.sum(0))), float(metric.value(b.sum(0)))
        if not np.isfinite(values).all():
            continue
        ci = paired_ci(a, b, metric.value)
        p = sign_flip_p(a, b, metric.value)
        out.append(Difference(metric.name, *values, ci, p, detectable_difference(a, b, metric.value), len(shared), ""))
    if not out:
        raise DataError(f"{first} and {second}: no metric has counts of a common video")
    adjusted = iter(holm([d.p for d in out if d.p is not None]))
    better = {metric.name: metric.better for metric in metrics}
    return [
        Difference(d.name, d.first, d.second, d.ci95, q := None if d.p is None else next(adjusted), d.detectable,
                   d.videos, _verdict(d, q, better[d.name]))
        for d in out
    ]  # fmt: skip


def noise_floors(runs: Sequence[Path], metrics: list[Metric]) -> dict[str, float]:
    """{metric: largest difference} between runs of the same thing (A/A): no smaller difference of two runs means
    anything. Runs of different models, data, knobs or signatures are refused."""
    if len(runs) < 2:
        raise UserError("a noise floor needs two runs of the same thing or more")
    tables = [read_metrics(folder) for folder in runs]
    configs = [flat(read_run(folder)["config"]) for folder in runs]
    for folder, table, config in zip(runs, tables, configs, strict=True):
        if wrong := [key for key in config if config[key] != configs[0].get(key)]:
            raise UserError(f"{folder}: not the same thing as {runs[0]} ({', '.join(wrong)} differ)")
        require_comparable(tables[0], table)
    out = {}
    for metric in metrics:
        values = [table["metrics"].get(metric.name, {}).get("value") for table in tables]
        if None not in values:
            out[metric.name] = noise_floor(values)
    return out


def _verdict(d: Difference, p: float | None, better: str) -> str:
    if d.videos < MIN_VIDEOS:
        return f"inconclusive: {d.videos} videos"
    if p is None or p > 0.05:
        return "no difference shown"
    if better not in ("higher", "lower"):
        return "differs"
    return "better" if (d.second > d.first) == (better == "higher") else "worse"
