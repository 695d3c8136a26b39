"""Reads OmniPro's online result files: one sample a line, with its ``predictions`` (t_sec, raw) and ``ground_truth``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prospect_core.util.errors import DataError
from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.omnipro.official import Emission, OmniProSample, ParsedEmission, Trigger
from prospect_eval.suites.published_files import list_result_files
from prospect_eval.suites.result_rows import ResultRow, describe_keys, read_result_rows, read_seconds

#: files that the published command writes next to the predictions
_WRITTEN_BY_COMMAND = ".scored.jsonl"


@dataclass(frozen=True)
class OmniProResults:
    """The samples of result files, with what was read and what was left out."""

    samples: tuple[OmniProSample, ...]
    counts: ReadCounts


def read_omnipro_results(paths: Sequence[Path], model: str | None = None) -> OmniProResults:
    """The samples of one model.

    Args:
        paths: Files of samples, or folders of them. In a folder, files that the published command wrote are left out.
        model: The folder of the model in a folder of models.

    Raises:
        DataError: A file of another kind.
    """
    given = set(paths)
    rows: list[ResultRow] = []
    for file in list_result_files(paths, (".jsonl", ".json"), model):
        if file not in given and (file.name.endswith(_WRITTEN_BY_COMMAND) or file.name == "metrics.json"):
            continue
        some = read_result_rows(file)
        if not any(isinstance(row.value, dict) and {"task", "predictions"} & row.value.keys() for row in some):
            found = describe_keys(some[0].value) if some else "empty"
            raise DataError(
                f"{file}: no OmniPro samples, which have 'task' and 'predictions'; the first row is {found}"
            )
        rows += some
    return make_omnipro_results(rows)


def make_omnipro_results(rows: Iterable[ResultRow]) -> OmniProResults:
    """The samples of rows in the published form; rows of another form are left out and counted.

    The published scorer counts every row, so rows without an id or with one that repeats get a number in their id.
    """
    samples: list[OmniProSample] = []
    given: Counter[str] = Counter()
    read: list[str] = []
    refused: list[str] = []
    for row in rows:
        value = row.value
        if not isinstance(value, dict) or not isinstance(value.get("task"), str):
            refused.append("row without a task")
            continue
        name = str(value.get("id", ""))
        given[name] += 1
        sample = _read_sample(value, name if name and given[name] == 1 else f"{name}#{given[name]}")
        samples.append(sample)
        read.append("sample")
        read += ["emission"] * len(sample.emissions) + ["trigger"] * len(sample.triggers)
    return OmniProResults(tuple(samples), ReadCounts.of(read, refused))


def _read_sample(value: dict[str, Any], sample_id: str) -> OmniProSample:
    emissions = [_read_emission(entry) for entry in _list(value.get("predictions"))]
    triggers = [_read_trigger(entry) for entry in _list(value.get("ground_truth"))]
    return OmniProSample(
        id=sample_id,
        video=str(value.get("video_id") or sample_id),
        task=value["task"],
        question=str(value.get("question") or ""),
        emissions=tuple(emissions),
        triggers=tuple(triggers),
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _read_emission(entry: Any) -> Emission:
    if not isinstance(entry, dict):
        return Emission(time=None, text=None)
    raw = entry.get("raw", "")
    text = None if raw is None else str(raw)
    parsed = entry.get("parsed")
    return Emission(
        time=read_omnipro_time(entry.get("t_sec")),
        text=text,
        parsed=_read_parsed(parsed) if isinstance(parsed, dict) and parsed else None,
    )


def _read_parsed(value: dict[str, Any]) -> ParsedEmission:
    position, state = value.get("position"), value.get("state")
    return ParsedEmission(
        valid=bool(value.get("valid", False)),
        position=position if isinstance(position, str) else None,
        count=_whole_number(value.get("count")),
        state=state if isinstance(state, str) else None,
    )


def _read_trigger(entry: Any) -> Trigger:
    if not isinstance(entry, dict):
        return Trigger(time=None)
    time = entry["trigger_time_sec"] if "trigger_time_sec" in entry else (entry.get("trigger_time") or 0)
    return Trigger(
        time=read_omnipro_time(time),
        response=str(entry.get("response") or ""),
        position=str(entry.get("position") or ""),
        state=str(entry.get("state_to") or entry.get("state") or ""),
        count=_whole_number(entry.get("count")),
        has_count="count" in entry,
    )


def read_omnipro_time(value: Any) -> float | None:
    """Seconds of a number, or of ``SS``, ``MM:SS`` or ``HH:MM:SS`` as text; None for anything else."""
    if not isinstance(value, str):
        return read_seconds(value)
    seconds = 0.0
    parts = value.split(":")
    if len(parts) > 3:
        return None
    for part in parts:
        try:
            seconds = seconds * 60 + float(part)
        except ValueError:
            return None
    return read_seconds(seconds)


def _whole_number(value: Any) -> int | None:
    """A number without its decimals, or a text of a whole number; None for anything else."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None
