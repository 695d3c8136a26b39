"""OmniPro's samples: ``benchmark.json``, or result files, which repeat the samples with their ``ground_truth``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from prospect_core.util.errors import DataError
from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.omnipro.official import OmniProSample, Trigger
from prospect_eval.suites.published_files import list_result_files
from prospect_eval.suites.result_rows import ResultRow, describe_keys, read_result_rows, read_seconds

#: places of the annotations below the benchmark's folder
ANNOTATION_FILES = ("benchmark.json", "data/benchmark.json")
#: files that the published command writes next to the predictions
_WRITTEN_BY_COMMAND = (".scored.jsonl", "metrics.json")


@dataclass(frozen=True)
class OmniProAnnotations:
    """The samples, without emissions.

    Attributes:
        samples: One for each id; of rows with one id the first.
        repeated: Ids of rows that an earlier row has, one for each row.
        counts: Entries read and left out.
    """

    samples: tuple[OmniProSample, ...]
    repeated: tuple[str, ...] = ()
    counts: ReadCounts = field(default_factory=lambda: ReadCounts({}))

    @cached_property
    def by_id(self) -> dict[str, OmniProSample]:
        """Samples by their id."""
        return {sample.id: sample for sample in self.samples}


def read_omnipro_annotations(path: Path) -> OmniProAnnotations:
    """The samples of the annotation file, or of result files that hold their ground truth.

    Args:
        path: A file, a folder with ``benchmark.json``, or a folder with result files of one model.

    Raises:
        DataError: A file of another kind, or a folder without a file.
    """
    known = [path / name for name in ANNOTATION_FILES if path.is_dir() and (path / name).is_file()]
    files = known[:1] or list_omnipro_files([path], None)
    rows = [row for file in files for row in read_omnipro_rows(file, ("task", "ground_truth"))]
    return make_omnipro_annotations(rows)


def list_omnipro_files(paths: Iterable[Path], model: str | None) -> list[Path]:
    """The files of samples; in a folder without those that the published command wrote."""
    given = list(paths)
    files = list_result_files(given, (".jsonl", ".json"), model)
    return [file for file in files if file in given or not file.name.endswith(_WRITTEN_BY_COMMAND)]


def read_omnipro_rows(file: Path, keys: tuple[str, str]) -> list[ResultRow]:
    """The rows of a file.

    Args:
        file: The file.
        keys: Keys of a sample. At least one row has one of them.

    Raises:
        DataError: No row is a sample.
    """
    rows = read_result_rows(file)
    if not any(isinstance(row.value, dict) and set(keys) & row.value.keys() for row in rows):
        found = describe_keys(rows[0].value) if rows else "empty"
        raise DataError(f"{file}: no OmniPro samples, which have {keys[0]!r} and {keys[1]!r}; the first row is {found}")
    return rows


def make_omnipro_annotations(rows: Iterable[ResultRow]) -> OmniProAnnotations:
    """The samples of rows in the published form; rows without a task or a ground truth are left out and counted."""
    samples: dict[str, OmniProSample] = {}
    repeated: list[str] = []
    refused: list[str] = []
    for row in rows:
        value = row.value
        if not isinstance(value, dict) or not isinstance(value.get("task"), str):
            refused.append("row without a task")
        elif not isinstance(value.get("ground_truth"), list):
            refused.append("row without a list ground_truth")
        elif not (name := read_omnipro_id(value)):
            refused.append("row without an id")
        elif name in samples:
            repeated.append(name)
        else:
            samples[name] = read_omnipro_sample(value, name)
    refused += ["row with the id of an earlier one"] * len(repeated)
    read = Counter(sample.task for sample in samples.values())
    return OmniProAnnotations(tuple(samples.values()), tuple(repeated), ReadCounts(dict(read), dict(Counter(refused))))


def read_omnipro_id(value: dict[str, Any]) -> str:
    """The id of a row as text; an empty text where it has none."""
    return str(value.get("id", ""))


def read_omnipro_sample(value: dict[str, Any], sample_id: str) -> OmniProSample:
    """A sample of a row of annotations or results, without its emissions."""
    config = value.get("eval_config")
    loop = config if isinstance(config, dict) else {}
    asked = read_omnipro_time(value.get("question_time") or loop.get("t_start"))
    triggers = value.get("ground_truth")
    return OmniProSample(
        id=sample_id,
        video=str(value.get("video_id") or sample_id),
        task=value["task"],
        question=str(value.get("question") or ""),
        emissions=(),
        triggers=tuple(_read_trigger(entry) for entry in triggers) if isinstance(triggers, list) else (),
        asked=0.0 if asked is None else asked,
        end=read_omnipro_time(value.get("duration") or loop.get("t_end")),
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
        count=read_whole_number(entry.get("count")),
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


def read_whole_number(value: Any) -> int | None:
    """A number without its decimals, or a text of a whole number; None for anything else."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None
