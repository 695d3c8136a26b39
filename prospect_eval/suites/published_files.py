"""Reading of published benchmark files, whose invalid entries are left out and counted by reason."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from prospect_core.util.errors import DataError, UserError, did_you_mean
from prospect_core.util.json_io import read_json

T = TypeVar("T")
_PLACE_IN_LIST = re.compile(r"\[\d+\]")
#: maximum number of names in a note or a message
MOST_NAMES = 8


def convert_entry(entry: object, shape: type[T]) -> T | str:
    """Convert an entry to a dataclass. Keys that the dataclass does not have are ignored.

    Returns:
        The dataclass, or the reason why the entry is invalid. The reason names no index of a list,
        so that equal faults give equal reasons.
    """
    try:
        return msgspec.convert(entry, shape)
    except msgspec.ValidationError as error:
        return _PLACE_IN_LIST.sub("[...]", str(error))


def read_number(value: object) -> float | None:
    """Return a finite number as a float; None for all other values."""
    if not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def read_json_list(path: Path, what: str) -> list[Any]:
    """Return the list in a JSON file.

    Args:
        path: The file.
        what: Description of the expected contents, for the message.

    Raises:
        DataError: The file contains no list.
    """
    value = read_json(path)
    if not isinstance(value, list):
        raise DataError(f"{path}: not {what} (a JSON list is expected)")
    return value


def find_published_file(path: Path, names: Sequence[str]) -> Path:
    """Return the path itself, or for a folder the first of the relative names that exists in it.

    Raises:
        DataError: The folder contains none of the names.
    """
    if not path.is_dir():
        return path
    for name in names:
        if (path / name).is_file():
            return path / name
    raise DataError(f"{path}: holds none of {', '.join(names)}")


def list_result_files(paths: Sequence[Path], suffixes: Sequence[str], model: str | None = None) -> list[Path]:
    """Return the result files of one model, in a fixed order.

    Args:
        paths: Files, folders of files, or folders with one folder for each model.
        suffixes: File name endings that are read from a folder, such as ``.json``.
        model: Folder of the model in a folder of models.

    Raises:
        DataError: A path without a result file.
        UserError: A folder of several models, and ``model`` is missing or unknown.
    """
    found: list[Path] = []
    for path in paths:
        found += _list_folder(path, suffixes, model) if path.is_dir() else [path]
    return found


def _list_folder(path: Path, suffixes: Sequence[str], model: str | None) -> list[Path]:
    files = _files_of(path, suffixes)
    folders = sorted(folder for folder in path.iterdir() if folder.is_dir() and _files_of(folder, suffixes))
    names = [folder.name for folder in folders]
    if model in names:
        return _files_of(path / model, suffixes)
    if files:
        return files
    if model is not None and names:
        raise UserError(f"{path}: holds no model {model!r}, only {list_names(names)}{did_you_mean(model, names)}")
    if len(folders) == 1:
        return _files_of(folders[0], suffixes)
    if folders:
        raise UserError(f"{path}: holds several models; name one of {list_names(names)}")
    raise DataError(f"{path}: holds no result file ({', '.join(suffixes)})")


def _files_of(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file() and file.suffix in suffixes)


def list_names(names: Iterable[object]) -> str:
    """Return the first `MOST_NAMES` names and the number of others as text."""
    known = [str(name) for name in names]
    shown = ", ".join(known[:MOST_NAMES])
    others = len(known) - MOST_NAMES
    return f"{shown} and {others} more" if others > 0 else shown


def find_repeated(values: Iterable[T]) -> list[T]:
    """Return the values that occur more than once, in the order of their first occurrence."""
    return [value for value, number in Counter(values).items() if number > 1]
