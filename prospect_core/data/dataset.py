"""Our dataset on disk: videos as files, one JSONL row an episode, and ``dataset.json`` that ties them together.

dataset.json      name, version, fps, splits (file, episodes, sha256), videos (sha256; null when absent)
test.jsonl ...    one `prospect_core.timeline.Episode` a row
videos/...        the videos that the rows name, by paths inside the dataset, or inside ``videos_root`` where it names one

python -c "from prospect_core.data.dataset import Dataset; print(Dataset.open('data/workbench').splits)"
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
#: what a file is that another one has replaced
CHANGED = "its sha256 is not the one in dataset.json"
#: what opens a folder without ``dataset.json``, or gives None for one that it does not know
OPENERS = ("prospect_core.data.formats.proassist_tree:open_proassist_tree",)


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
    #: where the rows' videos lie, if not inside the dataset: a folder that its owner has named
    videos_root: str = ""


@dataclass(frozen=True)
class Dataset:
    """An opened dataset; rows are read when asked for."""

    root: Path
    info: DatasetInfo

    @staticmethod
    def open(root: str | Path) -> Dataset:
        """Open a dataset folder, or ProAssist's tree; anything else is a `DataError` that says what is missing."""
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
        return list(self.info.splits)

    @cached_property
    def digest(self) -> str:
        """sha256 of ``dataset.json``, which holds the digests of everything else.

        Where the videos lie elsewhere, the place is left out: equal data have equal digests on every machine.
        """
        if not self.info.videos_root:
            return digest_file(self.root / "dataset.json")
        return digest_json(replace(self.info, videos_root=""))

    def split_file(self, split: str) -> Path:
        if split not in self.info.splits:
            raise DataError(
                f"{self.root}: no split {split!r}; it has {', '.join(self.splits)}{did_you_mean(split, self.splits)}"
            )
        return self.inside(self.info.splits[split].file)

    def episodes(self, split: str, check: bool = True) -> Iterator[Episode]:
        """The split's episodes, each validated unless ``check`` is off; the first bad row is a `DataError`, and so are rows that
        have changed since ``dataset.json`` was written."""
        self._require_same_rows(split)
        return (episode for _, _, _, episode in read_jsonl_index_rows(self.split_file(split), check))

    def rows(self, split: str, workers: int = 1) -> LazyEpisodes:
        """The split's episodes, each read when it is asked for; all are checked when the file is first met, by so many
        processes (`index.open_rows`). Two of one id, and rows that have changed since ``dataset.json`` was written, are a
        `DataError`."""
        self._require_same_rows(split)
        rows = open_jsonl_index(self.split_file(split), workers)
        rows.require_single_ids()
        return rows

    def _require_same_rows(self, split: str) -> None:
        file = self.split_file(split)
        if not file.is_file():
            raise DataError(f"{file}: no such file")
        if digest_file_content(file) != self.info.splits[split].sha256:
            # a row that cannot be read is worth more than that the file has changed
            for _ in read_jsonl_index_rows(file):
                pass
            raise DataError(f"{file}: {CHANGED}; {self._remedy}")

    def require_same_videos(self, clips: Iterable[EpisodeOrHeader]) -> None:
        """Refuse videos that were replaced after ``dataset.json`` was written.

        Videos that are absent, or were absent then, are not compared. One that can no longer be read is left to its reader,
        so that it fails its own episodes alone.

        Raises:
            DataError: Names the first such video.
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
        """A line for each video of which a part is missing (`packets.find_missing`); what cannot be read is left to the reader."""
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
        return f"bring back the file, import again, or accept it with `prospect data validate {self.root} --accept`"

    def inside(self, relative: str) -> Path:
        """A path inside the dataset; one that leaves it (``..``, absolute, a link out) is refused."""
        return _inside(self.root, relative)

    def video(self, relative: str) -> Path:
        """Where a video lies that a row names."""
        return _inside(Path(self.info.videos_root) if self.info.videos_root else self.root, relative)

    def frame_source(self, episode: EpisodeOrHeader, shape: FrameFormat) -> FrameSource:
        """The episode's video; a missing or too short file is a `DataError` naming it."""
        path = self.video(episode.video)
        source = open_video_frames(path, episode.fps, shape)
        if source.num_frames < episode.end_frame:
            raise DataError(
                f"{path}: has {source.num_frames} frames at {episode.fps:g} fps, episode {episode.id} needs"
                f" {episode.end_frame}; shorten the annotation or bring the whole video"
            )
        return source


def _inside(root: Path, relative: str) -> Path:
    try:
        inside = (root / relative).resolve().is_relative_to(root.resolve())
        # a name that no file system takes is told here
        (root / relative).is_file()
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"{root}: {relative!r} is no path ({error})") from error
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
    """Write rows and ``dataset.json`` next to videos that already lie under ``root``; every row is validated first.

    Without ``digest_videos`` the dataset is the same whichever of its videos are there, and replaced videos are not found.
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
        # a field that came later: the same data keep the digest that they had before it
        del written["videos_root"]
    write_atomic(root / "dataset.json", dump_json(written, indent=1) + "\n")
    return Dataset.open(root)


def _require_single_ids(root: Path, splits: Mapping[str, Sequence[Episode]]) -> None:
    """Refuse two episodes of one id, in one split or in two, by a `DataError` that names both rows."""
    named = (
        (row.id, f"{split}.jsonl: row {number}") for split, rows in splits.items() for number, row in enumerate(rows, 1)
    )
    if repeat := find_repeated_episode_id(named):
        name, first, second = repeat
        raise DataError(f"{root}: {first} and {second} are both episode {name!r}; give each an id of its own")


def accept_dataset_changes(dataset: Dataset) -> Dataset:
    """Write the digests of rows and videos as they are now, and the numbers of episodes, to ``dataset.json``."""
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
