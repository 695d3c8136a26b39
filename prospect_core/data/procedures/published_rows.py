"""From episodes of a published folder to a dataset: the rows are written once, the videos stay in place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prospect_core.data.dataset import Dataset, write_dataset
from prospect_core.timeline import Episode, TimelineError
from prospect_core.util.atomic import atomic_folder
from prospect_core.util.cache_dir import cache_dir
from prospect_core.util.errors import DataError, UserError

#: file that lists what is not in the dataset, with reasons
LEFT_OUT_ROWS = "left_out.jsonl"
#: increase this when the conversion of published annotations changes
ROWS_VERSION = 1


@dataclass(frozen=True)
class LeftOutRow:
    """An annotation that is not in the dataset, and why."""

    id: str
    why: str


@dataclass(frozen=True)
class PublishedRows:
    """Episodes read from a published folder.

    Attributes:
        name: Name of the dataset.
        fps: Decision frames per second.
        splits: Episodes of each split.
        videos_root: Folder of the videos.
        left_out: What is not in the dataset.
        counts: Counts of everything that was read.
        meta: Further entries of ``dataset.json``, such as the choice of splits.
    """

    name: str
    fps: float
    splits: dict[str, list[Episode]]
    videos_root: Path
    left_out: tuple[LeftOutRow, ...] = ()
    counts: dict[str, Any] = field(default_factory=dict)
    meta: Mapping[str, str] = field(default_factory=dict)


def write_published_rows(rows: PublishedRows, output: Path, digest_videos: bool) -> Dataset:
    """Write a dataset of episodes; splits without episodes are omitted.

    Args:
        rows: The episodes.
        output: Folder to create.
        digest_videos: Whether to store the digests of the videos, which reads them completely.

    Raises:
        UserError: If the folder exists.
        DataError: If there is no episode, or one contradicts itself.
    """
    splits = {split: episodes for split, episodes in rows.splits.items() if episodes}
    if not splits:
        raise DataError(f"{rows.videos_root}: no episode to read for {rows.name}")
    with atomic_folder(output) as scratch:
        lines = (json.dumps(one.__dict__, ensure_ascii=False) + "\n" for one in rows.left_out)
        (scratch / LEFT_OUT_ROWS).write_text("".join(lines), encoding="utf-8")
        try:
            write_dataset(
                scratch,
                rows.name,
                "1",
                rows.fps,
                splits,
                "read from published annotations",
                meta={**rows.meta, "left_out": str(len(rows.left_out))},
                videos_root=str(rows.videos_root.resolve()),
                digest_videos=digest_videos,
            )
        except TimelineError as error:
            raise DataError(f"{rows.videos_root}: {error}") from error
    return Dataset.open(output)


def open_published_rows(
    name: str, folder: Path, files: Sequence[Path], video_folders: Sequence[str], read: Callable[[], PublishedRows]
) -> Dataset:
    """Open the dataset of a published folder from the cache folder.

    The rows are made on first use, and again after an annotation file has changed or videos were
    added or removed.

    Args:
        name: Name of the publication.
        folder: The folder.
        files: Its annotation files.
        video_folders: Relative folders in which videos can lie.
        read: Reads the episodes.
    """
    state = _digest_state(folder, [*files, *_list_videos(folder, video_folders)], len(files))
    root = cache_dir() / f"{name}-{ROWS_VERSION}-{state}"
    if not root.exists():
        try:
            return write_published_rows(read(), root, digest_videos=False)
        except (OSError, UserError):
            if not root.exists():  # if another process made it in the meantime, that dataset is the same
                raise
    return Dataset.open(root)


def find_published_video(root: Path, candidates: Sequence[str]) -> str:
    """Return the first relative path of a video that exists, otherwise the first one."""
    return next((path for path in candidates if (root / path).is_file()), candidates[0])


def _list_videos(folder: Path, video_folders: Iterable[str]) -> list[Path]:
    return sorted(path for name in video_folders for path in (folder / name).glob("*.mp4"))


def _digest_state(folder: Path, files: Sequence[Path], annotations: int) -> str:
    """Digest the paths of files, and the sizes and times of the first ones, the annotations."""
    digest = hashlib.sha256(str(folder.resolve()).encode())
    for number, path in enumerate(files):
        status = path.stat()
        state = f"/{status.st_size}/{status.st_mtime_ns}" if number < annotations else ""
        digest.update(f"{path}{state}\n".encode())
    return digest.hexdigest()[:16]
