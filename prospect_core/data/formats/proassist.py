"""ProAssist's formats under one name: import and export of rows and clips, and matching windows.

    prospect data import proassist_prepared.jsonl --output data/assembly

Fields that an `Episode` has no place for are kept in ``meta["origin"]``
(`prospect_core.data.formats.source_row`), so `episode_to_proassist_row` and
`episode_to_proassist_dst` return the row that was read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prospect_core.data.formats.proassist_dialogs import episodes_from_proassist_dialogs, is_proassist_dialogs_entry
from prospect_core.data.formats.proassist_dst import (
    episode_from_proassist_dst,
    episode_to_proassist_dst,
    is_proassist_dst_clip,
)
from prospect_core.data.formats.proassist_names import participant_from_proassist_names
from prospect_core.data.formats.proassist_rows import (
    continue_proassist_row,
    episode_from_proassist_row,
    episode_to_proassist_row,
)
from prospect_core.timeline import Episode, Step, TimelineError
from prospect_core.util.errors import DataError, UserError
from prospect_core.util.json_io import parse_json, read_limited_json_bytes

__all__ = [
    "episode_from_proassist_dst",
    "episode_from_proassist_row",
    "episode_to_proassist_dst",
    "episode_to_proassist_row",
    "parse_proassist_recipe_steps",
    "participant_from_proassist_names",
    "proassist_matching_window",
    "read_proassist_episodes",
]

#: (late, early) tolerance of a prediction in seconds; the first key that a dataset's name
#: contains applies
WINDOWS_S: dict[str, tuple[float, float]] = {
    "narration": (2.5, 2.5),
    "ego4d": (4.0, 8.5),
    "epickitchens": (1.5, 3.0),
    "holoassist": (1.5, 2.5),
    "egoexolearn": (2.0, 3.5),
    "assembly101": (2.0, 4.0),
    "wtag": (3.0, 6.0),
}
OTHER_WINDOW_S = (2.5, 2.5)
_STEP_LINE = re.compile(r"^\s*(\d+)[.)]\s+(.+?)\s*$")


def proassist_matching_window(dataset: str) -> tuple[float, float]:
    """Return ProAssist's matching window (late, early) in seconds for a dataset's name."""
    name = dataset.lower()
    return next((window for key, window in WINDOWS_S.items() if key in name), OTHER_WINDOW_S)


def read_proassist_episodes(path: Path) -> list[Episode]:
    """Read the episodes of a file with prepared rows, DST clips or generated dialogues.

    Raises:
        DataError: If a row cannot be read; the message names file, row and field.
    """
    try:
        text = read_limited_json_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text") from error
    episodes: list[Episode] = []
    for where, row in _rows(path, text):
        try:
            read = [episode.validate() for episode in _read(row)]
        except (TimelineError, UserError) as error:
            raise DataError(f"{where}: {error}") from error
        except (KeyError, TypeError, AttributeError, ValueError, IndexError, ArithmeticError) as error:
            what = f"no field {error}" if isinstance(error, KeyError) else str(error)
            raise DataError(
                f"{where}: not a ProAssist prepared row, DST clip or generated dialogue ({what})"
            ) from error
        for episode in read:
            before = episodes[-1] if episodes else None
            episodes.append(continue_proassist_row(before, episode))
    if not episodes:
        raise DataError(f"{path}: holds no row")
    return episodes


def _read(row: dict[str, Any]) -> list[Episode]:
    if is_proassist_dialogs_entry(row):
        return episodes_from_proassist_dialogs(row)
    return [episode_from_proassist_dst(row) if is_proassist_dst_clip(row) else episode_from_proassist_row(row)]


def parse_proassist_recipe_steps(knowledge: str) -> tuple[Step, ...]:
    """Parse the numbered lines of a recipe as steps ``S1``, ``S2``, ..."""
    found = [match for line in knowledge.splitlines() if (match := _STEP_LINE.match(line))]
    return tuple(Step(f"S{match[1]}", match[2]) for match in found)


def _rows(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if path.suffix.lower() == ".jsonl":
        numbered = [(f"{path}: row {n}", line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    else:
        numbered = [(str(path), text)]
    for where, piece in numbered:
        value = parse_json(piece, where)
        rows = value if isinstance(value, list) else [value]
        for index, row in enumerate(rows):
            place = f"{where}: entry {index}" if isinstance(value, list) else where
            if not isinstance(row, dict):
                raise DataError(f"{place}: a JSON object is needed, not {type(row).__name__}")
            yield place, row
