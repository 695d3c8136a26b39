"""Our dataset on disk: videos as files, one JSONL row an episode, and ``dataset.json`` that ties them together.

dataset.json      name, version, fps, splits (file, episodes, sha256), videos (sha256; null when absent)
test.jsonl ...    one `prospect_core.timeline.Episode` a row
videos/...        the videos that the rows name, by paths inside the dataset, or inside ``videos_root`` where it names one

python -c "from prospect_core.data.dataset import Dataset; print(Dataset.open('data/workbench').splits)"
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, ClassVar

from prospect_core.data.index import Footage, Rows, keep_index, open_rows, read_rows
from prospect_core.data.video import FrameSource, open_frames
from prospect_core.errors import DataError, did_you_mean
from prospect_core.framing import FrameFormat
from prospect_core.jsonio import dump, load, write_atomic
from prospect_core.timeline import Episode

SCHEMA = 1
#: what opens a folder without ``dataset.json``, or gives None for one that it does not know
OPENERS = ("prospect_core.data.proassist:open_tree",)


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
        info = load(DatasetInfo, file.read_bytes(), str(file))
        if info.schema != SCHEMA:
            raise DataError(f"{file}: schema {info.schema}, this version reads {SCHEMA}")
        return Dataset(root, info)

    @property
    def splits(self) -> list[str]:
        return list(self.info.splits)

    @cached_property
    def digest(self) -> str:
        """sha256 of ``dataset.json``, which holds the digests of everything else."""
        return sha256_file(self.root / "dataset.json")

    def split_file(self, split: str) -> Path:
        if split not in self.info.splits:
            raise DataError(
                f"{self.root}: no split {split!r}; it has {', '.join(self.splits)}{did_you_mean(split, self.splits)}"
            )
        return self.inside(self.info.splits[split].file)

    def episodes(self, split: str, check: bool = True) -> Iterator[Episode]:
        """The split's episodes, each validated unless ``check`` is off; the first bad row is a `DataError`."""
        return (episode for _, _, _, episode in read_rows(self.split_file(split), check))

    def rows(self, split: str, workers: int = 1) -> Rows:
        """The split's episodes, each read when it is asked for; all are checked when the file is first met, by so many
        processes (`index.open_rows`)."""
        return open_rows(self.split_file(split), workers)

    def inside(self, relative: str) -> Path:
        """A path inside the dataset; one that leaves it (``..``, absolute, a link out) is refused."""
        return _inside(self.root, relative)

    def video(self, relative: str) -> Path:
        """Where a video lies that a row names."""
        return _inside(Path(self.info.videos_root) if self.info.videos_root else self.root, relative)

    def frame_source(self, episode: Footage, shape: FrameFormat) -> FrameSource:
        """The episode's video; a missing or too short file is a `DataError` naming it."""
        path = self.video(episode.video)
        source = open_frames(path, episode.fps, shape)
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
) -> Dataset:
    """Write rows and ``dataset.json`` beside videos that already lie under ``root``; every row is validated first."""
    root.mkdir(parents=True, exist_ok=True)
    infos, videos = {}, set()
    for split, episodes in splits.items():
        rows = [episode.validate() for episode in episodes]
        lines = [dump(row) + "\n" for row in rows]
        text = "".join(lines)
        write_atomic(root / f"{split}.jsonl", text)
        keep_index(root / f"{split}.jsonl", rows, [line.encode() for line in lines])
        infos[split] = SplitInfo(f"{split}.jsonl", len(rows), hashlib.sha256(text.encode()).hexdigest())
        videos |= {row.video for row in rows}
    place = Path(videos_root) if videos_root else root
    with ThreadPoolExecutor() as pool:
        digests = dict(zip(sorted(videos), pool.map(lambda v: _digest_or_none(place / v), sorted(videos)), strict=True))
    info = DatasetInfo(SCHEMA, name, version, fps, infos, digests, made_by, dict(meta or {}), videos_root)
    written = asdict(info)
    if not videos_root:
        # a field that came later: the same data keep the digest that they had before it
        del written["videos_root"]
    write_atomic(root / "dataset.json", dump(written, indent=1) + "\n")
    return Dataset.open(root)


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _sha256(file)


def _sha256(file: Any) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def _digest_or_none(path: Path) -> str | None:
    return sha256_file(path) if path.is_file() else None
