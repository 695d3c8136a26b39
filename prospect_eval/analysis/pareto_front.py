"""Pareto front of quality against cache bytes over runs of strategies and budgets.

    prospect-eval pareto runs/none runs/dst_refresh-512 runs/drop_middle-512 --quality dst_head_jga

Each run is a point: its quality and the mean peak of its cache. A point is on the front if no other
point has at least its quality with at most its bytes and is better in one of them. There are two
reference lines: ``none``, which keeps the whole context, and the recent window (``drop_middle``,
the prompt and the newest tokens), which a useful strategy must beat at the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prospect_core.util.errors import DataError, require_choice
from prospect_eval.analysis.pairing import ScoredRun, pair_runs
from prospect_eval.metrics import Metric

MEMORY = "cache_peak_bytes"
#: default quality: the state head depends on the content of the context, the tracked state does not
QUALITY = "dst_head_jga"
UNLIMITED, RECENT_WINDOW = "none", "drop_middle"


@dataclass(frozen=True)
class ParetoPoint:
    """One run.

    Attributes:
        run: Folder of the run.
        model: Name of the model.
        strategy: The context strategy.
        budget: Token budget; None without one.
        bytes: Mean peak of the cache.
        quality: Value of the quality metric.
        ci95: 95 % interval of the quality.
        share: ``bytes`` as a share of those of ``none``, if that is among the runs.
        on_front: Whether the point is on the front.
    """

    run: str
    model: str
    strategy: str
    budget: int | None
    bytes: float
    quality: float
    ci95: tuple[float, float] | None
    share: float | None
    on_front: bool


def pareto_front(
    folders: Sequence[Path], quality: str = QUALITY, metrics: Sequence[Metric] = (), intersect: bool = False
) -> dict[str, Any]:
    """Compute the points and reference lines of scored runs over the same episodes.

    Args:
        folders: Scored run folders.
        quality: A metric of which higher values are better.
        metrics: All metrics; needed with ``intersect``.
        intersect: Compare the common episodes if the runs have different ones.

    Returns:
        ``points``, those with the fewest bytes first, and ``lines``.

    Raises:
        UserError: Data, split, episodes or signatures of the runs differ.
        DataError: A run is not scored, or its quality or memory is undefined.
    """
    runs = [ScoredRun.open(folder) for folder in folders]
    require_choice("--quality", quality, runs[0].table["metrics"])
    pairings = [pair_runs(runs[0], run, intersect) for run in runs[1:]]
    episodes = sorted(runs[0].episodes.intersection(*(pairing.episodes for pairing in pairings)))
    whole_runs = not any(pairing.left_out for pairing in pairings)
    by_name = {metric.name: metric for metric in metrics}
    rows = []
    for folder, run in zip(folders, runs, strict=True):
        value, memory = (
            run.table["metrics"][name] if whole_runs else run.entry(by_name[name], episodes)
            for name in (quality, MEMORY)
        )
        if value["value"] is None or memory["value"] is None:
            reason = value["reason"] or memory["reason"]
            raise DataError(f"{folder}: {quality} or {MEMORY} is undefined ({reason})")
        rows.append((folder, run.config, float(memory["value"]), float(value["value"]), value["ci95"]))
    whole = max((memory for _, config, memory, _, _ in rows if config["knobs"]["strategy"] == UNLIMITED), default=None)
    points = [
        ParetoPoint(
            str(folder), config["model"], config["knobs"]["strategy"], config["knobs"]["budget"], memory, value,
            tuple(ci) if ci else None, memory / whole if whole else None,
            not any((m <= memory and v >= value) and (m < memory or v > value) for _, _, m, v, _ in rows),
        )
        for folder, config, memory, value, ci in rows
    ]  # fmt: skip
    points.sort(key=lambda point: (point.bytes, -point.quality))
    lines = {
        name: [[point.bytes, point.quality] for point in points if point.strategy == name]
        for name in (UNLIMITED, RECENT_WINDOW)
    }
    left_out = sorted({episode for pairing in pairings for episode in pairing.left_out})
    return {"schema": 1, "left_out": left_out, "quality": quality, "memory": MEMORY, "points": points, "lines": lines}
