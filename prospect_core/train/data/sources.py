"""Sources of a training: datasets with their episodes, and decoded pictures or stored features."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from prospect_core.data.dataset import Dataset
from prospect_core.data.frame_format import FrameFormat
from prospect_core.data.jsonl_index import LazyEpisodes, clips_from_jsonl_index
from prospect_core.train.config.schema import Config
from prospect_core.util.cache_dir import cache_dir
from prospect_core.util.console import format_count, progress_bar
from prospect_core.util.errors import DataError, UserError
from prospect_core.util.processes import count_cores


def open_training_sources(config: Config, tell: Callable[[str], None]) -> list[tuple[Dataset, LazyEpisodes]]:
    """Open the datasets to learn from, each with its episodes of the split.

    Args:
        config: Configuration of the training.
        tell: Prints a line for the user.

    Raises:
        DataError: If a split is empty or two episodes have the same id.
    """
    split, sources = config.data.split, []
    known: dict[str, Dataset] = {}
    for name in (config.data.path, *(config.data.more or ())):
        data = open_training_source(name, split, tell)
        episodes = data.rows(split, count_cores())
        if not episodes:
            raise DataError(f"{data.root}: split {split!r} has no episodes")
        for clip in episodes.clips():
            if known.setdefault(clip.id, data) is not data:
                raise DataError(
                    f"data.more: {data.root} has an episode {clip.id}, as {known[clip.id].root} has; remove one of them"
                )
        sources.append((data, episodes))
    return sources


def open_training_source_media(
    config: Config, data: Dataset, model: Any, episodes: Sequence[Any], tell: Callable[[str], None], device: Any
) -> Any:
    """Open stored features if the vision tower is frozen and they are wanted, otherwise decoded pictures.

    Missing features are encoded on ``device``, the device of the training. Every training process
    must call this with the same episodes: each encodes its share.

    Args:
        config: Configuration of the training.
        data: A dataset.
        model: The model.
        episodes: Its episodes.
        tell: Prints a line for the user.
        device: Torch device.
    """
    from prospect_core.features.feature_cache import FeatureCache, feature_cache_vision_digest, open_feature_cache
    from prospect_core.features.picture_cache import PictureCache, open_picture_cache
    from prospect_core.train.setup.model_factory import factory_vision_is_frozen

    shape = model.config.frame_format
    if not (config.data.features and factory_vision_is_frozen(model)):
        url = config.data.store
        store = open_picture_cache(url, shape).need(f"pictures of {shape}") if url else None
        pictures = PictureCache(data, shape, config.data.picture_cache_mb << 20, store)
        if config.data.workers:
            pictures.prepare(clips_from_jsonl_index(episodes))
        return pictures
    clips = clips_from_jsonl_index(episodes)
    url = config.data.store
    store = open_feature_cache(url, model).need("features of this model's tower") if url else None
    cache = FeatureCache(data, cache_dir() / "features", feature_cache_vision_digest(model), shape, store)
    # the trainer would move the model only later
    model.to(device)
    with progress_bar("video features") as advance:
        new = cache.prepare(model, clips, advance, training_source_processes())
    tell(
        f"features of {format_count(len({clip.video for clip in clips}), 'video')} in {cache.folder} ({new} encoded now, on {model.device.type})"
    )
    return cache


def training_source_processes() -> Any:
    """Return the processes that train together and share the encoding; None for a single process."""
    from accelerate import PartialState

    from prospect_core.features.feature_cache import Processes

    state = PartialState()
    if state.num_processes == 1:
        return None
    return Processes(state.process_index, state.num_processes, state.wait_for_everyone)


def first_training_source_videos(
    sources: Sequence[tuple[Dataset, Any]], count: int, shape: FrameFormat
) -> Iterator[Any]:
    """Yield the pictures of the first ``count`` videos of the first source.

    Raises:
        DataError: If a video cannot be read.
    """
    from prospect_core.features.decode_pool import decode_one_video_for_pool
    from prospect_core.features.picture_cache import picture_cache_longest_episodes

    data, episodes = sources[0]
    for clip in picture_cache_longest_episodes(clips_from_jsonl_index(episodes))[:count]:
        pictures = decode_one_video_for_pool(data, clip, shape)
        if isinstance(pictures, DataError):
            raise pictures
        yield pictures


def open_training_source(name: str, split: str, tell: Callable[[str], None], missing_ok: bool = False) -> Any:
    """Open a dataset folder, or the built-in workbench, which is generated on first use.

    Args:
        name: Folder or ``workbench``.
        split: Name of the split.
        tell: Prints a line for the user.
        missing_ok: Whether to return None if a folder lacks the split.

    Raises:
        UserError: If the workbench has no such split.
    """
    if name != "workbench":
        data = Dataset.open(name)
        return None if missing_ok and split not in data.splits else data
    from prospect_core.workbench.generate import SPLITS, generate_cached_workbench

    if split not in SPLITS:
        raise UserError(f"split={split}: the workbench has {', '.join(SPLITS)}")
    tell(f"workbench split {split!r}: {format_count(SPLITS[split].videos, 'video')}, made on first use")
    return generate_cached_workbench(split)
