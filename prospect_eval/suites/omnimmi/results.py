"""Reads OmniMMI prediction files and judge results: lines of annotation rows with ``pred``, or lists in file order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from prospect_core.util.errors import DataError
from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.omnimmi.annotations import (
    OmniMmiAnnotations,
    OmniMmiTask,
    find_omnimmi_task,
)
from prospect_eval.suites.omnimmi.official import AlertPrediction
from prospect_eval.suites.published_files import list_result_files
from prospect_eval.suites.result_rows import (
    ResultRow,
    describe_keys,
    read_result_rows,
    read_seconds,
    read_time_span,
)

#: between the video and the number of the item in the LLM judge's result files
_KEY_MARK = "##"


@dataclass(frozen=True)
class OmniMmiResults:
    """Predictions by the id of the item.

    Attributes:
        alerts: PA: alert times, one number, or None where the prediction is neither.
        replies: PT: the reply, or None where it is not a text.
        answers: SG: the answer to each question; None where a question has none.
        verdicts: SG: the LLM judge's reply to each turn, as text or as the dictionary that it holds.
        counts: Rows read by task, and rows left out with the reason.
        notes: Unusual facts about the files.
    """

    alerts: Mapping[str, AlertPrediction] = field(default_factory=dict)
    replies: Mapping[str, str | None] = field(default_factory=dict)
    answers: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)
    verdicts: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    counts: ReadCounts = field(default_factory=lambda: ReadCounts({}))
    notes: tuple[str, ...] = ()


def read_omnimmi_results(
    paths: Sequence[Path], annotations: OmniMmiAnnotations, model: str | None = None
) -> OmniMmiResults:
    """The predictions of one model.

    Three kinds of files are read: lines with an annotation row and its ``pred``; an object with ``pred`` or ``verdicts``
    for all items in the order of the annotations; and the LLM judge's ``results.json``. Lines are never evaluated.

    Args:
        paths: Files, or folders of them.
        annotations: The items that the predictions answer.
        model: The folder of the model in a folder of models.

    Raises:
        DataError: A file of another kind.
    """
    reader = _Reader(annotations)
    for file in list_result_files(paths, (".json", ".jsonl", ".txt"), model):
        rows = read_result_rows(file, literals=True)
        reader.read_file(file, rows)
    return reader.results()


def match_omnimmi_rows(rows: Sequence[ResultRow], annotations: OmniMmiAnnotations) -> OmniMmiResults:
    """The predictions of rows in the form of the prediction lines."""
    reader = _Reader(annotations)
    for row in rows:
        reader.read_row(row)
    return reader.results()


class _Reader:
    """Joins rows with items: by the video, for PA also by the question; equal keys in the order of the files."""

    def __init__(self, annotations: OmniMmiAnnotations) -> None:
        self.annotations = annotations
        self.waiting: dict[tuple[OmniMmiTask, str], list[str]] = defaultdict(list)
        self.known: set[tuple[OmniMmiTask, str]] = set()
        for task, key, item_id in _list_keys(annotations):
            self.waiting[task, key].append(item_id)
            self.known.add((task, key))
        self.spans = {item.id: (item.start, item.end) for item in annotations.alerts}
        self.alerts: dict[str, AlertPrediction] = {}
        self.replies: dict[str, str | None] = {}
        self.answers: dict[str, tuple[str | None, ...]] = {}
        self.verdicts: dict[str, tuple[Any, ...]] = {}
        self.read: list[str] = []
        self.refused: list[str] = []
        self.other_spans = 0

    def read_file(self, file: Path, rows: Sequence[ResultRow]) -> None:
        """The rows of one file.

        Raises:
            DataError: A file of another kind.
        """
        only = rows[0].value if len(rows) == 1 and isinstance(rows[0].value, dict) else {}
        if isinstance(only.get("pred"), list) and "video" not in only:
            self._read_in_order(file, only["pred"])
        elif isinstance(only.get("verdicts"), list):
            self._read_verdicts_in_order(file, only["verdicts"])
        elif only and all(_is_judged(value) for value in only.values()):
            self._read_judged(only)
        elif any(find_omnimmi_task(row.value) for row in rows):
            for row in rows:
                self.read_row(row)
        else:
            found = describe_keys(rows[0].value) if rows else "empty"
            raise DataError(
                f"{file}: no OmniMMI predictions, whose lines have 'video' and 'pred'; the first entry is {found}"
            )

    def read_row(self, row: ResultRow) -> None:
        """One prediction line."""
        task = find_omnimmi_task(row.value)
        if task is None:
            self.refused.append("line of another kind")
            return
        video = str(row.value["video"])
        key = (task, f"{video}\n{row.value.get('question', '')}" if task == "pa" else video)
        if not self.waiting.get(key):
            again = key in self.known
            self.refused.append(f"{task}: line that repeats an item" if again else f"{task}: line of an unknown item")
            return
        item_id = self.waiting[key].pop(0)
        self.read.append(task)
        if task == "pa":
            self.other_spans += read_time_span(row.value["answer"]) != self.spans[item_id]
            self.alerts[item_id] = read_alert_prediction(row.value.get("pred"))
        elif task == "pt":
            self.replies[item_id] = _text_or_none(row.value.get("pred"))
        else:
            turns = [turn for turn in row.value["qa"] if isinstance(turn, dict)]
            self.answers[item_id] = tuple(_text_or_none(turn.get("pred")) for turn in turns)

    def _read_in_order(self, file: Path, predictions: list[Any]) -> None:
        texts = any(isinstance(prediction, str) for prediction in predictions)
        ids = [item.id for item in (self.annotations.turn_taking if texts else self.annotations.alerts)]
        _check_length(file, predictions, ids)
        self._check_first(file, self.replies if texts else self.alerts)
        for item_id, prediction in zip(ids, predictions, strict=True):
            self.read.append("pt" if texts else "pa")
            if texts:
                self.replies[item_id] = _text_or_none(prediction)
            else:
                self.alerts[item_id] = read_alert_prediction(prediction)

    def _read_verdicts_in_order(self, file: Path, verdicts: list[Any]) -> None:
        ids = [item.id for item in self.annotations.grounding]
        _check_length(file, verdicts, ids)
        self._check_first(file, self.verdicts)
        for item_id, replies in zip(ids, verdicts, strict=True):
            self.read.append("sg verdict")
            self.verdicts[item_id] = tuple(replies) if isinstance(replies, list) else ()

    def _check_first(self, file: Path, found: Mapping[str, Any]) -> None:
        if found:
            raise DataError(f"{file}: holds predictions of a task that another file has too; give one of them")

    def _read_judged(self, judged: Mapping[str, Any]) -> None:
        """The LLM judge's ``results.json``: ``video##number`` -> [{"qa": [verdicts]}, the predictions]."""
        by_video: dict[str, list[str]] = defaultdict(list)
        for item in self.annotations.grounding:
            by_video[item.video.split(".mp4")[0]].append(item.id)
        for key in sorted(judged, key=_number_in_key):
            ids = by_video.get(key.rpartition(_KEY_MARK)[0])
            if not ids:
                self.refused.append("sg: verdicts of an unknown item")
                continue
            self.read.append("sg verdict")
            self.verdicts[ids.pop(0)] = tuple(judged[key][0]["qa"])

    def results(self) -> OmniMmiResults:
        """The rows read until now."""
        notes: list[str] = []
        if self.other_spans:
            notes.append(
                "PA: lines with another span than the annotation, where the published scorer takes that of the line:"
                f" {self.other_spans}"
            )
        found = OmniMmiResults(
            alerts=self.alerts,
            replies=self.replies,
            answers=self.answers,
            verdicts=self.verdicts,
            counts=ReadCounts.of(self.read, self.refused),
        )
        return replace(found, notes=tuple(notes))


def _list_keys(annotations: OmniMmiAnnotations) -> Iterator[tuple[OmniMmiTask, str, str]]:
    """(task, key, id) of every item."""
    for alert in annotations.alerts:
        yield "pa", f"{alert.video}\n{alert.question}", alert.id
    for item in annotations.turn_taking:
        yield "pt", item.video, item.id
    for grounding in annotations.grounding:
        yield "sg", grounding.video, grounding.id


def read_alert_prediction(value: Any) -> AlertPrediction:
    """Alert times, or one number; None where the value is neither."""
    if isinstance(value, list | tuple):
        times = [read_seconds(time) for time in value]
        return None if None in times else tuple(time for time in times if time is not None)
    return read_seconds(value)


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _check_length(file: Path, found: Sequence[Any], ids: Sequence[str]) -> None:
    if len(found) != len(ids):
        raise DataError(f"{file}: has {len(found)} predictions in file order; the annotations have {len(ids)} items")


def _is_judged(value: Any) -> bool:
    return (
        isinstance(value, list) and bool(value) and isinstance(value[0], dict) and isinstance(value[0].get("qa"), list)
    )


def _number_in_key(key: str) -> tuple[int, str]:
    number = key.rpartition(_KEY_MARK)[2]
    return (int(number) if number.isdecimal() else 0, key)
