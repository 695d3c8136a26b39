"""Reads the published ProactiveVideoQA annotations in place: ``anno.json`` of one task, or of several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prospect_core.util.errors import DataError
from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.published_files import list_names
from prospect_eval.suites.result_rows import (
    ResultRow,
    describe_keys,
    read_result_rows,
    read_seconds,
    read_time_span,
)

ANNOTATION_FILE = "anno.json"
#: folders of the published tasks
PROACTIVE_TASKS = ("EGO", "TV", "VAD", "WEB")


@dataclass(frozen=True)
class ReferenceTurn:
    """A reference reply.

    Attributes:
        content: Its text.
        related: (start, end) in seconds of what the reply is about.
        reply: (start, end) in seconds of the replies that count for it.
    """

    content: str
    related: tuple[float, float]
    reply: tuple[float, float]


@dataclass(frozen=True)
class UserTurn:
    """A user turn, with its time in seconds; None where the file has no number."""

    content: str
    time: float | None


@dataclass(frozen=True)
class ProactiveQuestion:
    """One annotated question.

    Attributes:
        id: ``question_id`` as text.
        video: File name of the video.
        task: Name of the task's folder; empty for a single file.
        duration: Length of the video in seconds; None where the file has no number.
        user_turns: The question, then further turns of the user.
        turns: The reference replies.
    """

    id: str
    video: str
    task: str
    duration: float | None
    user_turns: tuple[UserTurn, ...]
    turns: tuple[ReferenceTurn, ...]


@dataclass(frozen=True)
class ProactiveVideoQAAnnotations:
    """The questions by their first rows, with what was read and what was left out.

    Attributes:
        questions: One for each id; of rows with one id the last, as in the published code.
        replaced: Ids of questions that a later row replaced, one for each replacement.
        counts: Entries read and left out.
    """

    questions: tuple[ProactiveQuestion, ...]
    replaced: tuple[str, ...] = ()
    counts: ReadCounts = field(default_factory=lambda: ReadCounts({}))


def read_proactivevideoqa_annotations(path: Path) -> ProactiveVideoQAAnnotations:
    """The questions of an annotation file, of the folder of a task, or of a folder of tasks.

    Raises:
        DataError: A file of another kind, no annotation file, or one question id in two tasks.
    """
    parts = [_read_file(file) for file in _find_files(path)]
    if len(parts) == 1:
        return parts[0]
    ids = Counter(question.id for part in parts for question in part.questions)
    shared = [question_id for question_id, number in ids.items() if number > 1]
    if shared:
        raise DataError(f"{path}: several tasks have the question ids {list_names(shared)}; give one task")
    read: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for part in parts:
        read.update(part.counts.read)
        refused.update(part.counts.refused)
    return ProactiveVideoQAAnnotations(
        questions=tuple(question for part in parts for question in part.questions),
        replaced=tuple(question_id for part in parts for question_id in part.replaced),
        counts=ReadCounts(dict(read), dict(refused)),
    )


def _find_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    if (path / ANNOTATION_FILE).is_file():
        return [path / ANNOTATION_FILE]
    files = [path / task / ANNOTATION_FILE for task in PROACTIVE_TASKS]
    found = [file for file in files if file.is_file()]
    if not found:
        raise DataError(f"{path}: holds no {ANNOTATION_FILE}, and no folder {', '.join(PROACTIVE_TASKS)} with one")
    return found


def _read_file(file: Path) -> ProactiveVideoQAAnnotations:
    rows = read_result_rows(file)
    keys = {"question_id", "answer"}
    if rows and not any(isinstance(row.value, dict) and keys <= row.value.keys() for row in rows):
        raise DataError(
            f"{file}: no ProactiveVideoQA annotations, which have 'question_id' and 'answer'; entry 1 is"
            f" {describe_keys(rows[0].value)}"
        )
    task = file.parent.name if file.parent.name in PROACTIVE_TASKS else ""
    return make_proactivevideoqa_annotations(rows, task)


def make_proactivevideoqa_annotations(rows: Sequence[ResultRow], task: str = "") -> ProactiveVideoQAAnnotations:
    """The questions of rows in the published form; rows without an id or a reply span are left out and counted."""
    questions: dict[str, ProactiveQuestion] = {}
    replaced: list[str] = []
    refused: list[str] = []
    for row in rows:
        question = _read_question(row.value, task)
        if isinstance(question, str):
            refused.append(question)
            continue
        if question.id in questions:
            replaced.append(question.id)
        questions[question.id] = question
    refused += ["question that a later row with its id replaces"] * len(replaced)
    turns = sum(len(question.turns) for question in questions.values())
    counts = ReadCounts({"question": len(questions), "turn": turns}, dict(Counter(refused)))
    return ProactiveVideoQAAnnotations(tuple(questions.values()), tuple(replaced), counts)


def _read_question(value: Any, task: str) -> ProactiveQuestion | str:
    """The question, or why the row is not one."""
    if not isinstance(value, dict) or "question_id" not in value:
        return "row without a question id"
    answers = value.get("answer")
    if not isinstance(answers, list):
        return "question without a list of answers"
    turns = [_read_turn(answer) for answer in answers]
    known = tuple(turn for turn in turns if turn is not None)
    if len(known) < len(turns):
        return "question with an answer without a reply span"
    conversation = value.get("conversation")
    said = [turn for turn in conversation if isinstance(turn, dict)] if isinstance(conversation, list) else []
    return ProactiveQuestion(
        id=str(value["question_id"]),
        video=str(value.get("video", "")),
        task=task,
        duration=read_seconds(value.get("duration")),
        user_turns=tuple(UserTurn(str(turn.get("content", "")), read_seconds(turn.get("time"))) for turn in said),
        turns=known,
    )


def _read_turn(answer: Any) -> ReferenceTurn | None:
    reply = read_time_span(answer.get("reply_timespan")) if isinstance(answer, dict) else None
    if reply is None:
        return None
    content = answer.get("content")
    # without a span of its own, a turn is about its whole reply span, as in the published code
    related = read_time_span(answer.get("related_timespan")) or reply
    return ReferenceTurn(content="" if content is None else str(content), related=related, reply=reply)
