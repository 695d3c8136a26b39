"""The files of a run folder, checked as they are read: folders are copied by hand, cut by full disks, edited, and old.

    python -c "from prospect_eval.runs.schemas import read_metrics_schema; help(read_metrics_schema)"

Each reader returns what the file holds, or says which field of which file is not as this program writes it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from typing_extensions import NotRequired, TypedDict

from prospect_core.util.errors import DataError
from prospect_core.util.json_io import read_json, read_typed_json

COUNTS_SCHEMA = 2
#: longer vectors of counts are histograms, written without their zeros
DENSE_COUNTS = 64


class Entry(TypedDict):
    """A metric's value with its interval; further keys are free."""

    value: float | None
    ci95: NotRequired[tuple[float, float] | None]
    signature: NotRequired[str]
    reason: NotRequired[str | None]
    family: NotRequired[str]
    headline: NotRequired[bool]
    better: NotRequired[str]
    definition: NotRequired[str]
    failure_mode: NotRequired[str]
    companion: NotRequired[str]


class Episodes(TypedDict):
    """How many episodes a table is about."""

    scored: int
    failed: int
    failed_ids: NotRequired[list[str]]


class Similarity(TypedDict):
    """The similarity model that a run folder was scored with: how to open it again, and its signature."""

    model: str
    signature: str


class MetricsFile(TypedDict):
    """The contents of ``metrics.json``."""

    schema: NotRequired[int]
    episodes: NotRequired[Episodes]
    predictions_digest: NotRequired[str]
    similarity: NotRequired[Similarity]
    metrics: dict[str, Entry]
    baselines: NotRequired[dict[str, dict[str, Entry]]]
    baseline_info: NotRequired[dict[str, dict[str, str]]]
    families: NotRequired[dict[str, str]]


class Sparse(TypedDict):
    """A long vector of counts that is mostly zeros: its size, the places of other numbers, and these numbers."""

    size: int
    at: list[int]
    n: list[float]


Packed = list[float] | Sparse
PackedCounts = dict[str, dict[str, Packed]]


class CountsFile(TypedDict):
    """The contents of ``counts.json``: the cluster of each episode, and counts by metric and episode; of each baseline those
    of the headline metrics."""

    schema: int
    clusters: dict[str, str]
    failed: list[str]
    counts: PackedCounts
    baselines: NotRequired[dict[str, PackedCounts]]


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
    #: of a run that went on elsewhere or later: further environments of its episodes
    resumed: NotRequired[list[dict[str, Any]]]


class Provenance(TypedDict):
    """The run that a baseline was made of."""

    config: ConfigPart


class BaselineFile(TypedDict):
    """A gate's baseline."""

    schema: Literal[2]
    provenance: Provenance
    rules: dict[str, Any]
    episodes: Episodes
    exact: dict[str, Any]
    metrics: dict[str, Entry]
    clusters: dict[str, str]
    counts: PackedCounts


def read_run_schema(folder: Path) -> dict[str, Any]:
    """A run folder's ``run.json``."""
    return dict(read_typed_json(folder / "run.json", RunFile))


def read_metrics_schema(folder: Path) -> dict[str, Any]:
    """A scored run folder's ``metrics.json``."""
    if not (folder / "metrics.json").is_file():
        raise DataError(f"{folder}: no metrics.json; `prospect-eval score {folder}` writes it, of a run folder")
    return dict(read_typed_json(folder / "metrics.json", MetricsFile))


def read_counts_schema(folder: Path) -> CountsFile:
    """The counts by metric and episode of a scored run folder; one that an older version scored is a `DataError`."""
    file = folder / "counts.json"
    if file.is_file() and read_json(file).get("schema") != COUNTS_SCHEMA:
        raise DataError(f"{folder}: scored by another version; `prospect-eval score {folder}` scores it again")
    return read_typed_json(file, CountsFile)


def pack_counts_schema(row: np.ndarray) -> Packed:
    """A vector of counts as JSON."""
    if len(row) > DENSE_COUNTS:
        at = np.flatnonzero(row).tolist()
        return {"size": len(row), "at": at, "n": [_number(row[k]) for k in at]}
    return [_number(x) for x in row]


def unpack_counts_schema(row: Packed) -> np.ndarray:
    """The vector of counts that `pack_counts_schema` wrote."""
    if isinstance(row, list):
        return np.array(row, dtype=float)
    out = np.zeros(row["size"])
    out[row["at"]] = row["n"]
    return out


def _number(x: float) -> float:
    return int(x) if x == int(x) else float(x)


def read_similarity_schema(folder: Path) -> str | None:
    """The similarity model that a run folder was scored with, as `tools.make_tools` takes it; None where it is not known,
    since the folder has not been scored or its ``metrics.json`` is damaged."""
    try:
        known = read_metrics_schema(folder).get("similarity")
    except DataError:
        return None
    return (known["model"] or None) if known else None
