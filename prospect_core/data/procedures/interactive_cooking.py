"""Qualcomm Interactive Cooking: instructions and feedback of an assistant on CaptainCook4D's recordings.

    prospect data procedures qualcomm-interactive-cooking-dataset --captaincook4d CaptainCook4D --output data/cooking

The folder has parquet files whose names hold the set (``main`` or ``advanced_planning``) and the split,
such as ``main/train-00000-of-00001.parquet`` or ``main_test.parquet``. A row is a recording with lists
of one length: ``output_texts``, ``output_timestamps`` (seconds), ``output_types``, ``output_actions``,
``remaining_plan``. A message becomes an assistant turn whose label is its type:

* ``instruction``: the next step,
* ``feedback_action_aligned_success``: a step was done,
* ``feedback_action_aligned_mistake_KIND_error``: a mistake, at the time at which it becomes visible,
* ``feedback_finish_all``: the end.

Other types are kept too. With CaptainCook4D's annotations, steps, occurrences and mistakes are those of
the same recording. Without them, an episode has no steps, and its mistakes are the messages about
mistakes. The other columns are in ``Episode.meta``, also ``recipe_graph`` of ``advanced_planning``.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prospect_core.data.dataset import Dataset
from prospect_core.data.procedures.captaincook4d import find_captaincook4d_video, make_captaincook4d_episodes
from prospect_core.data.procedures.captaincook4d_files import (
    find_captaincook4d_annotations,
    list_captaincook4d_files,
    read_captaincook4d_annotations,
)
from prospect_core.data.procedures.occurrence_events import PROCEDURE_FPS, count_procedure_frames
from prospect_core.data.procedures.published_rows import LeftOutRow, PublishedRows, open_published_rows
from prospect_core.timeline import Episode, Event, Mistake, Task, sort_timeline_events
from prospect_core.timeline.frame_times import exact_fraction
from prospect_core.util.errors import DataError, require_choice

INTERACTIVE_COOKING = "interactive_cooking"
#: sets of the publication: messages in the order of the recording, and with changes of the plan
COOKING_SETS = ("main", "advanced_planning")
#: names of the splits in file names
_SPLITS = {"train": "train", "validation": "val", "val": "val", "test": "test"}
_PATTERNS = ("*.parquet", "*/*.parquet", "*/*/*.parquet")
_COLUMNS = ("video_id", "activity_name", "output_texts", "output_timestamps", "output_types")
_MISTAKE = re.compile(r"mistake_(\w+?)(?:_error)?$")


@dataclass(frozen=True)
class CookingMessages:
    """A row: the messages of a recording.

    Attributes:
        video: Id of the recording.
        activity: Name of its activity.
        messages: (seconds, type, text) of each message, in the order of the row.
        kept: Values of the other columns, as JSON.
    """

    video: str
    activity: str
    messages: tuple[tuple[float, str, str], ...]
    kept: dict[str, str]


def find_interactive_cooking_files(folder: Path, message_set: str = "main") -> dict[str, list[Path]]:
    """Return the parquet files of a set by split: ``train``, ``val``, ``test``.

    Args:
        folder: The folder, searched with two levels of subfolders.
        message_set: One of `COOKING_SETS`.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(path for pattern in _PATTERNS for path in folder.glob(pattern)):
        name = path.relative_to(folder).as_posix().lower()
        split = re.search(r"(?:^|[/_\-.])(train|validation|val|test)(?:[/_\-.])", name)
        if split is not None and re.search(rf"(?:^|[/_\-.]){message_set}[/_\-.]", name):
            found.setdefault(_SPLITS[split[1]], []).append(path)
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def open_interactive_cooking(folder: Path) -> Dataset | None:
    """Open the set ``main``; return None for a folder with another layout.

    Steps and mistakes come from CaptainCook4D's annotations if the folder holds them too. The dataset
    is made in the cache folder on first use, and again after a file has changed.

    Raises:
        DataError: If a file is damaged.
    """
    files = find_interactive_cooking_files(folder)
    paths = [path for found in files.values() for path in found]
    if not paths or not _has_columns(paths[0]):
        return None
    root = find_captaincook4d_annotations(folder)
    annotations = list_captaincook4d_files(root) if root is not None else []
    return open_published_rows(
        INTERACTIVE_COOKING,
        folder,
        [*paths, *annotations],
        (),
        lambda: read_interactive_cooking(folder, captaincook4d=None if root is None else folder),
    )


def read_interactive_cooking(
    folder: Path, message_set: str = "main", captaincook4d: Path | None = None, fps: float = PROCEDURE_FPS
) -> PublishedRows:
    """Read the episodes of a set.

    Args:
        folder: Folder with the parquet files.
        message_set: One of `COOKING_SETS`.
        captaincook4d: Folder with CaptainCook4D's annotations and videos, if there is one.
        fps: Decision frames per second.

    Raises:
        UserError: If the set is unknown.
        DataError: If files are missing or damaged.
    """
    require_choice("--set", message_set, COOKING_SETS)
    files = find_interactive_cooking_files(folder, message_set)
    if not files:
        raise DataError(f"{folder}: holds no parquet file of the set {message_set}")
    videos = captaincook4d if captaincook4d is not None else folder
    recordings = _read_recordings(captaincook4d, fps)
    name = INTERACTIVE_COOKING if message_set == "main" else f"{INTERACTIVE_COOKING}_{message_set}"
    rows = {split: [row for path in paths for row in read_cooking_messages(path)] for split, paths in files.items()}
    every = [row for found in rows.values() for row in found]
    splits = {
        split: [
            replace(make_cooking_episode(row, recordings.get(row.video), videos, fps), dataset=name) for row in found
        ]
        for split, found in rows.items()
    }
    return PublishedRows(
        name=name,
        fps=fps,
        splits=splits,
        videos_root=videos,
        left_out=tuple(_left_out(every, recordings, captaincook4d is not None)),
        counts=count_cooking_messages(every),
        meta={"set": message_set},
    )


def read_cooking_messages(path: Path) -> list[CookingMessages]:
    """Read the rows of a parquet file.

    Raises:
        DataError: If the file is no parquet file, lacks a column, or a row has lists of different
            lengths or times that are not seconds.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: not a parquet file that can be read ({str(error).splitlines()[0]})") from error
    missing = [name for name in _COLUMNS if name not in table.column_names]
    if missing:
        raise DataError(f"{path}: lacks the column {missing[0]}; it has {', '.join(table.column_names)}")
    return [_messages(f"{path}: row {number}", row) for number, row in enumerate(table.to_pylist(), 1)]


def make_cooking_episode(
    row: CookingMessages, recording: Episode | None, videos: Path, fps: float = PROCEDURE_FPS
) -> Episode:
    """Return the episode of a row.

    Messages without text are left out. Messages after the end of the video come at its end; ``meta``
    then has the published times.

    Args:
        row: The messages.
        recording: CaptainCook4D's episode of the same recording; None if there is none.
        videos: Folder of the videos.
        fps: Decision frames per second.
    """
    meta = dict(row.kept)
    if recording is None:
        last = max((time for time, _, _ in row.messages), default=0.0)
        frames = count_procedure_frames(last + 1 / fps, fps)
        recording = Episode(
            id=row.video,
            video=find_captaincook4d_video(videos, row.video),
            fps=fps,
            start_frame=0,
            end_frame=frames,
            task=Task(" ".join(row.activity.split())),
            recording=row.video,
            mistakes=_message_mistakes(row),
        )
    end = float(recording.end_frame / exact_fraction(fps))
    if any(time > end for time, _, _ in row.messages):
        meta["output_timestamps"] = json.dumps([time for time, _, _ in row.messages])
    turns = [
        Event(f"A{number}", min(time, end), "assistant", text=text, labels=kind)
        for number, (time, kind, text) in enumerate(row.messages, 1)
        if text.strip()
    ]
    return replace(recording, events=sort_timeline_events([*recording.events, *turns]), meta={**recording.meta, **meta})


def count_cooking_messages(rows: Sequence[CookingMessages]) -> dict[str, Any]:
    """Return the numbers of recordings, activities and messages, and the messages by type."""
    types = Counter(kind for row in rows for _, kind, _ in row.messages)
    return {
        "totals": {
            "recordings": len(rows),
            "activities": len({row.activity for row in rows}),
            "messages": sum(types.values()),
            "messages_without_text": sum(not text.strip() for row in rows for _, _, text in row.messages),
            "messages_by_type": dict(sorted(types.items())),
        }
    }


def _read_recordings(folder: Path | None, fps: float) -> Mapping[str, Episode]:
    """Return CaptainCook4D's episodes by recording; empty without a folder."""
    if folder is None:
        return {}
    root = find_captaincook4d_annotations(folder)
    if root is None:
        raise DataError(f"{folder}: holds no annotations of CaptainCook4D")
    return make_captaincook4d_episodes(read_captaincook4d_annotations(root), folder, fps)


def _left_out(rows: Sequence[CookingMessages], recordings: Mapping[str, Episode], wanted: bool) -> list[LeftOutRow]:
    """Return the messages without text, and the recordings without the steps that were asked for."""
    out = []
    for row in rows:
        empty = sum(not text.strip() for _, _, text in row.messages)
        if empty:
            out.append(LeftOutRow(row.video, f"{empty} of {len(row.messages)} messages have no text"))
        if wanted and row.video not in recordings:
            out.append(LeftOutRow(row.video, "has no steps in CaptainCook4D's annotations; its messages are kept"))
    return out


def _messages(where: str, row: Mapping[str, Any]) -> CookingMessages:
    lists = {name: _list(where, name, row) for name in _COLUMNS[2:]}
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(f"{where}: its lists have different lengths ({shown})")
    texts, times, types = lists.values()
    return CookingMessages(
        video=str(row["video_id"]),
        activity=str(row["activity_name"] or ""),
        messages=tuple(
            (_seconds(where, time), str(kind or ""), str(text or ""))
            for time, kind, text in zip(times, types, texts, strict=True)
        ),
        kept={
            name: json.dumps(value, ensure_ascii=False, default=str)
            for name, value in row.items()
            if name not in _COLUMNS and value is not None
        },
    )


def _list(where: str, name: str, row: Mapping[str, Any]) -> list[Any]:
    value = row[name]
    if value is not None and not isinstance(value, list):
        raise DataError(f"{where}: {name} must be a list, not {type(value).__name__}")
    return value or []


def _seconds(where: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise DataError(f"{where}: output_timestamps has {value!r}; seconds from 0 are needed")
    return float(value)


def _message_mistakes(row: CookingMessages) -> tuple[Mistake, ...]:
    """Return the mistakes that messages report, named as in CaptainCook4D."""
    found = sorted(
        (time, f"{match[1].replace('_', ' ').title()} Error", text)
        for time, kind, text in row.messages
        if (match := _MISTAKE.search(kind)) is not None
    )
    return tuple(
        Mistake(id=f"M{number}", tag=tag, span=(time, time), description=text)
        for number, (time, tag, text) in enumerate(found, 1)
    )


def _has_columns(path: Path) -> bool:
    """Check whether a parquet file has the columns of a row; False for a file that is not readable."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return set(_COLUMNS) <= set(pq.read_schema(path).names)
    except (OSError, pa.ArrowException):
        return False
