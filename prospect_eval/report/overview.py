"""Data of a report's charts over all episodes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from prospect_core.records import EpisodeRecord, Knobs
from prospect_core.util.errors import UserError
from prospect_core.util.json_io import read_json
from prospect_eval.analysis.pareto_front import QUALITY, pareto_front
from prospect_eval.analysis.thresholds import open_loop_thresholds
from prospect_eval.metrics import Scored, speaking
from prospect_eval.metrics.families import RETENTION
from prospect_eval.runs.metric_tables import metric_table_headlines
from prospect_eval.runs.schemas import read_metrics_schema

logger = logging.getLogger(__name__)

#: maximum number of bins of a curve over stream time
BINS = 120
#: thresholds of the open-loop curves
GRID = tuple(round(0.05 * k, 2) for k in range(1, 20))


def overview_chart_data(
    folder: Path, metrics: dict[str, Any], records: Sequence[EpisodeRecord], scored: Sequence[Scored], knobs: Knobs
) -> dict[str, Any]:
    """Return the data of every chart. A chart without data is null or empty.

    Args:
        folder: The run folder.
        metrics: Entries of ``metrics.json`` by name.
        records: The records of the run.
        scored: The records that could be scored.
        knobs: Settings of the run.
    """
    thresholds = open_loop_thresholds(records, GRID, knobs)
    return {
        "pareto_front": _front(folder),
        "thresholds": thresholds if any(thresholds["curves"].values()) else None,
        "delays": [round(seconds, 3) for item in scored for seconds in speaking.speaking_delays(item)],
        "retention": _retention(metrics),
        "cache": _over_time([(r.cache_tokens, r.episode.fps) for r in records if r.cache_tokens], (0.5, 0.9, 1.0)),
        "latency": _over_time(_latency(folder), (0.5, 0.95)),
    }  # fmt: skip


def _retention(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the metrics of the family Retention, grouped by seconds and by compressions."""
    out: dict[str, dict[str, list[list[Any]]]] = {}
    for name, entry in metrics.items():
        if entry.get("family") != RETENTION.name or entry["value"] is None:
            continue
        metric, _, group = name.partition("@")
        unit = "compressions" if "c" in group else "seconds"
        bars = out.setdefault(unit, {}).setdefault(metric, [])
        bars.append([group.rstrip("sc+") + "+" * group.endswith("+"), entry["value"], entry["ci95"]])
    # a chart with one bar per metric compares nothing; without compressions there is only one
    return [{"unit": unit, "metrics": found} for unit, found in out.items() if max(map(len, found.values())) > 1]


def _latency(folder: Path) -> list[tuple[Sequence[float], float]]:
    """Return (milliseconds per frame, frames per second) of each episode of the plain pass."""
    file = folder / "timings.json"
    rows = read_json(file).get("plain_pass", []) if file.is_file() else []
    return [([1000 * s for s in row["steps"]], len(row["steps"]) / row["video_seconds"]) for row in rows]


def _over_time(series: Sequence[tuple[Sequence[float], float]], quantiles: Sequence[float]) -> dict[str, Any] | None:
    """Return quantiles over the frames of all episodes by stream time.

    Returns:
        ``seconds``, the end of each interval, and ``quantiles`` with a list of values each; None
        without data.
    """
    if not series:
        return None
    longest = max(len(values) / fps for values, fps in series)
    width = max(1.0, longest / BINS)
    bins: list[list[np.ndarray]] = [[] for _ in range(int(np.ceil(longest / width)))]
    for values, fps in series:
        array = np.asarray(values, dtype=float)
        places = (np.arange(len(array)) / fps / width).astype(int)
        for k in np.unique(places):
            bins[min(k, len(bins) - 1)].append(array[places == k])
    filled = [(k, np.concatenate(parts)) for k, parts in enumerate(bins) if parts]
    return {
        "seconds": [round((k + 1) * width, 1) for k, _ in filled],
        "quantiles": [
            ["maximum" if q == 1 else f"{q:.0%}", [float(np.quantile(values, q)) for _, values in filled]]
            for q in quantiles
        ],
    }


def _front(folder: Path) -> dict[str, Any] | None:
    """Return quality and memory of this run and of the finished runs in sibling folders.

    Runs that cannot be compared with this one are left out.

    Returns:
        The Pareto front; None with fewer than two runs.
    """
    beside = [f.parent for f in sorted(folder.resolve().parent.glob("*/DONE.json")) if f.parent != folder.resolve()]
    for quality in _qualities(read_metrics_schema(folder)["metrics"]) if beside else ():
        runs = [folder.resolve()]
        for other in beside:
            try:
                pareto_front([folder.resolve(), other], quality)
            except (UserError, KeyError, ValueError) as error:
                logger.debug("%s is left out of the front", other, exc_info=error)
                continue
            runs.append(other)
        if len(runs) > 1:
            found = pareto_front(runs, quality)
            points = [asdict(p) | {"run": Path(p.run).name, "here": Path(p.run) == runs[0]} for p in found["points"]]
            return {**found, "points": points}
    return None


def _qualities(metrics: dict[str, Any]) -> list[str]:
    """Return the metrics to plot against memory: `pareto_front.QUALITY`, then the headline metrics."""
    headline = [name for name in metric_table_headlines(metrics) if metrics[name].get("better") == "higher"]
    return list(dict.fromkeys((QUALITY, *headline)))
