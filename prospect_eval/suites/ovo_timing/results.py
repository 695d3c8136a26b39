"""Predictions of OVO-Timing in the forms in which they are published.

- ``.tsv`` or ``.csv``: a table with the columns ``sample_id`` (or ``id``, ``index``) and ``prediction``, and perhaps ``task``
  and ``gt_timestamp``, as VideoChat3's harness writes it.
- ``.jsonl``, or a JSON list: one object for each sample, with the same keys.
- a JSON object for one sample, with an id and its detections; a folder holds one file for each sample.
- a JSON object by sample id, alone or under ``detections``: the times of each sample, or its prediction.

A prediction is a JSON object, or such an object as text, with ``checked_detections``, ``detections`` or
``response_events``.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from prospect_core.util.errors import DataError
from prospect_core.util.json_io import parse_json, read_json, read_limited_json_bytes
from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.ovo_timing.annotations import TASKS, TimingAnnotations
from prospect_eval.suites.published_files import list_names, list_result_files, read_number

#: how a prediction was read: as times, as the silence of a null, or not at all
PredictionState = Literal["read", "null", "silent text", "unreadable"]
_IDS = ("sample_id", "id", "index")
_LISTS = ("checked_detections", "detections", "response_events")
_SUFFIXES = (".json", ".jsonl", ".tsv", ".csv")
#: characters of one cell of a table
_MOST_CELL = 1 << 24


@dataclass(frozen=True)
class TimingRow:
    """The detections of one sample.

    Attributes:
        id: The sample's number as text.
        task: The task by which the row is averaged.
        gt_timestamp: Times that the row is scored against, in seconds, in the order in which they are matched.
        detections: Times of the responses in seconds, in their order.
        state: How the prediction was read. Anything but ``read`` is silence.
    """

    id: str
    task: str
    gt_timestamp: tuple[float, ...]
    detections: tuple[float, ...]
    state: PredictionState = "read"


@dataclass(frozen=True)
class TimingResults:
    """Rows of one set of predictions.

    Attributes:
        rows: In the order of the files.
        counts: Rows read by task, and rows left out by reason.
        notes: Changes of the reader, one line each.
    """

    rows: tuple[TimingRow, ...]
    counts: ReadCounts = field(default_factory=lambda: ReadCounts({}))
    notes: tuple[str, ...] = ()


def read_prediction(value: object) -> tuple[tuple[float, ...], PredictionState]:
    """Times of a prediction, and how it was read.

    As in the published scorer, text that does not begin with ``{`` after blanks, or is broken JSON, is silence; the
    first of ``checked_detections``, ``detections`` and ``response_events`` that is not empty counts. An event without a time, or a time that is no number, stops the published scorer; here the
    prediction is unreadable, which is silence.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return (), "null"
    if isinstance(value, str):
        if not value.lstrip().startswith("{"):
            return (), "silent text" if value.strip() else "null"
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return (), "silent text"
    if not isinstance(value, Mapping):
        return (), "unreadable"
    try:
        return tuple(_read_times(value)), "read"
    except (TypeError, ValueError, KeyError, OverflowError):
        return (), "unreadable"


def _read_times(prediction: Mapping[str, Any]) -> list[float]:
    if prediction.get("checked_detections"):
        return [float(event["time"]) for event in prediction["checked_detections"]]
    if prediction.get("detections"):
        return [float(time) for time in prediction["detections"]]
    return [float(event["time"]) for event in prediction.get("response_events") or ()]


def read_timing_results(
    paths: Sequence[Path], annotations: TimingAnnotations, model: str | None = None
) -> TimingResults:
    """Read the predictions of one model.

    Args:
        paths: Files, the folder of a model, or a folder of models' folders.
        annotations: The samples.
        model: Name of the model's folder in a folder of models.

    Raises:
        DataError: A file of another kind, or no row at all.
    """
    reader = _TimingReader(annotations)
    files = list_result_files(paths, _SUFFIXES, model)
    for file in files:
        for row in _list_rows(file):
            reader.read_row(row)
    if not reader.rows:
        reasons = "; ".join(sorted(set(reader.refused))) or "no row"
        raise DataError(f"{list_names(files)}: no prediction of OVO-Timing can be read ({reasons})")
    return TimingResults(
        rows=tuple(reader.rows),
        counts=ReadCounts.of((row.task for row in reader.rows), reader.refused),
        notes=tuple(f"{text}: {number}" for text, number in reader.changes.items()),
    )


@dataclass
class _TimingReader:
    annotations: TimingAnnotations
    rows: list[TimingRow] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    changes: Counter[str] = field(default_factory=Counter)

    def read_row(self, row: Mapping[str, Any]) -> None:
        """Add one row; its task and gold times are its own, else those of the sample of its id."""
        name = next((str(row[key]) for key in _IDS if row.get(key) not in (None, "")), "")
        sample = self.annotations.by_id.get(name)
        task = row.get("task") or (sample.task if sample else None)
        if not isinstance(task, str):
            self.refused.append("the row names no task, and its id is none of a sample")
            return
        if task not in TASKS:
            self.refused.append(f"the task {task} is none of {', '.join(TASKS)}, as in the published scorer")
            return
        gold = _read_gold(row.get("gt_timestamp"))
        if gold is None and sample is not None:
            gold = sample.gt_timestamp
        if gold is None:
            self.refused.append("the row has no gt_timestamp, and its id is none of a sample")
            return
        detections, state = read_prediction(row["prediction"] if "prediction" in row else _own_prediction(row))
        self.rows.append(
            TimingRow(
                id=name or f"row {len(self.rows)}", task=task, gt_timestamp=gold, detections=detections, state=state
            )
        )


def _own_prediction(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The prediction of a row that holds its lists itself."""
    lists = {key: row[key] for key in _LISTS if key in row}
    return lists or None


def _read_gold(value: object) -> tuple[float, ...] | None:
    """Gold times of a row: a list, or a list as text; None where there are none to read."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    times = [read_number(time) for time in (value if isinstance(value, list) else [value])]
    known = [time for time in times if time is not None]
    return tuple(known) if len(known) == len(times) else None


def _list_rows(file: Path) -> Iterator[Mapping[str, Any]]:
    if file.suffix in (".tsv", ".csv"):
        return iter(_list_table_rows(file))
    if file.suffix == ".jsonl":
        return _list_lines(file)
    return _list_json_rows(file, read_json(file))


def _list_table_rows(file: Path) -> list[dict[str, Any]]:
    try:
        text = read_limited_json_bytes(file).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 text") from error
    table = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t" if file.suffix == ".tsv" else ",")
    limit = csv.field_size_limit(_MOST_CELL)
    try:
        rows = list(table)
    except csv.Error as error:
        raise DataError(f"{file}: not a table that can be read ({error})") from error
    finally:
        csv.field_size_limit(limit)
    if "prediction" not in (table.fieldnames or ()):
        raise DataError(f"{file}: not a table of predictions (the column prediction is missing)")
    return rows


def _list_lines(file: Path) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(read_limited_json_bytes(file).splitlines(), 1):
        if line.strip():
            yield from _only_rows(f"{file}:{number}", [parse_json(line, f"{file}:{number}")])


def _list_json_rows(file: Path, value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list):
        return _only_rows(str(file), value)
    if isinstance(value, dict) and any(key in value for key in _IDS):
        return iter([value])
    if isinstance(value, dict):
        by_id = value["detections"] if isinstance(value.get("detections"), dict) else value
        rows = [_make_row(name, prediction) for name, prediction in by_id.items()]
        known = [row for row in rows if row is not None]
        if known:
            return iter(known)
    raise DataError(f"{file}: not predictions of OVO-Timing (rows, or an object by sample id, are expected)")


def _make_row(name: str, prediction: Any) -> dict[str, Any] | None:
    """A row of an object by sample id; None for anything that is no prediction, such as a description."""
    if isinstance(prediction, list):
        return {"sample_id": name, "prediction": {"detections": prediction}}
    if prediction is None or isinstance(prediction, dict) or name.isdigit():
        return {"sample_id": name, "prediction": prediction}
    return None


def _only_rows(place: str, entries: Iterable[Any]) -> Iterator[Mapping[str, Any]]:
    for entry in entries:
        if not isinstance(entry, dict):
            raise DataError(f"{place}: not a row of OVO-Timing (a JSON object is expected)")
        yield entry
