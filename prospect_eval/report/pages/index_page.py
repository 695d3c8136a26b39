"""Page over many runs: scores with links to the reports, and each metric's history by commit.

    prospect-eval ls runs --html runs/index.html

Runs of one model (by name) on the same data, split, strategy and budget are one history, oldest
first.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from prospect_core.util.atomic import write_atomic
from prospect_eval.report.page import format_page_interval, format_page_number, load_page_templates
from prospect_eval.runs.catalog import Run, choose_catalog_metrics

WIDTH, HEIGHT, MARGIN = 220, 60, 8


def write_index_page(path: Path, runs: Sequence[Run]) -> Path:
    """Write the page of an index of runs.

    Args:
        path: The file. Links to reports are relative to it.
        runs: The runs.

    Returns:
        The file.
    """
    names = choose_catalog_metrics(runs)
    rows = [
        {"run": run, "place": _relative(run.folder, path), "name": Path(run.model).name, "when": _when(run),
         "link": _link(run, path)}
        for run in runs
    ]  # fmt: skip
    html = (
        load_page_templates()
        .get_template("index.html.j2")
        .render(rows=rows, headline=names, histories=_histories(runs, names), width=WIDTH, height=HEIGHT)
    )
    write_atomic(path, html)
    return path


def _when(run: Run) -> str:
    return "" if run.finished is None else datetime.fromtimestamp(run.finished).strftime("%Y-%m-%d %H:%M")


def _link(run: Run, page: Path) -> str:
    report = Path(run.folder) / "report.html"
    return _relative(report, page) if report.is_file() else ""


def _relative(path: str | Path, page: Path) -> str:
    return Path(os.path.relpath(path, page.parent)).as_posix()


def _histories(runs: Sequence[Run], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return a title and a chart for each metric, for every group of at least two scored runs."""
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        if run.finished is not None and run.metrics:
            groups.setdefault((Path(run.model).name, run.data, run.split, run.strategy, run.budget), []).append(run)
    out = []
    for (model, _, split, strategy, budget), some in groups.items():
        if len(some) > 1:
            some.sort(key=lambda run: run.finished or 0.0)
            context = strategy if budget is None else f"{strategy} {budget}"
            charts = [chart for name in names if (chart := _chart(name, some))]
            out.append({"title": f"{model}, {split}, {context}", "charts": charts})
    return out


def _chart(name: str, runs: Sequence[Run]) -> dict[str, Any] | None:
    """Return equidistant points with intervals; None if fewer than two runs have a value."""
    known = [(run, run.metrics[name]) for run in runs if run.metrics.get(name, {}).get("value") is not None]
    if len(known) < 2:
        return None
    ends = [end for _, entry in known for end in (entry["value"], *(entry["ci95"] or ()))]
    low, high = min(ends), max(ends)
    span = (high - low) or 1.0

    def y(value: float) -> float:
        pixels: float = round(HEIGHT - MARGIN - (value - low) / span * (HEIGHT - 2 * MARGIN), 1)
        return pixels

    points = [
        {
            "x": round(MARGIN + k * (WIDTH - 2 * MARGIN) / (len(known) - 1), 1),
            "y": y(entry["value"]),
            "bar": [y(end) for end in entry["ci95"]] if entry["ci95"] else None,
            "told": f"{run.commit or 'no commit'}, {_when(run)}: {format_page_number(entry['value'])} {format_page_interval(entry['ci95'])}",
        }
        for k, (run, entry) in enumerate(known)
    ]
    first, last = known[0][1]["value"], known[-1][1]["value"]
    return {"name": name, "points": points, "low": low, "high": high, "first": first, "last": last}
