"""What the charts of a report show of all episodes together, and the verdict that it opens with.

python -c "from prospect_eval.report.overview import chart_data; help(chart_data)"
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from prospect_core.errors import UserError
from prospect_core.jsonio import read_json
from prospect_core.records import EpisodeRecord
from prospect_core.terminal import counted
from prospect_eval.derived import read_metrics
from prospect_eval.front import QUALITY, front
from prospect_eval.gate import VERDICT
from prospect_eval.metrics import Scored, speaking
from prospect_eval.metrics.families import RETENTION
from prospect_eval.rules import MIN_VIDEOS
from prospect_eval.stored_metrics import headline_names
from prospect_eval.thresholds import open_loop

logger = logging.getLogger(__name__)

#: bins of a curve over stream time, at most
BINS = 120
#: thresholds of the open-loop curves
GRID = tuple(round(0.05 * k, 2) for k in range(1, 20))
#: metrics that the verdict holds against the baselines that see nothing
JUDGED = ("speaking_event_f1@2s", "matched_f1", "dst_jga", "transition_f1@2s")


def chart_data(
    folder: Path, metrics: dict[str, Any], records: Sequence[EpisodeRecord], scored: Sequence[Scored]
) -> dict[str, Any]:
    """Data of every chart that this run has something to show in; the others are null or empty. ``metrics`` has the
    entries by name."""
    thresholds = open_loop(records, GRID)
    return {
        "front": _front(folder),
        "thresholds": thresholds if any(thresholds["curves"].values()) else None,
        "delays": [round(seconds, 3) for item in scored for seconds in speaking.delays(item)],
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
    return [{"unit": unit, "metrics": found} for unit, found in out.items()]


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
    for quality in _qualities(read_metrics(folder)["metrics"]) if beside else ():
        runs = [folder.resolve()]
        for other in beside:
            try:
                front([folder.resolve(), other], quality)
            except (UserError, KeyError, ValueError) as error:
                logger.debug("%s is left out of the front", other, exc_info=error)
                continue
            runs.append(other)
        if len(runs) > 1:
            found = front(runs, quality)
            points = [asdict(p) | {"run": Path(p.run).name, "here": Path(p.run) == runs[0]} for p in found["points"]]
            return {**found, "points": points}
    return None


def _qualities(metrics: dict[str, Any]) -> list[str]:
    """Metrics to plot against memory, the preferred one first: `front.QUALITY`, then any headline metric."""
    headline = [name for name in headline_names(metrics) if metrics[name].get("better") == "higher"]
    return list(dict.fromkeys((QUALITY, *headline)))


def verdict(folder: Path, metrics: dict[str, Any]) -> dict[str, Any]:
    """``word``, ``kind`` (good, off or bad) and ``reasons``: the gate's, where the run has been gated, else whether it is
    whole and above every baseline that sees nothing."""
    gate = folder / VERDICT
    counts = metrics["episodes"]
    if gate.is_file():
        judged = read_json(gate)
        kinds = {"PASS": "good", "INCONCLUSIVE": "off", "FAIL": "bad"}
        told = [f"{c['name']}: {c['reason'] or c['verdict']}" for c in judged["checks"] if c["verdict"] != "PASS"]
        return {"word": judged["verdict"], "kind": kinds[judged["verdict"]], "by": "the gate", "reasons": told}
    if not counts["scored"]:
        return {"word": "NOTHING SCORED", "kind": "bad", "by": "the report", "reasons": ["no episode could be scored"]}
    reasons = (
        [f"{counts['failed']} of {counts['failed'] + counts['scored']} episodes failed"] if counts["failed"] else []
    )
    blind = {name: table for name, table in metrics["baselines"].items() if name != "oracle"}
    for name in JUDGED:
        entry = metrics["metrics"].get(name)
        if entry is None or entry["value"] is None:
            reasons.append(f"{name} is undefined")
            continue
        rivals = {rival: table[name]["value"] for rival, table in blind.items() if table[name]["value"] is not None}
        best = max(rivals, key=rivals.__getitem__, default=None)
        low = (entry["ci95"] or (entry["value"],))[0]
        if best is not None and low <= rivals[best]:
            reasons.append(f"{name} is not shown to be above {best.replace('_', ' ')} ({rivals[best]:.3f})")
    if counts["failed"]:
        return {"word": "INCOMPLETE", "kind": "bad", "by": "the report", "reasons": reasons}
    videos = max((entry["n_videos"] for entry in metrics["metrics"].values()), default=0)
    if videos < MIN_VIDEOS:
        reasons = [f"{counted(videos, 'video')}: at least {MIN_VIDEOS} are needed to tell", *reasons]
        return {"word": "TOO FEW VIDEOS", "kind": "off", "by": "the report", "reasons": reasons}
    if reasons:
        return {"word": "NOT ABOVE THE BASELINES", "kind": "off", "by": "the report", "reasons": reasons}
    reasons = [f"{', '.join(JUDGED)}: each with its whole interval above every baseline but the oracle"]
    return {"word": "ABOVE THE BASELINES", "kind": "good", "by": "the report", "reasons": reasons}
