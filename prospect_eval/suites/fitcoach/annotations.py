"""FitCoach's sessions: QEVD's ``feedbacks_long_range.json``, or rows with ``gt_timestamps`` and ``gt_feedbacks``.

The rows of ``feedbacks_long_range.json`` have a text for each frame in ``feedbacks``, empty where the coach is silent, and the times
of the texts in ``feedback_timestamps``. The data are behind a form, so this reader follows the description of the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from prospect_core.util.errors import DataError
from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.fitcoach.official import FeedbackList
from prospect_eval.suites.published_files import find_published_file
from prospect_eval.suites.result_rows import ResultRow, describe_keys, read_result_rows, read_seconds

ANNOTATION_FILES = ("feedbacks_long_range.json", "sessions.json")
VIDEO_KEY = "long_range_video_file"
_TIMES = ("gt_timestamps", "feedback_timestamps")
_TEXTS = ("gt_feedbacks", "feedbacks")


@dataclass(frozen=True)
class ReferenceFeedback:
    """The reference feedback of a session; ``duration`` is in seconds, None where the file does not say."""

    id: str
    video: str
    feedback: FeedbackList
    duration: float | None = None


@dataclass(frozen=True)
class FitCoachAnnotations:
    """The sessions in the order of their rows.

    Attributes:
        sessions: One for each id; of rows with one id the first.
        repeated: Ids of rows that an earlier row has, one for each row.
        counts: Entries read and left out.
    """

    sessions: tuple[ReferenceFeedback, ...]
    repeated: tuple[str, ...] = ()
    counts: ReadCounts = field(default_factory=lambda: ReadCounts({}))

    @cached_property
    def by_id(self) -> dict[str, ReferenceFeedback]:
        """Sessions by their id."""
        return {session.id: session for session in self.sessions}


def read_fitcoach_annotations(path: Path) -> FitCoachAnnotations:
    """The sessions of a file, or of a folder with ``feedbacks_long_range.json`` or ``sessions.json``.

    Raises:
        DataError: A file of another kind, or a folder without such a file.
    """
    file = find_published_file(path, ANNOTATION_FILES)
    rows = read_result_rows(file)
    found = make_fitcoach_annotations(rows)
    if not found.sessions:
        reasons = "; ".join(found.counts.refused) or "the file is empty"
        first = describe_keys(rows[0].value) if rows else "none"
        raise DataError(f"{file}: holds no session of FitCoach ({reasons}); the first row is {first}")
    return found


def make_fitcoach_annotations(rows: Iterable[ResultRow]) -> FitCoachAnnotations:
    """The sessions of rows; rows without times and texts are left out and counted."""
    sessions: dict[str, ReferenceFeedback] = {}
    repeated: list[str] = []
    refused: list[str] = []
    for number, row in enumerate(rows):
        session = _read_session(row.value, number)
        if isinstance(session, str):
            refused.append(session)
        elif session.id in sessions:
            repeated.append(session.id)
        else:
            sessions[session.id] = session
    refused += ["session with the id of an earlier one"] * len(repeated)
    texts = sum(len(session.feedback.texts) for session in sessions.values())
    counts = ReadCounts({"session": len(sessions), "feedback": texts}, dict(Counter(refused)))
    return FitCoachAnnotations(tuple(sessions.values()), tuple(repeated), counts)


def _read_session(value: Any, number: int) -> ReferenceFeedback | str:
    """The session, or why the row is none."""
    if not isinstance(value, dict):
        return "row that is no object"
    times, texts = _first(value, _TIMES), _first(value, _TEXTS)
    if times is None or texts is None:
        return "row without reference times and texts"
    feedback = read_feedback_list(times, [text for text in texts if text] if "gt_feedbacks" not in value else texts)
    if feedback is None:
        return "reference time that is no number"
    name = read_session_id(value, number)
    return ReferenceFeedback(name, str(value.get(VIDEO_KEY) or name), feedback, read_seconds(value.get("duration")))


def _first(value: Mapping[str, Any], keys: Sequence[str]) -> list[Any] | None:
    """The first of these keys that holds a list."""
    return next((value[key] for key in keys if isinstance(value.get(key), list)), None)


def read_session_id(value: Mapping[str, Any], number: int) -> str:
    """The id of a row: ``id``, the video's file, or the row's number from 0."""
    given = value.get("id", value.get(VIDEO_KEY))
    return str(number) if given is None or given == "" else str(given)


def read_feedback_list(times: Sequence[Any], texts: Sequence[Any]) -> FeedbackList | None:
    """Times with texts; a null text is empty. None where a time is no number."""
    seconds = [read_seconds(time) for time in times]
    known = [time for time in seconds if time is not None]
    if len(known) < len(seconds):
        return None
    return FeedbackList(tuple(known), tuple("" if text is None else str(text) for text in texts))
