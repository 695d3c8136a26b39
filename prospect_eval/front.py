"""The quality-memory front: which runs of strategies and budgets are worth their bytes.

    prospect-eval front runs/none runs/dst_refresh-512 runs/drop_middle-512 --quality dst_head_jga

Each run is a point, its quality against the mean peak of its cache. A point is on the front when no other has at least
its quality in at most its bytes, and one of them better. Two reference lines: ``none``, which forgets nothing, and the
recent window (``drop_middle``, the prompt and what is newest), which any cleverer strategy has to beat at its bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prospect_core.errors import DataError, UserError, choose
from prospect_eval.compare import require_comparable
from prospect_eval.derived import read_metrics, read_run

MEMORY = "cache_peak_bytes"
UNLIMITED, RECENT_WINDOW = "none", "drop_middle"


@dataclass(frozen=True)
class FrontPoint:
    """One run. ``share`` is its bytes as a share of those of ``none``, where that is among the runs."""

    run: str
    model: str
    strategy: str
    budget: int | None
    bytes: float
    quality: float
    ci95: tuple[float, float] | None
    share: float | None
    on_front: bool


def front(folders: Sequence[Path], quality: str = "dst_head_jga") -> dict[str, Any]:
    """Points (fewest bytes first) and reference lines of scored runs over the same data. Runs of other data, or measured
    otherwise, are refused; ``quality`` is any metric of which more is better."""
    tables, configs = [], []
    for folder in folders:
        for file in ("metrics.json", "run.json"):
            if not (folder / file).is_file():
                raise DataError(f"{folder}: no {file}; `prospect-eval score {folder}` writes it, of a run folder")
        tables.append(read_metrics(folder))
        configs.append(read_run(folder)["config"])
    choose("--quality", quality, tables[0]["metrics"])
    rows = []
    for folder, table, config in zip(folders, tables, configs, strict=True):
        require_comparable(tables[0], table)
        for key in ("data_digest", "split", "limit"):
            if config[key] != configs[0][key]:
                raise UserError(
                    f"{folder}: other data than {folders[0]} ({key}: {config[key]}, there {configs[0][key]})"
                )
        value, memory = table["metrics"][quality], table["metrics"][MEMORY]["value"]
        if value["value"] is None or memory is None:
            reason = value["reason"] or table["metrics"][MEMORY]["reason"]
            raise DataError(f"{folder}: {quality} or {MEMORY} is undefined there ({reason})")
        rows.append((folder, config, float(memory), float(value["value"]), value["ci95"]))
    whole = max((memory for _, config, memory, _, _ in rows if config["knobs"]["strategy"] == UNLIMITED), default=None)
    points = [
        FrontPoint(
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
    return {"schema": 1, "quality": quality, "memory": MEMORY, "points": points, "lines": lines}
