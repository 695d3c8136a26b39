"""Verdict on a run: its gate's verdict, or whether it is complete and above every trivial baseline.

A run is above a baseline in a metric if the 95 % interval of the paired difference is above zero.
The interval is taken over the episodes for which both have counts. Of two equally good systems, one
is called better than the other in 2.5 % of all cases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from prospect_core.util.console import format_count
from prospect_core.util.json_io import read_json
from prospect_eval.analysis.pairing import pairing_cluster_counts
from prospect_eval.gate.gate import VERDICT
from prospect_eval.metrics import Metric
from prospect_eval.runs.metric_tables import metric_table_trivial_baselines
from prospect_eval.runs.schemas import Packed, PackedCounts, read_counts_schema
from prospect_eval.stats.bootstrap import paired_bootstrap_interval
from prospect_eval.stats.permutation import sign_flip_p_value
from prospect_eval.suites.gate_rules import MIN_VIDEOS
from prospect_eval.text.markdown import format_markdown_value

_GATE_KINDS: dict[str, Literal["good", "off", "bad"]] = {"PASS": "good", "INCONCLUSIVE": "off", "FAIL": "bad"}
#: orients a value so that higher is better; a metric without a direction is not compared
_TURNED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "higher": lambda value: value,
    "lower": lambda value: -value,
    "zero": lambda value: -np.abs(value),
}


@dataclass(frozen=True)
class Verdict:
    """Verdict on a run.

    Attributes:
        word: The verdict for a reader.
        kind: ``good``, ``off`` (undecided) or ``bad``.
        by: Source of the verdict: ``gate`` or ``report``.
        reasons: Reasons for a reader, one line each.
    """

    word: str
    kind: Literal["good", "off", "bad"]
    by: Literal["gate", "report"]
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Counts:
    """Counts by episode of a run and of its baselines, and the cluster of each episode."""

    run: PackedCounts
    baselines: Mapping[str, PackedCounts]
    clusters: Mapping[str, str]


def decide_run_verdict(folder: Path, metrics: Mapping[str, Any], of: Sequence[Metric]) -> Verdict:
    """Decide the verdict on a run folder.

    Args:
        folder: The run folder. A gate's verdict in it takes precedence. ``counts.json`` is read if
            ``metrics`` has no counts.
        metrics: Contents of ``metrics.json``, with ``counts`` and ``baseline_counts`` if they are
            in memory.
        of: All metrics.

    Returns:
        The verdict with its reasons.
    """
    if (folder / VERDICT).is_file():
        return _gate_verdict(read_json(folder / VERDICT))
    scored, failed = metrics["episodes"]["scored"], metrics["episodes"]["failed"]
    if not scored:
        return Verdict("Nothing scored", "bad", "report", ("No episode could be scored.",))
    lost, compared = decide_verdict_against_baselines(folder, metrics, of)
    if failed:
        return Verdict("Incomplete", "bad", "report", (f"{failed} of {failed + scored} episodes failed.", *lost))
    videos = max((entry["n_videos"] for entry in metrics["metrics"].values()), default=0)
    if videos < MIN_VIDEOS:
        word = f"Only {format_count(videos, 'video')}: too few to conclude anything"
        return Verdict(word, "off", "report", (f"At least {MIN_VIDEOS} videos are needed.", *lost))
    if lost:
        return Verdict("Not above all baselines", "off", "report", tuple(lost))
    if not compared:
        return Verdict(
            "Not compared with baselines", "off", "report",
            ("No headline metric is defined for both the run and a baseline.",),
        )  # fmt: skip
    about = f"Better than every trivial baseline in {', '.join(compared)} (95 % intervals of paired differences)."
    return Verdict("Above all baselines", "good", "report", (about,))


def decide_verdict_against_baselines(
    folder: Path, metrics: Mapping[str, Any], of: Sequence[Metric]
) -> tuple[list[str], list[str]]:
    """Compare a run with every trivial baseline in the headline metrics.

    Undefined metrics are left out. Metrics over matched pairs only (``turns="pairs"``) are left out
    because a baseline that matches one pair by chance can score best.

    Args:
        folder: The run folder.
        metrics: Contents of ``metrics.json``, with counts if they are in memory.
        of: All metrics.

    Returns:
        Reasons why the run is not above all baselines, one for each metric, and the names of the
        compared metrics.
    """
    stored = _stored_counts(folder, metrics)
    lost, compared = [], []
    for metric in of:
        entry = metrics["metrics"].get(metric.name, {})
        if not metric.headline or metric.turns == "pairs" or metric.better not in _TURNED or entry.get("value") is None:
            continue
        rivals = {}
        for name in metric_table_trivial_baselines(metrics):
            of_baseline = stored.baselines.get(name, {}).get(metric.name, {})
            above = is_above_baseline_for_verdict(metric, stored.run.get(metric.name, {}), of_baseline, stored.clusters)
            if above is not None:
                rivals[name] = above
        if rivals:
            compared.append(metric.name)
        if not all(rivals.values()):
            lost.append(_reason(metric, metrics["baselines"], [name for name, above in rivals.items() if not above]))
    return lost, compared


def is_above_baseline_for_verdict(
    metric: Metric, run: Mapping[str, Packed], baseline: Mapping[str, Packed], clusters: Mapping[str, str]
) -> bool | None:
    """Return whether a run is significantly better than a baseline in a metric.

    Args:
        metric: The metric of the counts.
        run: The run's counts by episode.
        baseline: The baseline's counts by episode.
        clusters: The cluster of each episode.

    Returns:
        None if either has no value over the episodes for which both have counts.
    """
    shared = [episode for episode in run if episode in baseline]
    if not shared:
        return None
    first, second = (pairing_cluster_counts(metric, side, shared, clusters) for side in (baseline, run))
    turn = _TURNED[metric.better]

    def value(counts: np.ndarray) -> np.ndarray:
        return turn(metric.value(counts))

    with np.errstate(divide="ignore", invalid="ignore"):
        difference = float(value(second.sum(0)) - value(first.sum(0)))
    if not np.isfinite(difference):
        return None
    ci = paired_bootstrap_interval(first, second, value)
    if ci is not None:
        return ci[0] > 0
    # no interval: all clusters are equal, or the value is undefined in many resamples
    p = sign_flip_p_value(first, second, value)
    return difference > 0 and p is not None and p <= 0.05


def _reason(metric: Metric, tables: Mapping[str, Any], rivals: Sequence[str]) -> str:
    """Return a message with the best baseline that the run is not above and the number of others."""
    turn = _TURNED[metric.better]
    values = {name: float(tables[name][metric.name]["value"]) for name in rivals}
    best = max(values, key=lambda name: float(turn(np.array(values[name]))))
    more = f" and {format_count(len(rivals) - 1, 'other baseline')}" if len(rivals) > 1 else ""
    return f"{metric.name}: not shown to be better than {best.replace('_', ' ')} ({values[best]:.3f}){more}."


def _gate_verdict(judged: Mapping[str, Any]) -> Verdict:
    missed = [check for check in judged["checks"] if check["verdict"] != "PASS"]
    reasons = tuple(_gate_reason(check) for check in missed)
    return Verdict(judged["verdict"], _GATE_KINDS[judged["verdict"]], "gate", reasons)


def _gate_reason(check: Mapping[str, Any]) -> str:
    """A check that did not pass, with both values and the margin where it has one."""
    now, before = (format_markdown_value(check.get(key)) for key in ("now", "baseline"))
    values = f"{now}, in the baseline {before}"
    if check.get("margin") is not None:
        values += f" (allowed loss: {format_markdown_value(check['margin'])})"
    reason = f"; {check['reason']}" if check["reason"] else ""
    return f"{check['name']} {check['verdict']}: {values}{reason}"


def _stored_counts(folder: Path, metrics: Mapping[str, Any]) -> _Counts:
    """Return the counts in the metrics, otherwise those in the run folder, otherwise empty ones."""
    if "counts" in metrics:
        return _Counts(metrics["counts"], metrics.get("baseline_counts", {}), metrics["clusters"])
    if not (folder / "counts.json").is_file():
        return _Counts({}, {}, {})
    stored = read_counts_schema(folder)
    return _Counts(stored["counts"], stored.get("baselines", {}), stored["clusters"])
