"""Published benchmarks as datasets: episodes in the cache folder, videos in the benchmark's folder."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from prospect_core.data.dataset import Dataset, write_dataset
from prospect_core.data.frame_format import FrameFormat
from prospect_core.data.video import open_video_frames
from prospect_core.records import ReplayProtocol
from prospect_core.timeline import Episode
from prospect_core.util.atomic import atomic_folder
from prospect_core.util.cache_dir import cache_dir
from prospect_core.util.console import format_count
from prospect_core.util.errors import DataError, UserError
from prospect_core.util.json_io import dump_json
from prospect_eval.suites.benchmark import Benchmark, open_benchmark

logger = logging.getLogger(__name__)

#: the split of all episodes of a benchmark
SPLIT = "test"


@dataclass(frozen=True)
class BenchmarkVideos:
    """The videos of a benchmark's folder (`VideoLengths`).

    Attributes:
        root: The benchmark's folder.
        fps: Decision frames per second.
        folders: Folders below the root that can contain a video.
    """

    root: Path
    fps: float
    folders: tuple[str, ...] = ("",)
    _lengths: dict[str, int | None] = field(default_factory=dict, repr=False, compare=False)

    def place(self, video: str) -> str:
        """Return the path of a video relative to the root.

        For a missing video it is the path in the first of the folders.
        """
        places = [str(Path(folder) / video) for folder in self.folders]
        return next((place for place in places if (self.root / place).is_file()), places[0])

    def frames(self, video: str) -> int | None:
        """Return the number of frames of a video at ``fps``; None for a missing or unreadable file."""
        if video not in self._lengths:
            self._lengths[video] = self._count(self.root / self.place(video))
        return self._lengths[video]

    def _count(self, file: Path) -> int | None:
        if not file.is_file():
            return None
        try:
            return open_video_frames(file, self.fps, FrameFormat(8)).num_frames
        except DataError as error:
            logger.warning("%s", error)
            return None


@dataclass(frozen=True)
class OpenedBenchmark:
    """A benchmark and the folder of its files.

    Attributes:
        benchmark: The benchmark. Its annotations have a type of their own, hence ``Any``.
        root: The folder of its annotations and videos.
    """

    benchmark: Benchmark[Any, Any]
    root: Path

    @cached_property
    def annotations(self) -> Any:
        """The annotations."""
        return self.benchmark.read_annotations(self.root)


def open_benchmark_dataset(name: str, root: Path, protocol: ReplayProtocol, fps: float) -> Dataset:
    """Return the episodes of a benchmark under a protocol.

    They are made from the annotations at each call and stored once for each content. Equal
    annotations under one protocol are therefore the same dataset on every machine.

    Args:
        name: Name of the benchmark.
        root: Folder of its annotations and videos.
        protocol: The protocol.
        fps: Decision frames per second.

    Raises:
        UserError: Models cannot be run on this benchmark.
        DataError: The annotations are missing or invalid, or give no episode.
    """
    opened = OpenedBenchmark(open_benchmark(name), root)
    replay = opened.benchmark.replay
    if replay is None:
        raise UserError(
            f"--suite {name}: only published predictions are scored; use `prospect-eval score FILES --suite {name}`"
        )
    videos = BenchmarkVideos(root, fps, replay.video_folders)
    made = replay.make_episodes(opened.annotations, protocol, videos)
    _report_refused(name, made.refused)
    if not made.episodes:
        raise DataError(f"{root}: no item of {name} gives an episode")
    episodes = [replace(episode, video=videos.place(episode.video), dataset=name) for episode in made.episodes]
    return _store(name, root, protocol, fps, episodes)


def _report_refused(name: str, refused: Mapping[str, str]) -> None:
    reasons: dict[str, list[str]] = {}
    for item, reason in refused.items():
        reasons.setdefault(reason, []).append(item)
    for reason, items in reasons.items():
        logger.warning("%s: %s left out: %s (the first: %s)", name, format_count(len(items), "item"), reason, items[0])


def _store(name: str, root: Path, protocol: ReplayProtocol, fps: float, episodes: list[Episode]) -> Dataset:
    place = str(root.resolve())
    rows = "\n".join(dump_json(episode) for episode in episodes)
    key = hashlib.sha256(f"{place}\n{dump_json(protocol)}\n{rows}".encode()).hexdigest()[:24]
    folder = cache_dir() / "benchmarks" / f"{name}-{key}"
    if not folder.exists():
        meta = {"benchmark": name, "protocol": protocol.describe()}
        try:
            with atomic_folder(folder) as scratch:
                write_dataset(
                    scratch, name, "1", fps, {SPLIT: episodes}, "read from the published files", meta, place, False
                )
        except (OSError, UserError):
            if not folder.exists():  # another process may have made the same dataset in the meantime
                raise
    return Dataset.open(folder)
