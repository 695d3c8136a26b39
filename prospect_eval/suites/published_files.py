"""Reading of published benchmark files: entries of a known shape, with a count of those left out and the reason."""

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
#: names in a note or an error line
MOST_NAMES = 8


def convert_entry(entry: object, shape: type[T]) -> T | str:
    """The entry as a dataclass, or the reason why it is not one, the same for all places of a list.

    Keys that the dataclass does not name are ignored.
    """
    try:
        return msgspec.convert(entry, shape)
    except msgspec.ValidationError as error:
        return _PLACE_IN_LIST.sub("[...]", str(error))


def read_number(value: object) -> float | None:
    """A finite number as a float; None for anything else."""
    if not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def read_json_list(path: Path, what: str) -> list[Any]:
    """The list in a JSON file; a file of another kind is a `DataError` that says what is expected."""
    value = read_json(path)
    if not isinstance(value, list):
        raise DataError(f"{path}: not {what} (a JSON list is expected)")
    return value


def find_published_file(path: Path, names: Sequence[str]) -> Path:
    """The path itself, or in a folder the first of these relative names that is there."""
    if not path.is_dir():
        return path
    for name in names:
        if (path / name).is_file():
            return path / name
    raise DataError(f"{path}: holds none of {', '.join(names)}")


def list_result_files(paths: Sequence[Path], suffixes: Sequence[str], model: str | None = None) -> list[Path]:
    """Result files of one model, in a fixed order.

    Args:
        paths: Files, folders of files, or folders with one folder for each model.
        suffixes: File name endings that are read from a folder, such as ``.json``.
        model: The folder of the model in a folder of models.

    Raises:
        DataError: A path without any result file.
        UserError: A folder of several models where ``model`` is not given or unknown.
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
    """Names for a line of text: the first few, and how many others there are."""
    known = [str(name) for name in names]
    shown = ", ".join(known[:MOST_NAMES])
    others = len(known) - MOST_NAMES
    return f"{shown} and {others} more" if others > 0 else shown


def find_repeated(values: Iterable[T]) -> list[T]:
    """Values that occur more than once, each one time, in the order of their first occurrence."""
    return [value for value, number in Counter(values).items() if number > 1]
