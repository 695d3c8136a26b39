"""Annotations of StreamingBench, Proactive Output (``questions_proactive.json``), read in place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from prospect_core.util.errors import DataError
from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.episode_window import LONGEST_S
from prospect_eval.suites.published_files import convert_entry, find_published_file, read_json_list

PROACTIVE_OUTPUT = "Proactive Output"
_FILES = (
    "questions_proactive.json",
    "data/questions_proactive.json",
    "src/data/questions_proactive.json",
    "questions_proactive_50.json",
)
#: a clock time such as 00:12:29, or 12:29
_CLOCK = r"\d+(?::\d+){1,2}"
_WINDOW = re.compile(rf"\[\s*({_CLOCK})\s*-\s*({_CLOCK})\s*\]")


def read_clock(text: str) -> int:
    """Seconds of a clock time such as ``00:12:29`` of up to a day; anything else is a `ValueError`."""
    seconds: int = sum(int(part) * 60**power for power, part in enumerate(reversed(text.split(":"))))
    if abs(seconds) > LONGEST_S:
        raise ValueError(f"{text}: no video has times of more than a day")
    return seconds


@dataclass(frozen=True)
class QuestionFields:
    """A question as the file has it."""

    question: str
    time_stamp: str
    ground_truth_time_stamp: str
    ground_truth_output: str
    task_type: str = PROACTIVE_OUTPUT


@dataclass(frozen=True)
class EntryFields:
    """An entry as the file has it, without its questions."""

    video_path: str
    time: str = ""


@dataclass(frozen=True)
class ProactiveOutputQuestion:
    """A question that asks for one output when something happens; times are in seconds.

    Attributes:
        id: ``ENTRY.QUESTION``: the places of entry and question in the file, from 0.
        video: Path of the video.
        task: The task type.
        question: The text, which names the output.
        ask_time: When the question is asked.
        gold_time: When the output is right.
        gold_output: The text that the output must hold.
        window: The part of the video that the entry names; None where it names none.
    """

    id: str
    video: str
    task: str
    question: str
    ask_time: int
    gold_time: int
    gold_output: str
    window: tuple[int, int] | None = None

    @property
    def key(self) -> tuple[str, str, int]:
        """Key of the question in a file of results: video, text and ask time."""
        return self.video, self.question, self.ask_time


@dataclass(frozen=True)
class ProactiveAnnotations:
    """All questions, and the counts of entries and questions read and left out."""

    questions: tuple[ProactiveOutputQuestion, ...]
    counts: ReadCounts

    @cached_property
    def by_key(self) -> dict[tuple[str, str, int], ProactiveOutputQuestion]:
        """Questions by `ProactiveOutputQuestion.key`."""
        return {question.key: question for question in self.questions}


@dataclass(frozen=True)
class PlacedQuestion:
    """A question of a file with the JSON object that holds it, which may hold predictions too."""

    question: ProactiveOutputQuestion
    fields: dict[str, Any]


def list_questions(entries: list[Any]) -> Iterator[PlacedQuestion | str]:
    """Questions of a file of questions, or for each that cannot be read the reason."""
    for index, entry in enumerate(entries):
        holder = convert_entry(entry, EntryFields)
        questions = entry.get("questions") if isinstance(entry, dict) else None
        if isinstance(holder, str):
            yield f"entry: {holder}"
        elif not isinstance(questions, list):
            yield "entry: no list questions"
        else:
            for place, fields in enumerate(questions):
                yield _read_question(f"{index}.{place}", holder, fields)


def _read_question(name: str, holder: EntryFields, fields: Any) -> PlacedQuestion | str:
    read = convert_entry(fields, QuestionFields)
    if isinstance(read, str):
        return f"question: {read}"
    try:
        ask_time, gold_time = read_clock(read.time_stamp), read_clock(read.ground_truth_time_stamp)
    except ValueError:
        return "question: a time stamp is no clock time"
    question = ProactiveOutputQuestion(
        id=name,
        video=holder.video_path,
        task=read.task_type,
        question=read.question,
        ask_time=ask_time,
        gold_time=gold_time,
        gold_output=read.ground_truth_output,
        window=_read_window(holder.time),
    )
    return PlacedQuestion(question, fields)


def _read_window(text: str) -> tuple[int, int] | None:
    """The window of an entry in seconds; None where the text is no window, or of more than a day."""
    window = _WINDOW.fullmatch(text.strip())
    try:
        return (read_clock(window[1]), read_clock(window[2])) if window else None
    except ValueError:
        return None


def read_proactive_annotations(path: Path) -> ProactiveAnnotations:
    """Read a file of questions, or the one in a copy of the benchmark's repository.

    Raises:
        DataError: The file is missing, broken, or holds no question.
    """
    file = find_published_file(path, _FILES)
    what = "questions of StreamingBench"
    entries = read_json_list(file, what)
    found: dict[tuple[str, str, int], ProactiveOutputQuestion] = {}
    refused: list[str] = []
    for placed in list_questions(entries):
        if isinstance(placed, str):
            refused.append(placed)
        elif placed.question.key in found:
            refused.append("question: the same video, text and time as an earlier one")
        else:
            found[placed.question.key] = placed.question
    if not found and entries:
        raise DataError(f"{file}: not {what} ({'; '.join(sorted(set(refused)))})")
    read = ["entries"] * len(entries) + ["questions"] * len(found)
    return ProactiveAnnotations(tuple(found.values()), ReadCounts.of(read, refused))
