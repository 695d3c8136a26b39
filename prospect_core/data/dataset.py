"""Datasets on disk: videos as files, one JSONL row per episode, and an index file ``dataset.json``.

    dataset.json      name, version, fps, splits (file, episodes, sha256), videos (sha256; null when absent)
    test.jsonl ...    one `prospect_core.timeline.Episode` per row
    videos/...        the videos that the rows name

Paths of videos are relative to the dataset, or to ``videos_root`` if ``dataset.json`` has it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from pkgutil import resolve_name
from typing import ClassVar

from prospect_core.data.episode_ids import find_repeated_episode_id
from prospect_core.data.frame_format import FrameFormat
from prospect_core.data.jsonl_index import (
    EpisodeOrHeader,
    LazyEpisodes,
    open_jsonl_index,
    read_jsonl_index_rows,
    store_jsonl_index,
)
from prospect_core.data.video import FrameSource, open_video_frames
from prospect_core.data.video_packets import find_missing_video_packets
from prospect_core.timeline import Episode
from prospect_core.util.atomic import write_atomic
from prospect_core.util.errors import DataError, did_you_mean
from prospect_core.util.file_digest import digest_file, digest_file_content
from prospect_core.util.json_io import digest_json, dump_json, load_json

SCHEMA = 1
#: problem of a file whose content no longer matches dataset.json
CHANGED = "its sha256 differs from the one in dataset.json"
#: functions that open a folder without ``dataset.json``; each returns None for a folder that it
#: does not know
OPENERS = (
    "prospect_core.data.formats.proassist_tree:open_proassist_tree",
    "prospect_core.data.procedures.interactive_cooking:open_interactive_cooking",
    "prospect_core.data.procedures.captaincook4d:open_captaincook4d",
    "prospect_core.data.procedures.goalstep:open_goalstep",
)


@dataclass(frozen=True)
class SplitInfo:
    """One split: its file inside the dataset, number of episodes and sha256."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}
    file: str
    episodes: int
    sha256: str


@dataclass(frozen=True)
class DatasetInfo:
    """The contents of ``dataset.json``."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}
    schema: int
    name: str
    version: str
    fps: float
    splits: dict[str, SplitInfo]
    videos: dict[str, str | None]
    made_by: str = ""
    meta: dict[str, str] = field(default_factory=dict)
    #: folder of the rows' videos if they are outside the dataset; only the dataset's owner
    #: sets it
    videos_root: str = ""


@dataclass(frozen=True)
class Dataset:
    """An opened dataset, which reads rows on demand.

    Attributes:
        root: Folder of the dataset.
        info: Contents of its ``dataset.json``.
    """

    root: Path
    info: DatasetInfo

    @staticmethod
    def open(root: str | Path) -> Dataset:
        """Open a dataset folder, or a published folder that one of `OPENERS` knows.

        Raises:
            DataError: If the folder is neither, or ``dataset.json`` cannot be read.
        """
        root = Path(root)
        file = root / "dataset.json"
        if not file.is_file():
            for name in OPENERS:
                opened: Dataset | None = resolve_name(name)(root)
                if opened is not None:
                    return opened
            raise DataError(
                f"{root}: not a dataset (no dataset.json); make one with `prospect data import` or `prospect data workbench`"
            )
        info = load_json(DatasetInfo, file.read_bytes(), str(file))
        if info.schema != SCHEMA:
            raise DataError(f"{file}: schema {info.schema}, this version reads {SCHEMA}")
        return Dataset(root, info)

    @property
    def splits(self) -> list[str]:
        """Names of the splits."""
        return list(self.info.splits)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of ``dataset.json``, which holds the digests of all rows and videos.

        The path ``videos_root`` is excluded, so equal data have equal digests on every machine.
        """
        if not self.info.videos_root:
            return digest_file(self.root / "dataset.json")
        return digest_json(replace(self.info, videos_root=""))

    def split_file(self, split: str) -> Path:
        """Return the file of a split.

        Raises:
            DataError: If there is no such split.
        """
        if split not in self.info.splits:
            raise DataError(
                f"{self.root}: no split {split!r}; it has {', '.join(self.splits)}{did_you_mean(split, self.splits)}"
            )
        return self.inside(self.info.splits[split].file)

    def episodes(self, split: str, check: bool = True) -> Iterator[Episode]:
        """Iterate over the episodes of a split.

        Args:
            split: Name of the split.
            check: Whether to validate each episode.

        Raises:
            DataError: At the first invalid row, or if the rows differ from the digest in
                ``dataset.json``.
        """
        self._require_same_rows(split)
        return (episode for _, _, _, episode in read_jsonl_index_rows(self.split_file(split), check))

    def rows(self, split: str, workers: int = 1) -> LazyEpisodes:
        """Open the episodes of a split for access by number; each is read on demand.

        All rows are checked when the file is opened for the first time (`open_jsonl_index`).

        Args:
            split: Name of the split.
            workers: Number of processes for that check.

        Raises:
            DataError: If a row is invalid, two rows have the same id, or the rows differ from the
                digest in ``dataset.json``.
        """
        self._require_same_rows(split)
        rows = open_jsonl_index(self.split_file(split), workers)
        rows.require_single_ids()
        return rows

    def _require_same_rows(self, split: str) -> None:
        file = self.split_file(split)
        if not file.is_file():
            raise DataError(f"{file}: no such file")
        if digest_file_content(file) != self.info.splits[split].sha256:
            # an error about an unreadable row is more useful than one about a changed
            # file
            for _ in read_jsonl_index_rows(file):
                pass
            raise DataError(f"{file}: {CHANGED}; {self._remedy}")

    def require_same_videos(self, clips: Iterable[EpisodeOrHeader]) -> None:
        """Refuse videos that have changed since ``dataset.json`` was written.

        The check skips videos that are absent now or were absent then. It also skips unreadable
        videos: their reader reports them, so that only their own episodes fail.

        Raises:
            DataError: Names the first changed video.
        """
        for video in dict.fromkeys(clip.video for clip in clips):
            file, stated = self.video(video), self.info.videos.get(video)
            if stated is not None and file.is_file() and digest_file_content(file) != stated:
                try:
                    open_video_frames(file, self.info.fps, FrameFormat(16))
                except DataError:
                    continue
                raise DataError(f"{file}: {CHANGED}; {self._remedy}")

    def missing_parts(self, clips: Iterable[EpisodeOrHeader]) -> list[str]:
        """Describe each video with a missing part, one line per video (`find_missing_video_packets`).

        Unreadable videos are skipped; their reader reports them.
        """
        lines = []
        for video in dict.fromkeys(clip.video for clip in clips):
            file = self.video(video)
            if file.suffix == ".arrow" or not file.is_file():
                continue
            with suppress(DataError):
                if missing := find_missing_video_packets(file):
                    lines.append(f"{file}: {missing}")
        return lines

    @property
    def _remedy(self) -> str:
        return f"restore the file, import it again, or accept the change with `prospect data validate {self.root} --accept`"

    def inside(self, relative: str) -> Path:
        """Return a path inside the dataset.

        Raises:
            DataError: If the path leaves the dataset (``..``, absolute, a link to the outside).
        """
        return _inside(self.root, relative)

    def video(self, relative: str) -> Path:
        """Return the path of a video that a row names."""
        return _inside(Path(self.info.videos_root) if self.info.videos_root else self.root, relative)

    def frame_source(self, episode: EpisodeOrHeader, shape: FrameFormat) -> FrameSource:
        """Open the video of an episode.

        Args:
            episode: The episode.
            shape: Size and framing of the frames.

        Raises:
            DataError: If the video is missing, unreadable or shorter than the episode.
        """
        path = self.video(episode.video)
        source = open_video_frames(path, episode.fps, shape)
        if source.num_frames < episode.end_frame:
            raise DataError(
                f"{path}: has {source.num_frames} frames at {episode.fps:g} fps, episode {episode.id} needs"
                f" {episode.end_frame}; shorten the annotation or replace the video by the complete one"
            )
        return source


def _inside(root: Path, relative: str) -> Path:
    try:
        inside = (root / relative).resolve().is_relative_to(root.resolve())
        # this call fails for names that no file system accepts
        (root / relative).is_file()
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"{root}: {relative!r} is not a valid path ({error})") from error
    if not inside:
        raise DataError(f"{root}: path {relative!r} leaves the dataset folder")
    return root / relative


def write_dataset(
    root: Path,
    name: str,
    version: str,
    fps: float,
    splits: Mapping[str, Iterable[Episode]],
    made_by: str = "",
    meta: Mapping[str, str] | None = None,
    videos_root: str = "",
    digest_videos: bool = True,
) -> Dataset:
    """Write rows and ``dataset.json`` next to the videos under ``root``.

    Args:
        root: Folder of the dataset.
        name: Name of the dataset.
        version: Version of the dataset.
        fps: Frames per second of all episodes.
        splits: Episodes of each split.
        made_by: Origin of the dataset, for readers.
        meta: Further entries of ``dataset.json``.
        videos_root: Folder of the videos if it is not ``root``.
        digest_videos: Whether to store the digests of videos. Without them, the dataset does not
            depend on which videos are present, and replaced videos are not detected.

    Raises:
        TimelineError: If an episode is invalid.
        DataError: If two episodes have the same id.
    """
    root.mkdir(parents=True, exist_ok=True)
    infos, videos = {}, set()
    checked = {split: [episode.validate() for episode in episodes] for split, episodes in splits.items()}
    _require_single_ids(root, checked)
    for split, rows in checked.items():
        lines = [dump_json(row) + "\n" for row in rows]
        text = "".join(lines)
        write_atomic(root / f"{split}.jsonl", text)
        store_jsonl_index(root / f"{split}.jsonl", rows, [line.encode() for line in lines])
        infos[split] = SplitInfo(f"{split}.jsonl", len(rows), hashlib.sha256(text.encode()).hexdigest())
        videos |= {row.video for row in rows}
    place = Path(videos_root) if videos_root else root
    digests: dict[str, str | None] = dict.fromkeys(sorted(videos))
    if digest_videos:
        with ThreadPoolExecutor() as pool:
            digests = dict(zip(digests, pool.map(lambda v: _digest_or_none(place / v), digests), strict=True))
    info = DatasetInfo(SCHEMA, name, version, fps, infos, digests, made_by, dict(meta or {}), videos_root)
    written = asdict(info)
    if not videos_root:
        # without the default of a later field, old datasets keep their digest
        del written["videos_root"]
    write_atomic(root / "dataset.json", dump_json(written, indent=1) + "\n")
    return Dataset.open(root)


def _require_single_ids(root: Path, splits: Mapping[str, Sequence[Episode]]) -> None:
    """Raise a `DataError` that names both rows if two episodes of any splits have the same id."""
    named = (
        (row.id, f"{split}.jsonl: row {number}") for split, rows in splits.items() for number, row in enumerate(rows, 1)
    )
    if repeat := find_repeated_episode_id(named):
        name, first, second = repeat
        raise DataError(f"{root}: {first} and {second} are both episode {name!r}; give each a unique id")


def accept_dataset_changes(dataset: Dataset) -> Dataset:
    """Update ``dataset.json`` with the current digests of rows and videos and numbers of episodes."""
    info, place = dataset.info, Path(dataset.info.videos_root) if dataset.info.videos_root else dataset.root
    splits = {}
    for split, old in info.splits.items():
        file = dataset.split_file(split)
        count = sum(1 for _ in read_jsonl_index_rows(file))
        splits[split] = replace(old, episodes=count, sha256=digest_file(file))
    videos = {video: _digest_or_none(place / video) for video in info.videos}
    written = asdict(replace(info, splits=splits, videos=videos))
    if not info.videos_root:
        del written["videos_root"]
    write_atomic(dataset.root / "dataset.json", dump_json(written, indent=1) + "\n")
    return Dataset.open(dataset.root)


def _digest_or_none(path: Path) -> str | None:
    return digest_file(path) if path.is_file() else None
