"""What the charts of a report show of all episodes together.

python -c "from prospect_eval.report.overview import overview_chart_data; help(overview_chart_data)"
"""

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

#: bins of a curve over stream time, at most
BINS = 120
#: thresholds of the open-loop curves
GRID = tuple(round(0.05 * k, 2) for k in range(1, 20))


def overview_chart_data(
    folder: Path, metrics: dict[str, Any], records: Sequence[EpisodeRecord], scored: Sequence[Scored], knobs: Knobs
) -> dict[str, Any]:
    """Data of every chart that this run has something to show in; the others are null or empty. ``metrics`` has the
    entries by name, ``knobs`` are the run's."""
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
    """The metrics of the family Retention, one group of bars for each unit: seconds, and compressions."""
    out: dict[str, dict[str, list[list[Any]]]] = {}
    for name, entry in metrics.items():
        if entry.get("family") != RETENTION.name or entry["value"] is None:
            continue
        metric, _, group = name.partition("@")
        unit = "compressions" if "c" in group else "seconds"
        bars = out.setdefault(unit, {}).setdefault(metric, [])
        bars.append([group.rstrip("sc+") + "+" * group.endswith("+"), entry["value"], entry["ci95"]])
    # one bar a metric compares nothing, as where no context was compressed
    return [{"unit": unit, "metrics": found} for unit, found in out.items() if max(map(len, found.values())) > 1]


def _latency(folder: Path) -> list[tuple[Sequence[float], float]]:
    """(milliseconds a frame, frames a second) of each episode of the plain pass."""
    file = folder / "timings.json"
    rows = read_json(file).get("plain_pass", []) if file.is_file() else []
    return [([1000 * s for s in row["steps"]], len(row["steps"]) / row["video_seconds"]) for row in rows]


def _over_time(series: Sequence[tuple[Sequence[float], float]], quantiles: Sequence[float]) -> dict[str, Any] | None:
    """Quantiles over all episodes' frames of each stretch of stream time: ``seconds`` where it ends, a list each."""
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
            ["largest" if q == 1 else f"{q:.0%}", [float(np.quantile(values, q)) for _, values in filled]]
            for q in quantiles
        ],
    }


def _front(folder: Path) -> dict[str, Any] | None:
    """Quality and memory of this run and of the finished runs beside it over the same data; None without two of them.

    Runs beside it that cannot be set beside it are left out.
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
    """Metrics to plot against memory, the preferred one first: `pareto_front.QUALITY`, then any headline metric."""
    headline = [name for name in metric_table_headlines(metrics) if metrics[name].get("better") == "higher"]
    return list(dict.fromkeys((QUALITY, *headline)))
