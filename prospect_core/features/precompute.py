"""Decode or encode a whole dataset into a store, before training and evaluation.

    prospect data features data/workbench --ckpt workbench-tiny --output features --workers 2
    prospect data frames data/workbench --size 96 --output s3://bucket/frames --backend ray --workers 16

A repeated command continues with the missing videos. Training (``data.store=...``) and evaluation
(``--features ...``) read the same store.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prospect_core.features.bfloat16 import to_bfloat16_bits
from prospect_core.features.shard_store import FEATURE_DTYPES, FeatureDtype
from prospect_core.parallel.protocol import BatchHandler, WorkerOptions
from prospect_core.parallel.scheduler import schedule_jobs
from prospect_core.util.console import format_count, format_duration
from prospect_core.util.errors import DataError, UserError

if TYPE_CHECKING:
    import numpy as np

    from prospect_core.data.dataset import Dataset
    from prospect_core.data.frame_format import FrameFormat
    from prospect_core.data.jsonl_index import EpisodeOrHeader
    from prospect_core.features.shard_store import ShardStore

#: largest size of a shard in bytes and in videos
SHARD_BYTES, SHARD_VIDEOS = 128 << 20, 64


@dataclass(frozen=True)
class Encoder:
    """Settings of a worker that makes features of a vision tower, or pictures.

    Attributes:
        root: Folder of the dataset.
        url: Address of the store.
        ckpt: Checkpoint whose tower makes features; None makes pictures.
        shape: Size and framing of the pictures.
        device: Torch device.
        cwd: Working directory of the command, against which relative paths resolve.
        tokens_per_frame: Tokens per frame; None is the checkpoint's own number or, for published
            weights, the training default.
        dtype: Number type of stored features.
    """

    root: Path
    url: str
    ckpt: str | None
    shape: FrameFormat | None
    device: str
    cwd: str
    tokens_per_frame: int | None = None
    dtype: FeatureDtype = "float32"

    def __call__(self) -> BatchHandler:
        """Open the data, the model and the store."""
        with suppress(OSError):
            os.chdir(self.cwd)
        return self.serving(self.tower(self.device))

    def serving(self, model: Any) -> BatchHandler:
        """Return a handler of batches that uses a given model (None for pictures)."""
        from prospect_core.data.dataset import Dataset
        from prospect_core.features.picture_cache import make_picture_cache_key
        from prospect_core.util.file_digest import digest_file_content

        data = Dataset.open(self.root)
        make, store = self.maker(data, model), self.store(model)

        def serve(clips: Sequence[EpisodeOrHeader]) -> Iterator[tuple[int, Any]]:
            whole: list[tuple[str, Any, int]] = []
            results: list[int | DataError] = []
            for clip, made in make(clips):
                file = data.video(clip.video)
                if isinstance(made, DataError):
                    results.append(made)
                    continue
                whole.append((make_picture_cache_key(digest_file_content(file), clip.fps), made, file.stat().st_size))
                results.append(len(made))
            store.write(whole)
            yield from enumerate(results)

        return serve

    def tower(self, device: str) -> Any:
        """Load the checkpoint's model; return None for pictures."""
        if self.ckpt is None:
            return None
        from prospect_core.model.published import load_published_vision_tower
        from prospect_core.util.console import quiet_transformers

        quiet_transformers()
        return load_published_vision_tower(self.ckpt, device, self.tokens_per_frame)

    def store(self, model: Any) -> ShardStore:
        """Open the part of the store for this tower, or for this size and framing."""
        if model is None:
            from prospect_core.features.picture_cache import open_picture_cache

            return open_picture_cache(self.url, self._shape)
        from prospect_core.features.feature_cache import open_feature_cache

        return open_feature_cache(self.url, model, self.dtype)

    @property
    def _shape(self) -> FrameFormat:
        if self.shape is None:
            raise ValueError("an encoder without a checkpoint needs a shape of pictures")
        return self.shape

    def frame_bytes(self, model: Any) -> int:
        """Return the stored bytes per frame."""
        if model is None:
            return 3 * self._shape.size**2
        numbers: int = model.config.text_config.hidden_size * model.config.tokens_per_frame
        return FEATURE_DTYPES[self.dtype] * numbers

    def maker(
        self, data: Dataset, model: Any
    ) -> Callable[[Sequence[EpisodeOrHeader]], Iterable[tuple[EpisodeOrHeader, Any]]]:
        """Return the function that yields each clip with its features or pictures."""
        if model is None:
            from prospect_core.features.decode_pool import decode_one_video_for_pool

            return lambda clips: ((clip, decode_one_video_for_pool(data, clip, self._shape)) for clip in clips)
        from prospect_core.features.feature_cache import FeatureCache

        cache = FeatureCache(data, Path(), "", model.config.frame_format)
        return lambda clips: ((clip, _kept_as(made, self.dtype)) for clip, made in cache.encoded(model, clips))


def _kept_as(made: np.ndarray | DataError, dtype: str) -> np.ndarray | DataError:
    if isinstance(made, DataError):
        return made
    return to_bfloat16_bits(made) if dtype == "bfloat16" else made.astype(dtype)


def precompute_features(
    encoder: Encoder,
    data: Dataset,
    splits: Sequence[str],
    pool_options: WorkerOptions | None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[int, int, list[str]]:
    """Make what the store lacks.

    Args:
        encoder: Settings.
        data: The dataset.
        splits: Splits whose videos are needed.
        pool_options: Workers; None makes everything in this process.
        progress: Called with (videos done, videos in total).

    Returns:
        (number of new videos, number of videos found in the store, errors of the others).
    """
    # workers load their own model
    model = encoder.tower(encoder.device if pool_options is None else "cpu")
    clips, todo = _todo(encoder.store(model), data, splits)
    found, problems = len(clips) - len(todo), []
    progress(found, len(clips))
    batches = group_precompute_shards(
        todo, encoder.frame_bytes(model), 1 if pool_options is None else 4 * pool_options.workers
    )
    results = (
        _alone(encoder.serving(model), batches)
        if pool_options is None
        else schedule_jobs(encoder, batches, pool_options)
    )
    for done, (_, made) in enumerate(results, found + 1):
        if isinstance(made, DataError):
            problems.append(str(made))
        progress(done, len(clips))
    return len(todo) - len(problems), found, problems


def plan_feature_precompute(encoder: Encoder, data: Dataset, splits: Sequence[str], workers: int) -> list[str]:
    """Describe what `precompute_features` would do, for the user.

    The estimate of time comes from making the shortest missing video.

    Args:
        encoder: Settings.
        data: The dataset.
        splits: Splits whose videos are needed.
        workers: Number of workers, among which the time is divided.

    Raises:
        DataError: If the shortest video cannot be made.
    """
    model = encoder.tower(encoder.device)
    clips, todo = _todo(encoder.store(model), data, splits)
    frames = sum(clip.end_frame for clip in todo)
    lines = [
        f"{format_count(len(clips), 'video')}: {len(todo)} to compute, {len(clips) - len(todo)} done",
        f"{frames * encoder.frame_bytes(model) / 1e9:.3g} GB, output: {encoder.url}",
    ]
    if todo:
        shortest = min(todo, key=lambda clip: clip.end_frame)
        make = encoder.maker(data, model)
        begin = time.perf_counter()
        ((_, made),) = make([shortest])
        if isinstance(made, DataError):
            raise made
        seconds = (time.perf_counter() - begin) / shortest.end_frame * frames / workers
        lines.append(f"estimated time: {format_duration(seconds)}, measured on the shortest video")
    return lines


def _todo(
    store: ShardStore, data: Dataset, splits: Sequence[str]
) -> tuple[list[EpisodeOrHeader], list[EpisodeOrHeader]]:
    """Return all videos, and those that the store lacks."""
    from prospect_core.features.picture_cache import find_picture_cache_key, picture_cache_longest_episodes

    clips = picture_cache_longest_episodes(clip for split in splits for clip in data.rows(split).clips())
    if not clips:
        raise DataError(f"{data.root}: has no episodes")
    return clips, [clip for clip in clips if find_picture_cache_key(data, store, clip) is None]


def group_precompute_shards(
    clips: Sequence[EpisodeOrHeader], frame_bytes: int, least: int
) -> list[list[EpisodeOrHeader]]:
    """Group clips into batches of one shard each.

    Args:
        clips: Clips in order.
        frame_bytes: Stored bytes per frame.
        least: Wanted number of batches, if there are enough clips.
    """
    most = min(SHARD_VIDEOS, max(1, len(clips) // least))
    batches: list[list[EpisodeOrHeader]] = []
    room = 0
    for clip in clips:
        size = clip.end_frame * frame_bytes
        if not batches or len(batches[-1]) == most or size > room:
            batches.append([])
            room = SHARD_BYTES
        batches[-1].append(clip)
        room -= size
    return batches


def _alone(
    serve: BatchHandler, batches: Sequence[Sequence[EpisodeOrHeader]]
) -> Iterator[tuple[Any, np.ndarray | DataError]]:
    for batch in batches:
        for number, made in serve(batch):
            yield batch[number], made


def require_precompute_splits(data: Dataset, wanted: Sequence[str]) -> list[str]:
    """Return the wanted splits, or all if none is named.

    Raises:
        UserError: If the dataset lacks a split.
    """
    unknown = [split for split in wanted if split not in data.splits]
    if unknown:
        raise UserError(f"--split {unknown[0]}: {data.root} has {', '.join(data.splits)}")
    return list(wanted) or data.splits
