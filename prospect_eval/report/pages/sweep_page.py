"""Page of a sweep: quality against memory of all its runs, with links to their reports.

prospect-eval sweep --ckpt workbench-tiny --suite workbench
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from prospect_eval.report.page import write_page

SCRIPTS = ("dom.js", "charts.js", "sweep.js")


def write_sweep_page(root: Path, result: dict[str, Any]) -> Path:
    """Write ``report.html`` next to ``sweep.json``.

    Args:
        root: Folder of the sweep.
        result: Contents of ``sweep.json``.

    Returns:
        The file.
    """
    runs = [run | {"link": quote(f"{run['folder']}/report.html")} for run in result["runs"]]
    data = {"runs": runs, "pareto_front": result["pareto_front"], "curves": result["curves"]}
    name = root.name.removeprefix("sweep").strip("-_ ")
    title = f"Sweep of {name}" if name else "Sweep"
    return write_page(root / "report.html", "sweep.html.j2", SCRIPTS, data, title=title, split=result["split"])
