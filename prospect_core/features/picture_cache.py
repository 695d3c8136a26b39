"""Pictures for training within a memory limit; needs no torch, so worker processes start fast."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import numpy as np

from prospect_core.data.dataset import Dataset
from prospect_core.data.frame_format import FrameFormat
from prospect_core.data.jsonl_index import EpisodeOrHeader
from prospect_core.data.video import FRAMES_VERSION
from prospect_core.features.decode_pool import decode_videos_in_pool
from prospect_core.features.shard_store import ShardStore
from prospect_core.util.errors import DataError
from prospect_core.util.file_digest import digest_file_content


class PictureCache:
    """Decoded frames of whole videos in memory; drops the least recently used ones beyond a limit.

    ``cache(episode, start, end)`` returns (F, size, size, 3) uint8. Videos of a ``store``
    (`open_picture_cache`) are not decoded.

    Args:
        data: The dataset.
        shape: Size and framing of the frames.
        limit_bytes: Memory limit in bytes.
        store: Store of decoded pictures.
    """

    def __init__(
        self, data: Dataset, shape: FrameFormat, limit_bytes: int = 1 << 30, store: ShardStore | None = None
    ) -> None:
        self.data, self.shape, self.limit_bytes, self.store = data, shape, limit_bytes, store
        self._videos: OrderedDict[tuple[str, float], np.ndarray] = OrderedDict()

    def prepare(self, episodes: Iterable[EpisodeOrHeader]) -> None:
        """Decode as many videos as fit, before worker processes fork and share them.

        Raises:
            DataError: If a video is missing or too short.
        """
        wanted, room = [], self.limit_bytes
        for episode in picture_cache_longest_episodes(episodes):
            if find_picture_cache_key(self.data, self.store, episode):
                continue
            room -= episode.end_frame * 3 * self.shape.size**2
            if room < 0:
                break
            wanted.append(episode)
        for episode, pictures in zip(wanted, decode_videos_in_pool(self.data, wanted, self.shape), strict=True):
            if isinstance(pictures, DataError):
                raise pictures
            self._videos[episode.video, episode.fps] = pictures

    def require(self, episodes: Iterable[EpisodeOrHeader]) -> None:
        """Check that every video is in the store or a file that is long enough.

        Raises:
            DataError: At the first video that is not.
        """
        for episode in picture_cache_longest_episodes(episodes):
            if find_picture_cache_key(self.data, self.store, episode) is None:
                self.data.frame_source(episode, self.shape)

    def __call__(self, episode: EpisodeOrHeader, start: int, end: int) -> np.ndarray:
        """Return frames ``start .. end - 1`` of the video as (F, size, size, 3) uint8.

        Raises:
            DataError: If the video cannot be read or is too short.
        """
        key = (episode.video, episode.fps)
        have = self._videos.get(key)
        if have is None or len(have) < end:
            have = self._whole(episode, end)
            self._videos[key] = have
            while len(self._videos) > 1 and sum(v.nbytes for v in self._videos.values()) > self.limit_bytes:
                self._videos.popitem(last=False)
        self._videos.move_to_end(key)
        return have[start:end]

    def _whole(self, episode: EpisodeOrHeader, end: int) -> np.ndarray:
        found = find_picture_cache_key(self.data, self.store, episode)
        if found is not None and self.store is not None and self.store.frames_of(found) >= max(end, episode.end_frame):
            return self.store.read(found)
        source = self.data.frame_source(episode, self.shape)
        return np.stack(list(source.frames(0, max(end, episode.end_frame))))


def open_picture_cache(url: str, shape: FrameFormat) -> ShardStore:
    """Open the pictures in a store that have this size and framing."""
    return ShardStore(url, f"frames-v{FRAMES_VERSION}-{shape.framing}-{shape.size}")


def find_picture_cache_key(data: Dataset, store: ShardStore | None, clip: EpisodeOrHeader) -> str | None:
    """Return the key of a clip's video in a store; None if the store does not have it.

    The key uses the digest of the file, or of ``dataset.json`` if the file is absent.

    Args:
        data: Dataset of the clip.
        store: The store, if any.
        clip: The clip.
    """
    if store is None:
        return None
    file = data.video(clip.video)
    digest = digest_file_content(file) if file.is_file() else data.info.videos.get(clip.video)
    if digest is None:
        return None
    key = make_picture_cache_key(digest, clip.fps)
    return key if key in store.videos else None


def make_picture_cache_key(digest: str, fps: float) -> str:
    """Make the key of a video, sampled at a rate, for any store."""
    return f"{digest[:32]}-{fps:g}fps"


def picture_cache_longest_episodes(episodes: Iterable[EpisodeOrHeader]) -> list[EpisodeOrHeader]:
    """Return, for each video, the episode that ends last."""
    found: dict[tuple[str, float], EpisodeOrHeader] = {}
    for episode in episodes:
        best = found.setdefault((episode.video, episode.fps), episode)
        if episode.end_frame > best.end_frame:
            found[episode.video, episode.fps] = episode
    return list(found.values())
