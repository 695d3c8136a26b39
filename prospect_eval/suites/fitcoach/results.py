"""Reads FitCoach predictions: rows with ``pred_timestamps`` and ``pred_feedbacks``, the lists that the published evaluator fills.

The published evaluator runs a model itself and writes no prediction file. These are the names of its own fields, with the
``id`` or the ``long_range_video_file`` of the session.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prospect_core.util.errors import DataError
from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.fitcoach.annotations import (
    VIDEO_KEY,
    FitCoachAnnotations,
    read_feedback_list,
    read_session_id,
)
from prospect_eval.suites.fitcoach.official import FeedbackList
from prospect_eval.suites.published_files import list_names, list_result_files
from prospect_eval.suites.result_rows import ResultRow, describe_keys, read_result_rows

_PREDICTED = ("pred_timestamps", "pred_feedbacks")


@dataclass(frozen=True)
class FitCoachResults:
    """Predicted feedback by session.

    Attributes:
        feedback: By the id of the session; None for a row whose times or texts cannot be read.
        counts: Rows read, and rows left out with the reason.
        notes: Unusual facts about the files.
    """

    feedback: dict[str, FeedbackList | None]
    counts: ReadCounts = field(default_factory=lambda: ReadCounts({}))
    notes: tuple[str, ...] = ()


def read_fitcoach_results(
    paths: Sequence[Path], annotations: FitCoachAnnotations, model: str | None = None
) -> FitCoachResults:
    """The predictions of one model.

    Args:
        paths: Files of rows, or folders of them.
        annotations: The sessions. Rows without an id belong to them by position.
        model: The folder of the model in a folder of models.

    Raises:
        DataError: A file of another kind.
    """
    rows: list[ResultRow] = []
    for file in list_result_files(paths, (".jsonl", ".json"), model):
        some = read_result_rows(file)
        if not any(isinstance(row.value, dict) and set(_PREDICTED) & row.value.keys() for row in some):
            found = describe_keys(some[0].value) if some else "empty"
            raise DataError(
                f"{file}: no FitCoach predictions, whose rows have 'pred_timestamps' and 'pred_feedbacks'; the first row"
                f" is {found}"
            )
        rows += some
    return match_fitcoach_rows(rows, annotations)


def match_fitcoach_rows(rows: Iterable[ResultRow], annotations: FitCoachAnnotations) -> FitCoachResults:
    """The predictions of rows by session; of several rows for one session the first counts."""
    found: dict[str, FeedbackList | None] = {}
    refused: list[str] = []
    unknown: list[str] = []
    for number, row in enumerate(rows):
        if not isinstance(row.value, dict):
            refused.append("row that is no object")
            continue
        name = _find_session(row.value, number, annotations)
        if name not in annotations.by_id:
            unknown.append(name)
        elif name in found:
            refused.append("row of a session that an earlier row has")
        else:
            found[name] = _read_prediction(row.value)
    refused += ["row of a session that the annotations lack"] * len(unknown)
    notes = (f"sessions that the annotations lack: {list_names(unknown)}",) if unknown else ()
    return FitCoachResults(found, ReadCounts({"row": len(found)}, dict(Counter(refused))), notes)


def _find_session(value: dict[str, Any], number: int, annotations: FitCoachAnnotations) -> str:
    if ("id" in value or VIDEO_KEY in value) or number >= len(annotations.sessions):
        return read_session_id(value, number)
    return annotations.sessions[number].id


def _read_prediction(value: dict[str, Any]) -> FeedbackList | None:
    times, texts = (value.get(key) for key in _PREDICTED)
    if not isinstance(times, list) or not isinstance(texts, list):
        return None
    return read_feedback_list(times, texts)
