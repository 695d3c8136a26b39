"""Reading of published JSON files into dataclasses; other keys are ignored, wrong values are one line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import msgspec

from prospect_core.util.errors import DataError
from prospect_core.util.json_io import read_json

T = TypeVar("T")


def read_annotation_json(path: Path, shape: type[T]) -> T:
    """Read a JSON file of a known shape.

    Keys that the shape does not have are ignored. Whole numbers are read as seconds too.

    Args:
        path: The file.
        shape: A dataclass, or a list or dictionary of dataclasses.

    Raises:
        DataError: If the file cannot be read or has another shape; the message names the file and
            the place in it.
    """
    value = read_json(path)
    try:
        return msgspec.convert(value, shape)
    except (msgspec.ValidationError, OverflowError) as error:
        raise DataError(f"{path}: {error}; the file is damaged or from another program") from error


def require_ordered_annotation_spans(where: str, spans: Iterable[tuple[str, float, float]]) -> None:
    """Refuse spans that end before they start.

    Args:
        where: Start of the message.
        spans: (what, start, end) of each, in seconds.

    Raises:
        DataError: Names the first such span.
    """
    for what, start, end in spans:
        if not 0 <= start <= end:
            raise DataError(f"{where}: {what} runs from {start:g} to {end:g} s; 0 <= start <= end is needed")


def write_annotation_labels(**labels: object) -> str:
    """Return labels as ``name=value; name=value``; None and empty values are omitted.

    Args:
        labels: Value by name; truth values are written as ``true`` and ``false``.
    """
    given = {name: value for name, value in labels.items() if value not in (None, "", [], ())}
    return "; ".join(f"{name}={_label_text(value)}" for name, value in given.items())


def _label_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else " ".join(str(value).split())
