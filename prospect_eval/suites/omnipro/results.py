"""Reads OmniPro's online result files: one sample a line, with its ``predictions`` (t_sec, raw) and ``ground_truth``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.omnipro.annotations import (
    OmniProAnnotations,
    list_omnipro_files,
    read_omnipro_id,
    read_omnipro_rows,
    read_omnipro_sample,
    read_omnipro_time,
    read_whole_number,
)
from prospect_eval.suites.omnipro.official import Emission, OmniProSample, ParsedEmission
from prospect_eval.suites.result_rows import ResultRow

NO_ANNOTATIONS = OmniProAnnotations(())


@dataclass(frozen=True)
class OmniProResults:
    """The samples of result files, with what was read and what was left out."""

    samples: tuple[OmniProSample, ...]
    counts: ReadCounts


def read_omnipro_results(
    paths: Sequence[Path], annotations: OmniProAnnotations, model: str | None = None
) -> OmniProResults:
    """The samples of one model.

    Args:
        paths: Files of samples, or folders of them. In a folder, files that the published command wrote are left out.
        annotations: Give the triggers of rows without a ``ground_truth``, and the ends of the videos.
        model: The folder of the model in a folder of models.

    Raises:
        DataError: A file of another kind.
    """
    rows: list[ResultRow] = []
    for file in list_omnipro_files(paths, model):
        rows += read_omnipro_rows(file, ("task", "predictions"))
    return make_omnipro_results(rows, annotations)


def make_omnipro_results(rows: Iterable[ResultRow], annotations: OmniProAnnotations = NO_ANNOTATIONS) -> OmniProResults:
    """The samples of rows in the published form; rows of another form are left out and counted.

    As in the published scorer, every row counts and is compared with its own ground truth. Rows without an id or with
    one that repeats get a number in their id.
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
        name = read_omnipro_id(value)
        given[name] += 1
        sample = _read_result(value, name if name and given[name] == 1 else f"{name}#{given[name]}")
        samples.append(_complete(sample, value, annotations.by_id.get(name)))
        read.append("sample")
        read += ["emission"] * len(sample.emissions) + ["trigger"] * len(sample.triggers)
    return OmniProResults(tuple(samples), ReadCounts.of(read, refused))


def _read_result(value: dict[str, Any], sample_id: str) -> OmniProSample:
    predictions = value.get("predictions")
    emissions = [_read_emission(entry) for entry in (predictions if isinstance(predictions, list) else [])]
    return replace(read_omnipro_sample(value, sample_id), emissions=tuple(emissions))


def _complete(sample: OmniProSample, value: dict[str, Any], annotated: OmniProSample | None) -> OmniProSample:
    """The sample with the annotated values that its row lacks."""
    if annotated is None:
        return sample
    triggers = sample.triggers if "ground_truth" in value else annotated.triggers
    video = sample.video if value.get("video_id") else annotated.video
    return replace(sample, triggers=triggers, video=video, end=annotated.end if sample.end is None else sample.end)


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
        count=read_whole_number(value.get("count")),
        state=state if isinstance(state, str) else None,
    )
