"""Annotations of StreamingBench's multiple-choice questions, read in place.

``questions_real.json`` (real-time visual understanding) and ``questions_omni.json`` (omni-source and contextual understanding)
are lists of entries; ``questions_sqa.json`` (sequential question answering) is a list of sequences of entries. An entry has
``video_path`` and ``questions``; a question has ``task_type``, ``question``, ``time_stamp``, ``options`` and ``answer``.

Read as well: ``timestamp`` and ``video`` as other names, options as the text of a list, options with or without their letter
before them, and an answer with text after its letter.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from prospect_core.util.errors import DataError
from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.published_files import read_json_list
from prospect_eval.suites.streamingbench.annotations import read_clock

#: parts of the benchmark with the names of their files
PARTS: Mapping[str, tuple[str, ...]] = {
    "real": ("questions_real.json",),
    "omni": ("questions_omni.json", "questions_omini.json"),
    "sqa": ("questions_sqa.json",),
}
_FOLDERS = ("", "data", "src/data")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LETTERED = re.compile(r"\s*([A-Z])\s*[.):]\s*(.*)", re.DOTALL)
_ANSWER = re.compile(r"\s*\(?([A-Z])(?![A-Za-z0-9])")


@dataclass(frozen=True)
class StreamingChoiceQuestion:
    """A multiple-choice question.

    Attributes:
        id: ``PART.SEQUENCE.ENTRY.QUESTION`` (sqa) or ``PART.ENTRY.QUESTION``: places in the file, from 0.
        part: ``real``, ``omni`` or ``sqa``.
        task: The task type.
        video: Path of the video.
        question: The question.
        time: When it is asked, in seconds.
        clock: The same as the file writes it.
        options: The options without their letters.
        answer: Letter of the right option.
        sequence: Name of the sequence that the question belongs to; empty outside of sequences.
    """

    id: str
    part: str
    task: str
    video: str
    question: str
    time: int
    clock: str
    options: tuple[str, ...]
    answer: str
    sequence: str = ""

    @property
    def key(self) -> tuple[str, str, int]:
        """Key of the question in a file of results: video, text and time."""
        return self.video, self.question, self.time


@dataclass(frozen=True)
class StreamingChoiceAnnotations:
    """All questions, and the counts of questions read by part and left out by reason."""

    questions: tuple[StreamingChoiceQuestion, ...]
    counts: ReadCounts

    @cached_property
    def by_key(self) -> dict[tuple[str, str, int], StreamingChoiceQuestion]:
        """Questions by `StreamingChoiceQuestion.key`."""
        return {question.key: question for question in self.questions}


@dataclass(frozen=True)
class PlacedChoiceQuestion:
    """A question of a file with the JSON object that holds it, which may hold predictions too."""

    question: StreamingChoiceQuestion
    fields: dict[str, Any]


def read_streaming_choice_annotations(path: Path) -> StreamingChoiceAnnotations:
    """Read a file of questions, or those in a copy of the benchmark's repository.

    Raises:
        DataError: No file is there, one is broken, or none holds a question.
    """
    found: dict[tuple[str, str, int], StreamingChoiceQuestion] = {}
    refused: list[str] = []
    files = list_choice_files(path)
    for part, file in files:
        for placed in list_choice_questions(part, read_json_list(file, "questions of StreamingBench")):
            if isinstance(placed, str):
                refused.append(placed)
            elif placed.question.key in found:
                refused.append("the same video, text and time as an earlier question")
            else:
                found[placed.question.key] = placed.question
    if not found:
        reasons = "; ".join(sorted(set(refused))) or "no question"
        raise DataError(f"{path}: no multiple-choice question of StreamingBench ({reasons})")
    return StreamingChoiceAnnotations(
        tuple(found.values()), ReadCounts.of((question.part for question in found.values()), refused)
    )


def list_choice_files(path: Path) -> list[tuple[str, Path]]:
    """(part, file) of the files in a folder, or of one file."""
    if not path.is_dir():
        return [(find_choice_part(path), path)]
    found = []
    for part, names in PARTS.items():
        places = (path / folder / name for folder in _FOLDERS for name in names)
        file = next((place for place in places if place.is_file()), None)
        if file is not None:
            found.append((part, file))
    if not found:
        raise DataError(f"{path}: holds none of {', '.join(names[0] for names in PARTS.values())}")
    return found


def find_choice_part(file: Path) -> str:
    """The part that a file's name speaks of; ``real`` where it speaks of none."""
    names = {"real": ("real",), "omni": ("omni", "omini"), "sqa": ("sqa",)}
    return next((part for part, words in names.items() if any(word in file.stem for word in words)), "real")


def list_choice_questions(part: str, entries: Sequence[Any]) -> Iterator[PlacedChoiceQuestion | str]:
    """Questions of a file, or for each that cannot be read the reason. Nested lists are sequences."""
    for place, entry in enumerate(entries):
        if isinstance(entry, list):
            for inner, nested in enumerate(entry):
                yield from _list_entry(part, f"{place}.{inner}", nested, f"{part}.{place}")
        else:
            yield from _list_entry(part, str(place), entry, "")


def _list_entry(part: str, place: str, entry: Any, sequence: str) -> Iterator[PlacedChoiceQuestion | str]:
    questions = entry.get("questions") if isinstance(entry, dict) else None
    if not isinstance(questions, list):
        yield "the entry has no list questions"
        return
    video = _find_text(entry, ("video_path", "video"))
    for number, fields in enumerate(questions):
        if video is None:
            yield "the entry names no video"
        elif not isinstance(fields, dict):
            yield "the question is not an object"
        else:
            read = _read_question(fields, video)
            if isinstance(read, str):
                yield read
                continue
            name = f"{part}.{place}.{number}"
            yield PlacedChoiceQuestion(
                StreamingChoiceQuestion(id=name, part=part, video=video, sequence=sequence, **read), fields
            )


def _find_text(holder: Mapping[str, Any], names: Sequence[str]) -> str | None:
    values = (holder.get(name) for name in names)
    return next((value for value in values if isinstance(value, str) and value), None)


def _read_question(fields: Mapping[str, Any], video: str) -> dict[str, Any] | str:
    text, clock = _find_text(fields, ("question",)), _find_text(fields, ("time_stamp", "timestamp"))
    if text is None or clock is None:
        return "the question has no text or no time stamp"
    try:
        time = read_clock(clock)
    except ValueError:
        return "the time stamp is no clock time"
    options = read_choice_options(fields.get("options"))
    if options is None:
        return "the question has no options"
    answer = _ANSWER.match(str(fields.get("answer")))
    if answer is None or answer[1] not in LETTERS[: len(options)]:
        return "the answer is not the letter of an option"
    task = _find_text(fields, ("task_type", "task")) or "unknown"
    return {"task": task, "question": text, "time": time, "clock": clock, "options": options, "answer": answer[1]}


def read_choice_options(value: object) -> tuple[str, ...] | None:
    """The options without their letters; None where there are none to read."""
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    if not isinstance(value, list | tuple) or not 2 <= len(value) <= len(LETTERS):
        return None
    if not all(isinstance(option, str) for option in value):
        return None
    lettered = [_LETTERED.fullmatch(option) for option in value]
    if all(found is not None and found[1] == LETTERS[k] for k, found in enumerate(lettered)):
        return tuple(found[2].strip() for found in lettered if found is not None)
    return tuple(value)
