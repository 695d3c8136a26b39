"""Annotations of OVO-Bench (``data/ovo_bench_new.json``), read in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from prospect_core.util.errors import DataError
from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.published_files import convert_entry, find_published_file, read_json_list

#: categories with their tasks
CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "backward": ("EPM", "ASI", "HLD"),
    "realtime": ("OCR", "ACR", "ATR", "STU", "FPD", "OJR"),
    "forward": ("REC", "SSR", "CRR"),
}
#: category of each task
CATEGORY_OF_TASK = {task: category for category, tasks in CATEGORIES.items() for task in tasks}
MOST_SECONDS = 10**9
#: the annotations write whole seconds as both 34 and 34.0
Seconds = Annotated[int, Meta(ge=-MOST_SECONDS, le=MOST_SECONDS)] | float
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_FILES = ("ovo_bench_new.json", "data/ovo_bench_new.json")


@dataclass(frozen=True)
class ChoiceItem:
    """A question with options, asked once (backward and realtime tasks).

    Attributes:
        id: The item's number.
        task: One of the backward and realtime tasks.
        video: Path of the video.
        realtime: When the question is asked, in seconds.
        question: The question.
        options: The options; the first is A.
        gt: Index of the right option.
        answer: The right answer in words; not scored.
    """

    id: int
    task: str
    video: str
    realtime: Seconds
    question: str
    options: tuple[str, ...]
    gt: int
    answer: str

    @property
    def letter(self) -> str:
        """Letter of the right option."""
        return LETTERS[self.gt]


@dataclass(frozen=True)
class CountPoll:
    """A poll of REC: at ``realtime`` seconds the action has happened ``count`` times."""

    realtime: Seconds
    count: int


@dataclass(frozen=True)
class StepPoll:
    """A poll of SSR: at ``realtime`` seconds, whether ``step`` is being done (``type`` 1) or not (0)."""

    realtime: Seconds
    step: str
    type: int


@dataclass(frozen=True)
class CluePoll:
    """A poll of CRR: at ``realtime`` seconds, whether the question can be answered (``type`` 1) or not (0)."""

    realtime: Seconds
    type: int


@dataclass(frozen=True)
class CountItem:
    """REC, repetition event count: how often an action has happened so far. Times are in seconds."""

    id: int
    task: str
    video: str
    activity: str
    start_times: tuple[float, ...]
    end_times: tuple[float, ...]
    test_info: tuple[CountPoll, ...]

    def count_ends(self, realtime: Seconds) -> int:
        """Number of repetitions that have ended by this time."""
        return sum(end <= realtime for end in self.end_times)


@dataclass(frozen=True)
class StepItem:
    """SSR, sequential steps recognition: whether a step of a tutorial is being done. Times are in seconds."""

    id: int
    task: str
    video: str
    tutorial: str
    all_steps: tuple[str, ...]
    start_time: tuple[float, ...]
    end_time: tuple[float, ...]
    test_info: tuple[StepPoll, ...]

    def is_in_progress(self, step: str, realtime: Seconds) -> bool:
        """Whether a step of this name is in progress at this time; both ends count."""
        spans = zip(self.all_steps, self.start_time, self.end_time, strict=True)
        return any(name == step and start <= realtime <= end for name, start, end in spans)


@dataclass(frozen=True)
class ClueItem:
    """CRR, clues reveal responding: whether the clue for a question has been seen. Times are in seconds."""

    id: int
    task: str
    video: str
    question: str
    answer: str
    ask_time: float
    clue_time: float
    test_info: tuple[CluePoll, ...]


ForwardItem = CountItem | StepItem | ClueItem
ForwardPoll = CountPoll | StepPoll | CluePoll
OvoBenchItem = ChoiceItem | ForwardItem
_SHAPES: dict[str, type[CountItem] | type[StepItem] | type[ClueItem]] = {
    "REC": CountItem,
    "SSR": StepItem,
    "CRR": ClueItem,
}


def gold_of_poll(poll: ForwardPoll) -> int:
    """The number that a poll is scored against: a count, or 1 where "Yes" is right and 0 where "No" is."""
    return poll.count if isinstance(poll, CountPoll) else poll.type


@dataclass(frozen=True)
class OvoBenchAnnotations:
    """All items.

    Attributes:
        items: In the order of the file.
        counts: Entries read by task, and entries left out by reason.
    """

    items: tuple[OvoBenchItem, ...]
    counts: ReadCounts

    @cached_property
    def by_id(self) -> dict[int, OvoBenchItem]:
        """Items by their number."""
        return {item.id: item for item in self.items}

    @property
    def choices(self) -> list[ChoiceItem]:
        """Items of the backward and realtime tasks."""
        return [item for item in self.items if isinstance(item, ChoiceItem)]

    @property
    def forward(self) -> list[ForwardItem]:
        """Items of the forward tasks."""
        return [item for item in self.items if not isinstance(item, ChoiceItem)]


def read_ovo_bench_annotations(path: Path) -> OvoBenchAnnotations:
    """Read the annotation file, or the one in a copy of the benchmark's repository.

    Entries that are not an item, that repeat an id, or whose task is unknown are left out and counted.

    Raises:
        DataError: The file is missing, broken, or holds no item.
    """
    file = find_published_file(path, _FILES)
    what = "the annotations of OVO-Bench"
    items: dict[int, OvoBenchItem] = {}
    refused: list[str] = []
    for entry in read_json_list(file, what):
        item = _read_item(entry)
        if isinstance(item, str):
            refused.append(item)
        elif item.id in items:
            refused.append("the id is used by an earlier entry")
        else:
            items[item.id] = item
    if not items:
        reasons = "; ".join(sorted(set(refused))) or "the list is empty"
        raise DataError(f"{file}: not {what} ({reasons})")
    return OvoBenchAnnotations(tuple(items.values()), ReadCounts.of((item.task for item in items.values()), refused))


def _read_item(entry: object) -> OvoBenchItem | str:
    """An item, or why the entry is not one."""
    task = entry.get("task") if isinstance(entry, dict) else None
    if not isinstance(task, str):
        return "the entry has no task"
    if task not in CATEGORY_OF_TASK:
        return f"the task {task} is unknown"
    if task in _SHAPES:
        return _read_forward_item(convert_entry(entry, _SHAPES[task]))
    item = convert_entry(entry, ChoiceItem)
    if isinstance(item, ChoiceItem) and not 0 <= item.gt < min(len(item.options), len(LETTERS)):
        return "gt is not the index of an option"
    return item


def _read_forward_item(item: ForwardItem | str) -> ForwardItem | str:
    if isinstance(item, CountItem) and len(item.start_times) != len(item.end_times):
        return "start_times and end_times differ in length"
    if isinstance(item, StepItem) and not len(item.all_steps) == len(item.start_time) == len(item.end_time):
        return "all_steps, start_time and end_time differ in length"
    return item
