"""List the run folders below a folder, with their configurations and scores.

prospect-eval ls runs
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prospect_core.util.errors import DataError
from prospect_eval.runs.metric_tables import metric_table_leading_names


@dataclass(frozen=True)
class Run:
    """A run folder.

    Attributes:
        folder: Path of the folder.
        model: Name of the model.
        data: Folder or suite of the data.
        split: The split.
        strategy: The context strategy.
        budget: Token budget of the context; None without one.
        commit: Git commit of the code; None if unknown.
        finished: Unix time at which DONE.json was written; None if the run is not finished.
        scored: Number of scored episodes.
        failed: Number of failed episodes.
        metrics: Entries of ``metrics.json``; empty if the run is not scored.
    """

    folder: str
    model: str
    data: str
    split: str
    strategy: str
    budget: int | None
    commit: str | None
    finished: float | None
    scored: int
    failed: int
    metrics: dict[str, dict[str, Any]]

    @property
    def status(self) -> str:
        """``done``, ``failed`` (an episode), ``unscored`` (no readable scores) or ``unfinished``."""
        if self.finished is None:
            return "unfinished"
        return "unscored" if not self.metrics else "failed" if self.failed else "done"


def catalog_runs(root: str | Path) -> list[Run]:
    """Return all run folders in or below a folder.

    Args:
        root: The folder.

    Returns:
        The runs, newest first and unfinished ones last. Folders that cannot be read are left out.

    Raises:
        DataError: The folder does not exist.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise DataError(f"{root}: no such folder; give a folder with run folders")
    found = [run for file in sorted(folder.rglob("run.json")) if (run := _read(file.parent)) is not None]
    return sorted(found, key=lambda run: (run.finished is None, -(run.finished or 0.0), run.folder))


def choose_catalog_metrics(runs: Sequence[Run]) -> list[str]:
    """Return the first headline metric of each family that has a value in any of the runs."""
    names: dict[str, None] = {}
    for run in runs:
        names |= dict.fromkeys(
            name for name in metric_table_leading_names(run.metrics) if run.metrics[name].get("value") is not None
        )
    return list(names)


def _read(folder: Path) -> Run | None:
    told, table = _json(folder / "run.json"), _json(folder / "metrics.json")
    config = told.get("config")
    if not isinstance(config, dict) or not isinstance(config.get("knobs"), dict):
        return None
    if not {"model", "data", "split"} <= config.keys() or not {"strategy", "budget"} <= config["knobs"].keys():
        return None
    done = folder / "DONE.json"
    episodes = table.get("episodes", {})
    return Run(
        str(folder),
        config["model"],
        config["data"],
        config["split"],
        config["knobs"]["strategy"],
        config["knobs"]["budget"],
        told.get("environment", {}).get("git"),
        done.stat().st_mtime if done.is_file() else None,
        episodes.get("scored", 0),
        episodes.get("failed", 0),
        table.get("metrics", {}),
    )


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
