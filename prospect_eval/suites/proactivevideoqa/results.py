"""Reads ProactiveVideoQA predictions (``records`` of a question), tables of them, and the LLM judge's replies."""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prospect_core.util.errors import DataError
from prospect_core.util.json_io import parse_json, read_limited_json_bytes
from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.proactivevideoqa.annotations import ProactiveVideoQAAnnotations
from prospect_eval.suites.proactivevideoqa.official import TimedReply
from prospect_eval.suites.published_files import list_result_files
from prospect_eval.suites.result_rows import ResultRow, describe_keys, read_result_rows, read_time_span

#: characters of a table's cell; the predictions of one question stand in one
MOST_CELL_CHARACTERS = 1 << 26
_TABLES = {".tsv": "\t", ".csv": ","}
_BOOKS = (".xlsx", ".xls")


@dataclass(frozen=True)
class ProactiveVideoQAResults:
    """Predictions by the id of the question.

    Attributes:
        replies: The replies, in the order of the records; empty for a question without a reply.
        verdicts: The LLM judge's replies by ``question_id=turn=time``.
        counts: Rows and records read, and those left out with the reason.
        notes: Unusual facts about the files.
    """

    replies: Mapping[str, tuple[TimedReply, ...]] = field(default_factory=dict)
    verdicts: Mapping[str, str] = field(default_factory=dict)
    counts: ReadCounts = field(default_factory=lambda: ReadCounts({}))
    notes: tuple[str, ...] = ()


def read_proactivevideoqa_results(
    paths: Sequence[Path], annotations: ProactiveVideoQAAnnotations, model: str | None = None
) -> ProactiveVideoQAResults:
    """The predictions of one model, with the LLM judge's replies where the paths hold them.

    Four kinds of rows are read: ``{question_id, records}``; one record with its ``question_id``; a table with the column
    ``prediction``; and an LLM judge's ``{custom_id, content}``.

    Args:
        paths: Files, or folders of them.
        annotations: The questions that the predictions answer.
        model: The folder of the model in a folder of models.

    Raises:
        DataError: A file of another kind.
    """
    reader = _Reader(annotations)
    for file in list_result_files(paths, (".json", ".jsonl", *_TABLES, *_BOOKS), model):
        if file.suffix in _BOOKS:
            raise DataError(f"{file}: a spreadsheet; save the predictions as TSV (PRED_FORMAT=tsv in VLMEvalKit)")
        rows = _read_table(file) if file.suffix in _TABLES else read_result_rows(file)
        if not any(_find_kind(row.value) for row in rows):
            found = describe_keys(rows[0].value) if rows else "empty"
            raise DataError(
                f"{file}: no ProactiveVideoQA predictions, whose rows have 'question_id' and 'records'; the first row is"
                f" {found}"
            )
        reader.read_rows(rows)
    return reader.results()


def match_proactivevideoqa_rows(
    rows: Iterable[ResultRow], annotations: ProactiveVideoQAAnnotations
) -> ProactiveVideoQAResults:
    """The predictions of rows of any of the four kinds."""
    reader = _Reader(annotations)
    reader.read_rows(rows)
    return reader.results()


def _find_kind(value: Any) -> str | None:
    if not isinstance(value, dict):
        return None
    if "custom_id" in value:
        return "verdict"
    if "prediction" in value:
        return "table"
    if "records" in value:
        return "records"
    return "record" if {"question_id", "video_span"} <= value.keys() else None


class _Reader:
    def __init__(self, annotations: ProactiveVideoQAAnnotations) -> None:
        self.known = {question.id for question in annotations.questions}
        self.replies: dict[str, list[TimedReply]] = defaultdict(list)
        self.verdicts: dict[str, str] = {}
        self.read: list[str] = []
        self.refused: list[str] = []
        self.whole_rows: Counter[str] = Counter()

    def read_rows(self, rows: Iterable[ResultRow]) -> None:
        """The rows of one file."""
        for row in rows:
            kind = _find_kind(row.value)
            if kind == "verdict":
                self._read_verdict(row.value)
            elif kind == "table":
                self._read_cell(row)
            elif kind == "records":
                self._read_whole(str(row.value.get("question_id", "")), row.value["records"])
            elif kind == "record":
                self._read_records(str(row.value["question_id"]), [row.value])
            else:
                self.refused.append("row of another kind")

    def _read_verdict(self, value: dict[str, Any]) -> None:
        content = value.get("content")
        if content is None:
            content = _batch_content(value)
        self.read.append("verdict")
        self.verdicts[str(value["custom_id"])] = content if isinstance(content, str) else ""

    def _read_cell(self, row: ResultRow) -> None:
        """A cell of JSON; one that cannot be read is silence, as in the published scorer."""
        question_id = str(row.value.get("question_id", ""))
        cell = row.value["prediction"]
        try:
            prediction = cell if isinstance(cell, dict) else parse_json(str(cell), row.where)
        except DataError:
            prediction = None
        if not isinstance(prediction, dict):
            self.refused.append("prediction that is not JSON: counts as silence")
            return
        self._read_whole(str(prediction.get("question_id", question_id)), prediction.get("records", []))

    def _read_whole(self, question_id: str, records: Any) -> None:
        """All records of a question."""
        self.whole_rows[question_id] += 1
        self._read_records(question_id, records)

    def _read_records(self, question_id: str, records: Any) -> None:
        if question_id not in self.known:
            self.refused.append("predictions of an unknown question")
            return
        if not isinstance(records, list):
            self.refused.append("question without a list of records: counts as silence")
            return
        self.read.append("row")
        replies = self.replies[question_id]
        for record in records:
            reply = _read_reply(record)
            if isinstance(reply, TimedReply):
                self.read.append("reply")
                replies.append(reply)
            elif reply:
                self.refused.append(reply)

    def results(self) -> ProactiveVideoQAResults:
        """The rows read until now."""
        repeated = sum(number > 1 for question_id, number in self.whole_rows.items() if question_id in self.known)
        notes = [f"questions with several rows, whose replies are joined, as published: {repeated}"] if repeated else []
        return ProactiveVideoQAResults(
            replies={question_id: tuple(replies) for question_id, replies in self.replies.items()},
            verdicts=self.verdicts,
            counts=ReadCounts.of(self.read, self.refused),
            notes=tuple(notes),
        )


def _batch_content(value: dict[str, Any]) -> Any:
    """The text in a row of a batch of chat completions."""
    try:
        return value["response"]["body"]["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        return None


def _read_reply(record: Any) -> TimedReply | str:
    """The reply of a record; an empty text where it is silence, or why the record cannot be read."""
    if not isinstance(record, dict):
        return "record of another kind"
    answerable = record.get("answerable", "")
    if not isinstance(answerable, str):
        return "record whose 'answerable' is not a text"
    text = record.get("model_response")
    if answerable.lower() != "yes" or not text:
        return ""
    if not isinstance(text, str):
        return "reply that is not a text"
    span = read_time_span(record.get("video_span"))
    return "reply without a time" if span is None else TimedReply(span[1], text)


def _read_table(file: Path) -> list[ResultRow]:
    """The rows of a table with a header."""
    try:
        text = read_limited_json_bytes(file).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 text") from error
    limit = csv.field_size_limit(MOST_CELL_CHARACTERS)
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=_TABLES[file.suffix]))
    except csv.Error as error:
        raise DataError(f"{file}: not a table ({error})") from error
    finally:
        csv.field_size_limit(limit)
    return [ResultRow(f"{file}, row {number}", row) for number, row in enumerate(rows, 1)]
