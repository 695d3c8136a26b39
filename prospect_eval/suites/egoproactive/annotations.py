"""Reads the published EgoProactive annotations in place: one session a line, with an answer for each chunk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prospect_core.util.errors import DataError
from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.published_files import list_result_files
from prospect_eval.suites.result_rows import (
    ResultRow,
    describe_keys,
    read_result_rows,
    read_seconds,
    read_time_span,
)


@dataclass(frozen=True)
class DialogTurn:
    """One turn of the history that the official loop shows before a chunk."""

    role: str
    text: str


@dataclass(frozen=True)
class ReferenceSession:
    """One annotated session.

    Attributes:
        row: Position in the file, from 0: the published scorer joins rows by it.
        id: Unique name of the session.
        video_path: The video, as the file names it.
        duration: Length of the video in seconds; None where the file has no number.
        intervals: (start, end) of each chunk in seconds.
        query: The user's question at the start.
        domain: Domain of the task.
        task: Name of the task, by which the published scorer groups sessions.
        answers: The reference answer of each chunk; None where the file has no text.
        dialog: The history before each chunk.
    """

    row: int
    id: str
    video_path: str
    duration: float | None
    intervals: tuple[tuple[float, float], ...]
    query: str
    domain: str
    task: str
    answers: tuple[str | None, ...]
    dialog: tuple[tuple[DialogTurn, ...], ...]


@dataclass(frozen=True)
class EgoProactiveAnnotations:
    """All sessions in order of the file, with what was read and what was left out."""

    sessions: tuple[ReferenceSession, ...]
    counts: ReadCounts


def read_egoproactive_annotations(path: Path) -> EgoProactiveAnnotations:
    """The sessions of an annotation file, or of the one ``.jsonl`` file in a folder.

    Raises:
        DataError: A file of another kind, or several annotation files in the folder.
    """
    files = list_result_files([path], (".jsonl",) if path.is_dir() else (".jsonl", ".json"))
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise DataError(f"{path}: holds {len(files)} annotation files ({names}); name one of them")
    rows = read_result_rows(files[0])
    if rows and not any(isinstance(row.value, dict) and {"answers", "query"} <= row.value.keys() for row in rows):
        raise DataError(
            f"{files[0]}: no EgoProactive annotations, which have 'query' and 'answers'; entry 1 is "
            f"{describe_keys(rows[0].value)}"
        )
    return make_egoproactive_annotations(rows)


def make_egoproactive_annotations(rows: Sequence[ResultRow]) -> EgoProactiveAnnotations:
    """The sessions of rows in the published form; a row without a list of answers is left out and counted."""
    sessions: list[ReferenceSession] = []
    refused: list[str] = []
    names: dict[str, int] = {}
    for number, row in enumerate(rows):
        if not isinstance(row.value, dict) or not isinstance(row.value.get("answers"), list):
            refused.append("session without a list of answers")
            continue
        video_path = str(row.value.get("video_path", ""))
        names[video_path] = names.get(video_path, 0) + 1
        again = names[video_path]
        session_id = video_path if again == 1 and video_path else f"{video_path}#{number}"
        sessions.append(_read_session(row.value, number, session_id, video_path))
    chunks = sum(len(session.answers) for session in sessions)
    return EgoProactiveAnnotations(
        tuple(sessions), ReadCounts({"session": len(sessions), "chunk": chunks}, ReadCounts.of((), refused).refused)
    )


def _read_session(value: dict[str, Any], row: int, session_id: str, video_path: str) -> ReferenceSession:
    spans = [read_time_span(span) for span in _list(value.get("video_intervals"))]
    return ReferenceSession(
        row=row,
        id=session_id,
        video_path=video_path,
        duration=read_seconds(value.get("duration_in_sec")),
        intervals=tuple(span for span in spans if span is not None),
        query=str(value.get("query", "")),
        domain=str(value.get("domain", "")),
        # the published scorer's name for sessions without a task
        task=str(value.get("task", "unknown")),
        answers=tuple(answer if isinstance(answer, str) else None for answer in value["answers"]),
        dialog=tuple(tuple(_read_turns(turns)) for turns in _list(value.get("dialog"))),
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _read_turns(turns: Any) -> Iterator[DialogTurn]:
    for turn in _list(turns):
        if isinstance(turn, dict):
            yield DialogTurn(str(turn.get("role", "")), str(turn.get("text", "")))
