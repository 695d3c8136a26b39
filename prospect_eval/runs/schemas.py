"""Read and validate the files of a run folder, which may be copied, truncated, edited or old.

Each reader returns the contents of a file. Otherwise it raises an error that names the file and the
invalid field.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from typing_extensions import NotRequired, TypedDict

from prospect_core.util.errors import DataError
from prospect_core.util.json_io import read_json, read_typed_json

COUNTS_SCHEMA = 2
#: longer vectors of counts are histograms, stored without zeros
DENSE_COUNTS = 64


class Entry(TypedDict):
    """A metric's value with its interval. Further keys are allowed."""

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
    """Number of scored and failed episodes of a table."""

    scored: int
    failed: int
    failed_ids: NotRequired[list[str]]


class Similarity(TypedDict):
    """Similarity model with which a run folder was scored: how to open it, and its signature."""

    model: str
    signature: str


class MetricsFile(TypedDict):
    """Contents of ``metrics.json``."""

    schema: NotRequired[int]
    episodes: NotRequired[Episodes]
    predictions_digest: NotRequired[str]
    similarity: NotRequired[Similarity]
    metrics: dict[str, Entry]
    baselines: NotRequired[dict[str, dict[str, Entry]]]
    baseline_info: NotRequired[dict[str, dict[str, str]]]
    families: NotRequired[dict[str, str]]


class Sparse(TypedDict):
    """A long vector of counts that is mostly zero.

    Attributes:
        size: Length of the vector.
        at: Indices of the other values.
        n: The other values.
    """

    size: int
    at: list[int]
    n: list[float]


Packed = list[float] | Sparse
PackedCounts = dict[str, dict[str, Packed]]


class CountsFile(TypedDict):
    """Contents of ``counts.json``.

    Attributes:
        schema: Version of the format.
        clusters: Cluster of each episode.
        failed: Ids of the failed episodes.
        counts: Counts by metric and episode.
        baselines: Counts of the headline metrics of each baseline.
    """

    schema: int
    clusters: dict[str, str]
    failed: list[str]
    counts: PackedCounts
    baselines: NotRequired[dict[str, PackedCounts]]


class KnobsPart(TypedDict):
    """Settings of a replay that every run has."""

    strategy: str
    budget: int | None
    cache_dtype: NotRequired[str]
    dtype: NotRequired[str]


class ConfigPart(TypedDict):
    """Configuration that identifies a run."""

    model: str
    model_digest: NotRequired[str]
    data: NotRequired[str]
    data_digest: str
    split: str
    limit: int | None
    knobs: KnobsPart


class RunFile(TypedDict):
    """Contents of ``run.json``."""

    config: ConfigPart
    environment: NotRequired[dict[str, Any]]
    #: further environments of a resumed run
    resumed: NotRequired[list[dict[str, Any]]]


class Provenance(TypedDict):
    """The run from which a baseline was made."""

    config: ConfigPart


class BaselineFile(TypedDict):
    """Contents of a gate's baseline file."""

    schema: Literal[2]
    provenance: Provenance
    rules: dict[str, Any]
    episodes: Episodes
    exact: dict[str, Any]
    metrics: dict[str, Entry]
    clusters: dict[str, str]
    counts: PackedCounts


def read_run_schema(folder: Path) -> dict[str, Any]:
    """Read the ``run.json`` of a run folder.

    Raises:
        DataError: The file is missing or damaged.
    """
    return dict(read_typed_json(folder / "run.json", RunFile))


def read_metrics_schema(folder: Path) -> dict[str, Any]:
    """Read the ``metrics.json`` of a scored run folder.

    Raises:
        DataError: The file is missing or damaged.
    """
    if not (folder / "metrics.json").is_file():
        raise DataError(
            f"{folder}: not scored (no metrics.json); repeat its `prospect-eval run` command, or run `prospect-eval score {folder}`"
        )
    return dict(read_typed_json(folder / "metrics.json", MetricsFile))


def read_counts_schema(folder: Path) -> CountsFile:
    """Read the counts by metric and episode of a scored run folder.

    Raises:
        DataError: The file is missing or damaged, or another version wrote it.
    """
    file = folder / "counts.json"
    if file.is_file() and read_json(file).get("schema") != COUNTS_SCHEMA:
        raise DataError(f"{folder}: scored by another version; run `prospect-eval score {folder}`")
    return read_typed_json(file, CountsFile)


def pack_counts_schema(row: np.ndarray) -> Packed:
    """Return a vector of counts as plain values for JSON."""
    if len(row) > DENSE_COUNTS:
        at = np.flatnonzero(row).tolist()
        return {"size": len(row), "at": at, "n": [_number(row[k]) for k in at]}
    return [_number(x) for x in row]


def unpack_counts_schema(row: Packed) -> np.ndarray:
    """Return the vector of counts from the plain values of `pack_counts_schema`."""
    if isinstance(row, list):
        return np.array(row, dtype=float)
    out = np.zeros(row["size"])
    out[row["at"]] = row["n"]
    return out


def _number(x: float) -> float:
    return int(x) if x == int(x) else float(x)


def read_similarity_schema(folder: Path) -> str | None:
    """Return the similarity model of a run folder for `resources.make_scoring_resources`.

    Returns:
        The model; None if it is unknown because the folder is not scored or ``metrics.json`` is
        damaged.
    """
    try:
        known = read_metrics_schema(folder).get("similarity")
    except DataError:
        return None
    return (known["model"] or None) if known else None
