"""Published result files of OVO-Bench (``results/MODEL/*.json``).

Each file is an object with the lists ``backward``, ``realtime`` and ``forward``; the files of a model are joined.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prospect_core.util.errors import DataError
from prospect_core.util.json_io import read_json
from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.ovo_bench.annotations import (
    CATEGORIES,
    CATEGORY_OF_TASK,
    ChoiceItem,
    OvoBenchAnnotations,
    OvoBenchItem,
    gold_of_poll,
)
from prospect_eval.suites.published_files import find_repeated, list_names, list_result_files


@dataclass(frozen=True)
class ChoiceRow:
    """The response to a question with options.

    Attributes:
        id: The item's number as text.
        task: The task that the row names.
        category: The list that holds the row; the published scorer averages tasks by it.
        video: The video that the row names.
        response: The model's text; None for a null.
        ground_truth: The letter that the row is scored against.
    """

    id: str
    task: str
    category: str
    video: str
    response: str | None
    ground_truth: str


@dataclass(frozen=True)
class PollRow:
    """The response to one poll, scored against ``gold``: a count (REC), or 1 for "Yes" and 0 for "No" (SSR, CRR)."""

    gold: int
    response: str | None


@dataclass(frozen=True)
class ForwardRow:
    """The responses to all polls of a forward item."""

    id: str
    task: str
    video: str
    polls: tuple[PollRow, ...]


@dataclass(frozen=True)
class OvoBenchResults:
    """All rows of one model.

    Attributes:
        choices: Rows of the lists ``backward`` and ``realtime``.
        forward: Rows of the list ``forward``.
        counts: Rows read by category, and rows left out by reason.
        notes: Changes of the reader, one line each.
    """

    choices: tuple[ChoiceRow, ...]
    forward: tuple[ForwardRow, ...]
    counts: ReadCounts = field(default_factory=lambda: ReadCounts({}))
    notes: tuple[str, ...] = ()

    @property
    def ids(self) -> list[str]:
        """Ids of all rows, repeated where rows repeat them."""
        return [row.id for row in self.choices] + [row.id for row in self.forward]

    @property
    def responses(self) -> Iterator[str | None]:
        """Responses of all rows and polls."""
        yield from (row.response for row in self.choices)
        yield from (poll.response for row in self.forward for poll in row.polls)


@dataclass(frozen=True)
class OtherGroundTruth:
    """A multiple-choice row whose letter is not the annotation's."""

    id: str
    task: str
    in_results: str
    in_annotations: str


@dataclass(frozen=True)
class ResultFacts:
    """How the rows of a model differ from the annotations.

    Attributes:
        rows: Number of rows by category.
        polls: Number of polls of forward rows.
        null_responses: Number of null responses.
        repeated_ids: Ids of several rows.
        unknown_ids: Ids of rows that the annotations lack.
        absent_ids: Ids of the annotations without a row, by task.
        other_ground_truths: Multiple-choice rows scored against another letter than the annotation's.
        other_golds: Ids of forward rows whose counts or types are not the annotation's.
        other_videos: Ids of rows that name another video than the annotation.
    """

    rows: dict[str, int]
    polls: int
    null_responses: int
    repeated_ids: tuple[str, ...]
    unknown_ids: tuple[str, ...]
    absent_ids: dict[str, tuple[str, ...]]
    other_ground_truths: tuple[OtherGroundTruth, ...]
    other_golds: tuple[str, ...]
    other_videos: tuple[str, ...]


def find_result_facts(annotations: OvoBenchAnnotations, results: OvoBenchResults) -> ResultFacts:
    """Compare the rows with the annotations, joined by id."""
    items = {str(item.id): item for item in annotations.items}
    given = set(results.ids)
    absent: dict[str, list[str]] = {}
    for name, item in items.items():
        if name not in given:
            absent.setdefault(item.task, []).append(name)
    rows = Counter({category: 0 for category in CATEGORIES})
    rows.update(row.category for row in results.choices)
    rows["forward"] += len(results.forward)
    videos = [(row.id, row.video) for row in results.choices] + [(row.id, row.video) for row in results.forward]
    return ResultFacts(
        rows=dict(rows),
        polls=sum(len(row.polls) for row in results.forward),
        null_responses=sum(response is None for response in results.responses),
        repeated_ids=tuple(find_repeated(results.ids)),
        unknown_ids=tuple(dict.fromkeys(name for name in results.ids if name not in items)),
        absent_ids={task: tuple(names) for task, names in absent.items()},
        other_ground_truths=tuple(_list_other_ground_truths(items, results)),
        other_golds=tuple(row.id for row in results.forward if _has_other_polls(items.get(row.id), row)),
        other_videos=tuple(
            name for name, video in videos if video and name in items and not video.endswith(items[name].video)
        ),
    )


def _list_other_ground_truths(
    items: Mapping[str, OvoBenchItem], results: OvoBenchResults
) -> Iterator[OtherGroundTruth]:
    for row in results.choices:
        item = items.get(row.id)
        if isinstance(item, ChoiceItem) and item.letter != row.ground_truth:
            yield OtherGroundTruth(id=row.id, task=row.task, in_results=row.ground_truth, in_annotations=item.letter)


def _has_other_polls(item: OvoBenchItem | None, row: ForwardRow) -> bool:
    if item is None or isinstance(item, ChoiceItem):
        return False
    return [gold_of_poll(poll) for poll in item.test_info] != [poll.gold for poll in row.polls]


def read_ovo_bench_results(
    paths: Sequence[Path], annotations: OvoBenchAnnotations, model: str | None = None
) -> OvoBenchResults:
    """Read the result files of one model.

    A one-element list in place of a response is read as its element, a number as its text, an absent response as null.
    A row that lacks what it is scored against gets it from the annotation of its id.

    Args:
        paths: Result files, the folder of a model, or the folder of all models.
        annotations: The benchmark's annotations.
        model: Name of the model's folder in the folder of all models.

    Raises:
        DataError: A file of another kind, or no row at all.
    """
    reader = _RowReader({str(item.id): item for item in annotations.items})
    files = list_result_files(paths, (".json",), model)
    for file in files:
        reader.read_file(file)
    if not reader.choices and not reader.forward:
        reasons = "; ".join(sorted(set(reader.refused))) or "no row"
        raise DataError(f"{list_names(files)}: no result of OVO-Bench can be read ({reasons})")
    read = [row.category for row in reader.choices] + ["forward"] * len(reader.forward)
    return OvoBenchResults(
        choices=tuple(reader.choices),
        forward=tuple(reader.forward),
        counts=ReadCounts.of(read, reader.refused),
        notes=tuple(f"{text}: {number}" for text, number in reader.changes.items()),
    )


@dataclass
class _RowReader:
    """Rows read so far, reasons of rows left out, and what was changed, with how often."""

    items: dict[str, OvoBenchItem]
    choices: list[ChoiceRow] = field(default_factory=list)
    forward: list[ForwardRow] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    changes: Counter[str] = field(default_factory=Counter)

    def read_file(self, file: Path) -> None:
        """Add the rows of a file."""
        value = read_json(file)
        known = [category for category in CATEGORIES if isinstance(value, dict) and category in value]
        if not known:
            raise DataError(
                f"{file}: not a result file of OVO-Bench (an object with {', '.join(CATEGORIES)} is expected)"
            )
        for category in known:
            rows = value[category] or []
            if not isinstance(rows, list):
                raise DataError(f"{file}: {category} is not a list")
            for index, row in enumerate(rows):
                self._read_row(category, row, f"row {index} of {category} in {file.name}")

    def _read_row(self, category: str, row: Any, place: str) -> None:
        if not isinstance(row, dict) or not isinstance(row.get("task"), str):
            self.refused.append("the row has no task")
        elif category == "forward":
            self._read_forward(row, place)
        else:
            self._read_choice(category, row, place)

    def _read_choice(self, category: str, row: dict[str, Any], place: str) -> None:
        name = _row_id(row, place)
        truth = row.get("ground_truth")
        if not isinstance(truth, str):
            item = self.items.get(name)
            if not isinstance(item, ChoiceItem):
                self.refused.append("the row has no ground_truth, and its id is none of a multiple-choice item")
                return
            truth = item.letter
            self.changes["rows without ground_truth, scored against the annotation's letter"] += 1
        response = self._read_response(row)
        self.choices.append(ChoiceRow(name, row["task"], category, _row_video(row), response, truth))

    def _read_forward(self, row: dict[str, Any], place: str) -> None:
        name, task = _row_id(row, place), row["task"]
        if CATEGORY_OF_TASK.get(task) != "forward":
            self.refused.append(f"the list forward holds a row of the task {task}, on which the published scorer stops")
            return
        polls = row.get("test_info")
        if not isinstance(polls, list) or not all(isinstance(poll, dict) for poll in polls):
            self.refused.append("the row has no list test_info")
            return
        golds = self._read_golds(name, task, polls)
        if golds is None:
            self.refused.append("a poll has neither count nor type, and the annotation has other polls")
            return
        read = [PollRow(gold, self._read_response(poll)) for gold, poll in zip(golds, polls, strict=True)]
        self.forward.append(ForwardRow(name, task, _row_video(row), tuple(read)))

    def _read_golds(self, name: str, task: str, polls: list[dict[str, Any]]) -> list[int] | None:
        """Return the gold number of each poll: its own number, else that of the annotation."""
        key = "count" if task == "REC" else "type"
        golds = [poll.get(key) for poll in polls]
        if all(isinstance(gold, int) for gold in golds):
            return [int(gold) for gold in golds if gold is not None]
        item = self.items.get(name)
        if item is None or isinstance(item, ChoiceItem) or item.task != task or len(item.test_info) != len(polls):
            return None
        self.changes[f"forward rows without {key}, scored against the annotation's"] += 1
        return [gold_of_poll(poll) for poll in item.test_info]

    def _read_response(self, holder: dict[str, Any]) -> str | None:
        if "response" not in holder:
            self.changes["absent responses, read as null; the published scorer stops on them"] += 1
            return None
        value = holder["response"]
        if isinstance(value, list) and len(value) == 1:
            self.changes["one-element lists, read as their element; the published scorer stops on them in REC"] += 1
            value = value[0]
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, int | float):
            self.changes["numbers, read as their text; the published scorer stops on them"] += 1
            return str(value)
        self.changes["responses that are neither text nor null, read as null"] += 1
        return None


def _row_id(row: dict[str, Any], place: str) -> str:
    value = row.get("id")
    return str(value) if isinstance(value, int | str) else place


def _row_video(row: dict[str, Any]) -> str:
    value = row.get("video")
    return value if isinstance(value, str) else ""
