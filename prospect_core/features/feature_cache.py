"""Vision features of frames, kept on disk and memory-mapped.

    python -c "from prospect_core.features.bfloat16 import from_bfloat16_bits
from prospect_core.features.feature_cache import FeatureCache; help(FeatureCache)"

Features depend on the vision weights, on the video and on how it is sampled: all of that is in the file's name, so a
changed model or video never meets the features of another one.
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

#: frames that are encoded at once; on an accelerator as many pixels as so many frames of `LARGE` pixels a side have
ENCODE_BATCH, LARGE = 64, 512
#: batches that may be decoded before they are asked for
BATCHES_AHEAD = 4
#: a batch of a file's pictures (F, size, size, 3), or, after the last, None, or what is wrong with the video
Pictures = tuple[Path, np.ndarray | DataError | None]
#: files of features that stay open; a process may often have no more than 1024
MOST_OPEN = 256
#: a change of how frames become features must change this
FEATURES_VERSION = 1


class EncodesFrames(Protocol):
    """What is asked of a model here."""

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        ...

    def encode_frames(self, pixels_N3HW: Tensor) -> Tensor:
        """Frames (N, 3, H, W) uint8 to features (N, I, D)."""
        ...


@dataclass(frozen=True)
class Processes:
    """Processes that train together: which of them this is, how many they are, and how to wait for all of them."""

    number: int
    count: int
    wait: Callable[[], None]


class FeatureCache:
    """Vision features of a data set under ``folder``, one ``.npy`` file a video, (frames, I, D) float32.

    `prepare` encodes what is missing; then ``cache(episode, start, end)`` gives (F, I, D) float32 from the
    memory-mapped file. `feed` does both, an episode after the other. Videos of a ``store`` (`open_feature_cache`) are read there,
    and need not be anywhere else.
    """

    def __init__(
        self, data: Dataset, folder: Path, digest: str, shape: FrameFormat, store: ShardStore | None = None
    ) -> None:
        self.data, self.shape, self.store = data, shape, store
        self.folder = folder / digest
        #: which of the paths stand for videos of the store
        self._stored: dict[Path, str] = {}
        self._open: OrderedDict[Path, np.ndarray] = OrderedDict()

    def prepare(
        self,
        model: DSTSmolVLM,
        episodes: Iterable[EpisodeOrHeader],
        progress: Callable[[int, int], None] = lambda done, total: None,
        processes: Processes | None = None,
    ) -> int:
        """Encode the videos that have no whole file yet; returns how many. Each file appears whole or not at all.

        Of several ``processes`` each encodes its share. A video that is shorter than an episode needs is a `DataError`.
        """
        wanted = list(episodes)
        missing = self.missing(wanted)
        if processes is not None:
            # all have seen the same files missing before one of them makes any
            processes.wait()
            missing = dict(list(missing.items())[processes.number :: processes.count])
        self.folder.mkdir(parents=True, exist_ok=True)
        if choose_decode_pool_size(list(missing.values()), self.shape):
            videos = zip(missing, decode_videos_in_pool(self.data, list(missing.values()), self.shape), strict=True)
            pictures = _in_batches(videos, feature_cache_batch_size(model.device, self.shape.size))
        else:
            # a few videos, or too long ones to be held whole
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
        """The features (F, I, D) of each episode in order, or why there are none.

        Videos are decoded ahead in a thread of its own, encoded once for all episodes and kept for later; where they
        cannot be kept (no room, no right), they are held in memory as long as they are needed.
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
                # files are encoded in the order of the episodes, so the next one is this one's
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
        """The features (F, I, D) of the whole video of each clip, or why there are none; nothing is read or kept."""
        # as keys, any names do
        named = {Path(str(number)): clip for number, clip in enumerate(clips)}
        pictures = prefetch(self._pictures(named), BATCHES_AHEAD)
        for path, features in self._encoded(model, pictures, StageTimer()):
            yield named[path], features

    def missing(self, clips: Iterable[EpisodeOrHeader]) -> dict[Path, EpisodeOrHeader]:
        """The files that are not there whole, and a clip of each."""
        return self._missing({self.path(clip): clip for clip in clips})

    def _missing(self, needed: dict[Path, EpisodeOrHeader]) -> dict[Path, EpisodeOrHeader]:
        """The files that are not there whole, and an episode of each."""
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
        """Features of whole videos."""
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
        """The file of an episode's video at its rate; of one that the store has, what stands for it."""
        if (key := find_picture_cache_key(self.data, self.store, episode)) is not None:
            path = self.folder / f"{key}.npy"
            self._stored[path] = key
            return path
        file = self.data.video(episode.video)
        if not file.is_file():
            raise DataError(f"{file}: no such file; put the video there or correct the row that names it")
        return self.folder / f"{make_picture_cache_key(digest_file_content(file), episode.fps)}.npy"

    def __call__(self, episode: EpisodeOrHeader, start: int, end: int) -> np.ndarray:
        """Frames ``start .. end - 1`` of the video, whose file must be there."""
        return self._cut(episode, self.path(episode), None, start, end)

    def _cut(
        self, episode: EpisodeOrHeader, path: Path, found: np.ndarray | DataError | None, start: int, end: int
    ) -> np.ndarray:
        """Frames ``start .. end - 1`` of what was found, or of the file; an episode that needs more than its video has is
        a `DataError`."""
        if isinstance(found, DataError):
            raise found
        have = self._mapped(path) if found is None else found
        if len(have) < episode.end_frame:
            # says what is wrong with the two of them
            self.data.frame_source(episode, self.shape)
            raise DataError(f"{path}: holds {len(have)} frames of {episode.video}; delete it, it is made again")
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
    """The features of a store that this model's tower has made, kept as ``dtype``; None: as the most exact that is there."""
    digest = feature_cache_vision_digest(model)
    names = {kind: digest if kind == "float32" else f"{digest}-{kind}" for kind in FEATURE_DTYPES}
    if dtype is not None:
        return ShardStore(url, names[dtype])
    stores = [ShardStore(url, name) for name in names.values()]
    return next((store for store in stores if store.videos), stores[0])


def feature_cache_vision_digest(model: DSTSmolVLM) -> str:
    """sha256 over all that turns a frame into features: vision weights, connector, pooling, framing and picture size."""
    config = model.config
    told = config.vision_config.to_dict().items()
    # a dtype that the configuration states is set by whoever loads it; those of the tensors count below
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
    """Embeddings (F, I, D) of pictures (size, size, 3) uint8, taken as they are needed and encoded in batches."""
    batches = _batches(iter(pictures), ENCODE_BATCH)
    return torch.cat(
        [model.encode_frames(process_images_to_pixels(np.stack(batch)).to(model.device)) for batch in batches]
    )


def feature_cache_batch_size(device: torch.device, size: int) -> int:
    """Frames of that size to encode at once. An accelerator waits for what it is told to do, not for pixels."""
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
    """How many frames a file of features holds; 0 for a missing or damaged one."""
    try:
        return len(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError):
        return 0


def _save_whole(path: Path, array: np.ndarray) -> None:
    with atomic_file(path) as file:
        np.save(file, array, allow_pickle=False)
