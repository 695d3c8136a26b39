"""Reads EgoProactive prediction files: one row of ``answers`` for each session, in the order of the annotations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prospect_core.util.errors import DataError
from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.egoproactive.annotations import EgoProactiveAnnotations
from prospect_eval.suites.egoproactive.official import SessionPrediction
from prospect_eval.suites.published_files import list_result_files
from prospect_eval.suites.result_rows import (
    ResultRow,
    describe_keys,
    read_result_rows,
)


@dataclass(frozen=True)
class EgoProactiveResults:
    """Predictions in the order of the annotated sessions.

    Attributes:
        predictions: One for each session; None where no row belongs to it.
        counts: Rows read, and rows left out with the reason.
        notes: Unusual facts about the file.
    """

    predictions: tuple[SessionPrediction | None, ...]
    counts: ReadCounts
    notes: tuple[str, ...] = ()


def read_egoproactive_results(
    paths: Sequence[Path], annotations: EgoProactiveAnnotations, model: str | None = None
) -> EgoProactiveResults:
    """The predictions of one file of rows.

    Args:
        paths: One file, or a folder with one file.
        annotations: The sessions that the rows answer.
        model: Part of the name of the file to read where the paths hold several files.

    Raises:
        DataError: A file of another kind, or several files and no model that names one of them.
    """
    files = list_result_files(paths, (".jsonl", ".json"), model)
    if len(files) > 1 and model is not None:
        files = [file for file in files if model in file.stem]
    if len(files) != 1:
        raise DataError(f"{', '.join(map(str, paths))}: holds {len(files)} files of predictions; give one of them")
    rows = read_result_rows(files[0])
    if not any(row.value is None or (isinstance(row.value, dict) and _is_prediction(row)) for row in rows):
        first = describe_keys(rows[0].value) if rows else "empty"
        raise DataError(
            f"{files[0]}: no EgoProactive predictions, whose rows have 'video_path' and 'answers'; the first row is {first}"
        )
    return match_egoproactive_rows(rows, annotations)


def _is_prediction(row: ResultRow) -> bool:
    return bool(row.value.keys() & {"video_path", "answers"})


def match_egoproactive_rows(rows: Sequence[ResultRow], annotations: EgoProactiveAnnotations) -> EgoProactiveResults:
    """Predictions for each session: by position, or by ``video_path`` where the numbers of rows differ."""
    found = [_read_prediction(row) for row in rows]
    sessions = annotations.sessions
    expected = 1 + max((session.row for session in sessions), default=-1)
    expected = max(expected, len(sessions) + sum(annotations.counts.refused.values()))
    notes: list[str] = []
    by_path = _index_by_path(found) if len(found) != expected else None
    if len(found) != expected:
        how = "rows are joined by video_path" if by_path is not None else "rows are joined by position"
        notes.append(
            f"the file has {len(found)} rows, the annotations have {expected}; the published scorer stops, here {how}"
        )
    if by_path is not None:
        matched = [by_path.get(session.video_path) for session in sessions]
        unknown = len(by_path.keys() - {session.video_path for session in sessions})
    else:
        matched = [found[session.row] if session.row < len(found) else None for session in sessions]
        unknown = max(0, len(found) - expected)
    refused = ["row without a session"] * unknown
    return EgoProactiveResults(tuple(matched), ReadCounts.of(["row"] * len(found), refused), tuple(notes))


def _read_prediction(row: ResultRow) -> SessionPrediction | None:
    """The prediction of a row; None for a null row or null answers, as sessions that timed out have."""
    if row.value is None or (isinstance(row.value, dict) and row.value.get("answers", ()) is None):
        return None
    value = row.value if isinstance(row.value, dict) else {}
    answers = value.get("answers")
    if not isinstance(answers, list):
        return SessionPrediction(str(value.get("video_path", "")), None)
    texts = tuple(answer if isinstance(answer, str) else None for answer in answers)
    return SessionPrediction(str(value.get("video_path", "")), texts)


def _index_by_path(predictions: Sequence[SessionPrediction | None]) -> dict[str, SessionPrediction] | None:
    """Predictions by their path; None where a path is absent or stands twice."""
    known = [prediction for prediction in predictions if prediction is not None and prediction.video_path]
    found = {prediction.video_path: prediction for prediction in known}
    return found if found and len(found) == len(predictions) else None
