"""The files of a run folder, checked as they are read: folders are copied by hand, cut by full disks, edited, and old.

    python -c "from prospect_eval.derived import read_metrics; help(read_metrics)"

Each reader returns what the file holds, or says which field of which file is not as this program writes it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from typing_extensions import NotRequired, TypedDict

from prospect_core.errors import DataError
from prospect_core.jsonio import read_shaped


class Entry(TypedDict):
    """A metric's value with its interval; further keys are free."""

    value: float | None
    ci95: NotRequired[tuple[float, float] | None]
    signature: NotRequired[str]
    reason: NotRequired[str | None]


class Episodes(TypedDict):
    """How many episodes a table is about."""

    scored: int
    failed: int


class MetricsFile(TypedDict):
    """The contents of ``metrics.json``."""

    schema: NotRequired[int]
    episodes: NotRequired[Episodes]
    predictions_digest: NotRequired[str]
    metrics: dict[str, Entry]
    baselines: NotRequired[dict[str, dict[str, Entry]]]


class CountsFile(TypedDict):
    """The contents of ``counts.json``: counts by metric and video."""

    counts: dict[str, dict[str, list[float]]]


class KnobsPart(TypedDict):
    """What every run has been replayed with."""

    strategy: str
    budget: int | None
    cache_dtype: NotRequired[str]
    dtype: NotRequired[str]


class ConfigPart(TypedDict):
    """What makes a run the run that it is."""

    model: str
    model_digest: NotRequired[str]
    data: NotRequired[str]
    data_digest: str
    split: str
    limit: int | None
    knobs: KnobsPart


class RunFile(TypedDict):
    """The contents of ``run.json``."""

    config: ConfigPart
    environment: NotRequired[dict[str, Any]]


class Provenance(TypedDict):
    """The run that a baseline was made of."""

    config: ConfigPart


class BaselineFile(TypedDict):
    """A gate's baseline."""

    schema: Literal[1]
    provenance: Provenance
    rules: dict[str, Any]
    episodes: Episodes
    exact: dict[str, Any]
    metrics: dict[str, Entry]
    counts: dict[str, dict[str, list[float]]]


def read_run(folder: Path) -> dict[str, Any]:
    """A run folder's ``run.json``."""
    return dict(read_shaped(folder / "run.json", RunFile))


def read_metrics(folder: Path) -> dict[str, Any]:
    """A scored run folder's ``metrics.json``."""
    if not (folder / "metrics.json").is_file():
        raise DataError(f"{folder}: no metrics.json; `prospect-eval score {folder}` writes it, of a run folder")
    return dict(read_shaped(folder / "metrics.json", MetricsFile))


def read_counts(folder: Path) -> dict[str, dict[str, list[float]]]:
    """The counts by metric and video of a scored run folder."""
    return read_shaped(folder / "counts.json", CountsFile)["counts"]
