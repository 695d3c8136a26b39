"""Rows of published annotation and result files: JSON lists, JSON lines and lines that are Python literals."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prospect_core.util.errors import DataError
from prospect_core.util.json_io import parse_json, read_limited_json_bytes
from prospect_eval.suites.published_files import read_number

#: characters of a line that is read as a Python literal
MOST_LITERAL_CHARACTERS = 1 << 20


@dataclass(frozen=True)
class ResultRow:
    """One entry of a file.

    Attributes:
        where: File and line, or file and place in its list, for messages.
        value: The entry as plain Python values.
        is_literal: The line is a Python literal that is not JSON too, such as ``{'pred': None}``.
    """

    where: str
    value: Any
    is_literal: bool = False


def read_result_rows(path: Path, literals: bool = False) -> list[ResultRow]:
    """The entries of a JSON list, of one JSON object, or of a file of JSON lines; blank lines are skipped.

    Args:
        path: The file.
        literals: Lines may be Python literals too, as some published runners write them. They are never evaluated.

    Raises:
        DataError: The file cannot be read; the line names file and line.
    """
    try:
        text = read_limited_json_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text") from error
    if (document := _read_document(text)) is not None:
        return [ResultRow(where, value) for where, value in _number_entries(path, document)]
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            rows.append(_read_line(line.strip(), f"{path}:{number}", literals))
    return rows


def _read_document(text: str) -> list[Any] | dict[str, Any] | None:
    """The file as one JSON list or object; None where it is not."""
    try:
        value = parse_json(text, "")
    except DataError:
        return None
    return value if isinstance(value, list | dict) else None


def _number_entries(path: Path, document: list[Any] | dict[str, Any]) -> Iterator[tuple[str, Any]]:
    if isinstance(document, dict):
        yield str(path), document
        return
    for number, value in enumerate(document, 1):
        yield f"{path}, entry {number}", value


def _read_line(line: str, where: str, literals: bool) -> ResultRow:
    try:
        return ResultRow(where, parse_json(line, where))
    except DataError:
        if not literals:
            raise
    return ResultRow(where, parse_python_literal(line, where), is_literal=True)


def parse_python_literal(text: str, where: str) -> Any:
    """A Python literal as JSON-like values. Nothing is evaluated; size, nesting and numbers are limited.

    Raises:
        DataError: Anything else than a literal of strings, finite numbers, lists, tuples, dictionaries, True, False, None.
    """
    if len(text) > MOST_LITERAL_CHARACTERS:
        raise DataError(f"{where}: has {len(text):,} characters; a line has at most {MOST_LITERAL_CHARACTERS:,}")
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise DataError(f"{where}: neither JSON nor a Python literal") from error
    if not _is_plain(value):
        raise DataError(f"{where}: a Python literal with values that JSON does not know")
    return value


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str | int | bool)


def read_seconds(value: Any) -> float | None:
    """A finite number as seconds; None for anything else, also for true and false."""
    return None if isinstance(value, bool) else read_number(value)


def read_time_span(value: Any) -> tuple[float, float] | None:
    """A list of two finite numbers as (start, end) in seconds; None for anything else."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    start, end = read_seconds(value[0]), read_seconds(value[1])
    return None if start is None or end is None else (start, end)


def describe_keys(value: Any) -> str:
    """Describe an unexpected entry for a message by its first keys or its type."""
    if isinstance(value, dict):
        return f"an object with the keys {', '.join(map(str, list(value)[:6])) or '(none)'}"
    return f"a {type(value).__name__}"


def quote_json(value: Any, most: int = 60) -> str:
    """A value in a message, shortened."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= most else f"{text[: most - 3]}..."
