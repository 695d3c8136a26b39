"""Vision features of frames, stored on disk and memory-mapped.

The name of a file covers the vision weights, the video and its sampling, so a changed model or
video never uses old features.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from prospect_core.data.dataset import Dataset
from prospect_core.data.frame_format import FrameFormat
from prospect_core.data.jsonl_index import EpisodeOrHeader, clips_from_jsonl_index
from prospect_core.data.video import FRAMES_VERSION, open_video_frames
from prospect_core.features.bfloat16 import from_bfloat16_bits
from prospect_core.features.decode_pool import choose_decode_pool_size, decode_videos_in_pool
from prospect_core.features.picture_cache import find_picture_cache_key, make_picture_cache_key
from prospect_core.features.shard_store import FEATURE_DTYPES, FeatureDtype, ShardStore
from prospect_core.model.image_processing import process_images_to_pixels
from prospect_core.model.modeling import DSTSmolVLM
from prospect_core.timeline import Episode
from prospect_core.util.atomic import atomic_file
from prospect_core.util.errors import DataError
from prospect_core.util.file_digest import digest_file_content
from prospect_core.util.prefetch import prefetch
from prospect_core.util.timer import StageTimer

#: frames per encoding batch; on an accelerator, the batch has as many pixels as this many frames
#: with `LARGE` pixels per side
ENCODE_BATCH, LARGE = 64, 512
#: batches that are decoded in advance
BATCHES_AHEAD = 4
#: (file, batch of its pictures (F, size, size, 3)); after the last batch None, or the error of
#: the video
Pictures = tuple[Path, np.ndarray | DataError | None]
#: largest number of open feature files; processes are often limited to 1024 files
MOST_OPEN = 256
#: increase this when the conversion of frames to features changes
FEATURES_VERSION = 1


class EncodesFrames(Protocol):
    """The part of a model that this module uses."""

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        ...

    def encode_frames(self, pixels_N3HW: Tensor) -> Tensor:
        """Encode frames (N, 3, H, W) uint8 to features (N, I, D)."""
        ...


@dataclass(frozen=True)
class Processes:
    """Processes that train together.

    Attributes:
        number: Number of this process, from 0.
        count: Number of processes.
        wait: Barrier: returns when all processes have called it.
    """

    number: int
    count: int
    wait: Callable[[], None]


class FeatureCache:
    """Vision features of a dataset under a folder, one ``.npy`` file (frames, I, D) float32 per video.

    `prepare` encodes the missing videos; then ``cache(episode, start, end)`` returns (F, I, D)
    float32 from the memory-mapped file. `feed` does both for one episode after the other. Videos of
    a ``store`` (`open_feature_cache`) are read from the store, and their files may be absent.

    Args:
        data: The dataset.
        folder: Parent of the features.
        digest: Digest of the vision tower (`feature_cache_vision_digest`), which names the
            subfolder.
        shape: Size and framing of the frames.
        store: Store with features of the same tower.
    """

    def __init__(
        self, data: Dataset, folder: Path, digest: str, shape: FrameFormat, store: ShardStore | None = None
    ) -> None:
        self.data, self.shape, self.store = data, shape, store
        self.folder = folder / digest
        #: keys of the paths that stand for videos of the store
        self._stored: dict[Path, str] = {}
        self._open: OrderedDict[Path, np.ndarray] = OrderedDict()

    def prepare(
        self,
        model: DSTSmolVLM,
        episodes: Iterable[EpisodeOrHeader],
        progress: Callable[[int, int], None] = lambda done, total: None,
        processes: Processes | None = None,
    ) -> int:
        """Encode the videos without a whole file; a file appears only when it is complete.

        Args:
            model: Model whose vision tower encodes.
            episodes: Episodes whose videos are needed.
            progress: Called with (videos done, videos to encode).
            processes: If given, each process encodes its share of the videos.

        Returns:
            The number of encoded videos.

        Raises:
            DataError: If a video cannot be read or is shorter than an episode needs.
        """
        wanted = list(episodes)
        missing = self.missing(wanted)
        if processes is not None:
            # all processes must list the missing files before one of them writes any
            processes.wait()
            missing = dict(list(missing.items())[processes.number :: processes.count])
        self.folder.mkdir(parents=True, exist_ok=True)
        if choose_decode_pool_size(list(missing.values()), self.shape):
            videos = zip(missing, decode_videos_in_pool(self.data, list(missing.values()), self.shape), strict=True)
            pictures = _in_batches(videos, feature_cache_batch_size(model.device, self.shape.size))
        else:
            # few videos, or videos too long to hold in memory
            pictures = prefetch(self._pictures(missing), BATCHES_AHEAD)
        try:
            for done, (path, features) in enumerate(self._encoded(model, pictures, StageTimer()), 1):
                if isinstance(features, DataError):
                    raise features
                _save_whole(path, features)
                progress(done, len(missing))
        finally:
            # also after an error: the other processes wait for this one
            if processes is not None:
                processes.wait()
        for episode in wanted:
            self(episode, episode.start_frame, episode.start_frame)
        return len(missing)

    def feed(
        self, model: EncodesFrames, episodes: Sequence[Episode], watch: StageTimer | None = None
    ) -> Iterator[np.ndarray | DataError]:
        """Yield the features (F, I, D) of each episode in order, or the error of that episode.

        A separate thread decodes videos in advance. Each video is encoded once for all episodes and
        stored for later; if it cannot be stored (no space, no permission), its features stay in
        memory while they are needed.

        Args:
            model: Model that encodes.
            episodes: Episodes in order.
            watch: Timer of the stages ``decode`` and ``vision``.
        """
        clips = clips_from_jsonl_index(episodes)
        places = [self._place(clip) for clip in clips]
        last = {path: number for number, path in enumerate(places)}
        missing = self._missing({p: c for p, c in zip(places, clips, strict=True) if isinstance(p, Path)})
        watch = watch or StageTimer()
        pictures = watch.over("decode", prefetch(self._pictures(missing), BATCHES_AHEAD))
        encoded = self._encoded(model, pictures, watch)
        fresh: dict[Path, np.ndarray | DataError] = {}
        for number, (clip, path) in enumerate(zip(clips, places, strict=True)):
            if isinstance(path, DataError):
                yield path
                continue
            if path in missing and path not in fresh:
                # files are encoded in the order of the episodes, so the next
                # result belongs to this path
                _, fresh[path] = next(encoded)
                self._keep(path, fresh[path])
            found = fresh.get(path)
            if last[path] == number:
                fresh.pop(path, None)
            try:
                yield self._cut(clip, path, found, clip.start_frame, clip.end_frame)
            except DataError as error:
                yield error

    def _keep(self, path: Path, features: np.ndarray | DataError) -> None:
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            if isinstance(features, np.ndarray):
                _save_whole(path, features)

    def _place(self, episode: EpisodeOrHeader) -> Path | DataError:
        try:
            return self.path(episode)
        except DataError as error:
            return error

    def encoded(
        self, model: EncodesFrames, clips: Sequence[EpisodeOrHeader]
    ) -> Iterator[tuple[EpisodeOrHeader, np.ndarray | DataError]]:
        """Yield each clip with the features (F, I, D) of its whole video, or the error.

        No file of features is read or written.
        """
        # the names serve as keys only
        named = {Path(str(number)): clip for number, clip in enumerate(clips)}
        pictures = prefetch(self._pictures(named), BATCHES_AHEAD)
        for path, features in self._encoded(model, pictures, StageTimer()):
            yield named[path], features

    def missing(self, clips: Iterable[EpisodeOrHeader]) -> dict[Path, EpisodeOrHeader]:
        """Return the files that are missing or incomplete, each with a clip of its video."""
        return self._missing({self.path(clip): clip for clip in clips})

    def _missing(self, needed: dict[Path, EpisodeOrHeader]) -> dict[Path, EpisodeOrHeader]:
        """Return the files that are missing or incomplete, each with an episode of its video."""
        return {path: clip for path, clip in needed.items() if path not in self._stored and not _frames_in(path)}

    def _pictures(self, missing: dict[Path, EpisodeOrHeader]) -> Iterator[Pictures]:
        for path, episode in missing.items():
            try:
                source = open_video_frames(self.data.video(episode.video), episode.fps, self.shape)
                for batch in _batches(source.frames(0, source.num_frames), ENCODE_BATCH):
                    yield path, np.stack(batch)
                yield path, None
            except DataError as error:
                yield path, error

    def _encoded(
        self, model: EncodesFrames, pictures: Iterator[Pictures], watch: StageTimer
    ) -> Iterator[tuple[Path, np.ndarray | DataError]]:
        """Yield (path, features or error) of whole videos."""
        parts: list[np.ndarray] = []
        for path, batch in pictures:
            if isinstance(batch, np.ndarray):
                with watch("vision"), torch.no_grad():
                    pixels = torch.from_numpy(batch).to(model.device).permute(0, 3, 1, 2)
                    parts.append(model.encode_frames(pixels).float().cpu().numpy())
                continue
            yield path, np.concatenate(parts) if batch is None else batch
            parts = []

    def path(self, episode: EpisodeOrHeader) -> Path:
        """Return the feature file of an episode's video at its rate, or the path that stands for a stored video.

        Raises:
            DataError: If the video is neither in the store nor a file.
        """
        if (key := find_picture_cache_key(self.data, self.store, episode)) is not None:
            path = self.folder / f"{key}.npy"
            self._stored[path] = key
            return path
        file = self.data.video(episode.video)
        if not file.is_file():
            raise DataError(f"{file}: no such file; copy the video there or correct the row that names it")
        return self.folder / f"{make_picture_cache_key(digest_file_content(file), episode.fps)}.npy"

    def __call__(self, episode: EpisodeOrHeader, start: int, end: int) -> np.ndarray:
        """Return frames ``start .. end - 1`` of the video as (F, I, D) float32; its features must exist."""
        return self._cut(episode, self.path(episode), None, start, end)

    def _cut(
        self, episode: EpisodeOrHeader, path: Path, found: np.ndarray | DataError | None, start: int, end: int
    ) -> np.ndarray:
        """Return frames ``start .. end - 1`` of the given features, or of the file if ``found`` is None.

        Raise `DataError` if the video has fewer frames than the episode.
        """
        if isinstance(found, DataError):
            raise found
        have = self._mapped(path) if found is None else found
        if len(have) < episode.end_frame:
            # raises the error that compares episode and video
            self.data.frame_source(episode, self.shape)
            raise DataError(
                f"{path}: holds {len(have)} frames of {episode.video}; delete the file, and it is computed again"
            )
        cut = have[start:end]
        return from_bfloat16_bits(cut) if cut.dtype == np.uint16 else np.array(cut, dtype=np.float32)

    def _mapped(self, path: Path) -> np.ndarray:
        if path in self._stored and self.store is not None:
            return self.store.read(self._stored[path])
        have = self._open.get(path)
        if have is None:
            have = self._open[path] = np.load(path, mmap_mode="r", allow_pickle=False)
            if len(self._open) > MOST_OPEN:
                self._open.popitem(last=False)
        self._open.move_to_end(path)
        return have


def open_feature_cache(url: str, model: DSTSmolVLM, dtype: FeatureDtype | None = None) -> ShardStore:
    """Open the features in a store that this model's vision tower made.

    Args:
        url: Folder or fsspec address of the store.
        model: The model.
        dtype: Number type of the features; the most exact type in the store if None.
    """
    digest = feature_cache_vision_digest(model)
    names = {kind: digest if kind == "float32" else f"{digest}-{kind}" for kind in FEATURE_DTYPES}
    if dtype is not None:
        return ShardStore(url, names[dtype])
    stores = [ShardStore(url, name) for name in names.values()]
    return next((store for store in stores if store.videos), stores[0])


def feature_cache_vision_digest(model: DSTSmolVLM) -> str:
    """Digest everything that determines features: vision weights, connector, pooling, framing and size."""
    config = model.config
    told = config.vision_config.to_dict().items()
    # the caller sets the configuration's dtype; the dtypes of the tensors are included below
    ignored = ("transformers_version", "dtype")
    shape = {k: v for k, v in told if isinstance(v, int | float | str) and k not in ignored}
    text = (
        f"{FEATURES_VERSION}/{FRAMES_VERSION}/{config.tokens_per_frame}/{config.scale_factor}/{sorted(shape.items())}"
    )
    if config.stem_width:
        text += f"/stem {config.stem_width}"
    if config.framing != "crop":
        text += f"/{config.framing}"
    if "pictures" in config.ablated_inputs:
        text += "/black"
    digest = hashlib.sha256(text.encode())
    parts = {"vision": model.model.vision_model, "connector": model.model.connector}
    for part, module in parts.items():
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(f"{part}.{name}/{tensor.dtype}/{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()[:32]


@torch.no_grad()
def encode_feature_cache_pictures(model: EncodesFrames, pictures: Iterable[np.ndarray]) -> Tensor:
    """Encode pictures (size, size, 3) uint8 in batches as they arrive; return embeddings (F, I, D)."""
    batches = _batches(iter(pictures), ENCODE_BATCH)
    return torch.cat(
        [model.encode_frames(process_images_to_pixels(np.stack(batch)).to(model.device)) for batch in batches]
    )


def feature_cache_batch_size(device: torch.device, size: int) -> int:
    """Return how many frames of a size to encode per batch.

    On an accelerator, the launches cost more time than the pixels, so smaller frames allow larger
    batches.
    """
    return ENCODE_BATCH if device.type == "cpu" else max(1, ENCODE_BATCH * LARGE**2 // size**2)


def _in_batches(videos: Iterable[tuple[Path, np.ndarray | DataError]], batch: int) -> Iterator[Pictures]:
    for path, pictures in videos:
        if isinstance(pictures, np.ndarray):
            yield from ((path, pictures[k : k + batch]) for k in range(0, len(pictures), batch))
        yield path, pictures if isinstance(pictures, DataError) else None


def _batches(frames: Iterator[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    batch: list[np.ndarray] = []
    for frame in frames:
        batch.append(frame)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _frames_in(path: Path) -> int:
    """Count the frames in a file of features; 0 for a missing or damaged file."""
    try:
        return len(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError):
        return 0


def _save_whole(path: Path, array: np.ndarray) -> None:
    with atomic_file(path) as file:
        np.save(file, array, allow_pickle=False)
