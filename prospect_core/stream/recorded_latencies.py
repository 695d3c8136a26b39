"""Measured step times of a run with the clock ``live``, which the clock ``simulated`` repeats."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from prospect_core.records import StepTime
from prospect_core.util.errors import DataError
from prospect_core.util.json_io import digest_json, dump_json, load_json, read_json

#: file of a run folder with the times of its episodes
TIMINGS = "timings.json"


@lru_cache(maxsize=4)
def read_recorded_latencies(folder: str) -> tuple[dict[str, tuple[StepTime, ...]], str]:
    """Read the step times of a run folder.

    Args:
        folder: The run folder.

    Returns:
        The steps by episode id, and their SHA-256. Both are empty if the run has measured none.

    Raises:
        DataError: If the folder has no readable times.
    """
    file = Path(folder) / TIMINGS
    if not file.is_file():
        raise DataError(f"{folder}: not a run folder (no {TIMINGS})")
    rows: dict[str, Any] = read_json(file).get("episodes", {})
    steps = {
        episode: load_json(tuple[StepTime, ...], dump_json(row["steps"]), f"{file}: {episode}")
        for episode, row in rows.items()
        if row.get("steps")
    }
    if not steps:
        return {}, ""
    plain = {episode: [[one.frame, one.begin_ns, one.end_ns] for one in steps[episode]] for episode in sorted(steps)}
    return steps, digest_json(plain)
