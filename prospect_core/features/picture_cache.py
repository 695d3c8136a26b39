"""Pictures for training within a memory limit, and which videos a store holds. Needs no torch, so workers start fast.

python -c "from prospect_core.features.picture_cache import PictureCache; help(PictureCache)"
"""

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
    """Decoded frames of whole videos, the least recently used ones dropped beyond ``limit_bytes``.

    Called as ``cache(episode, start, end)`` it gives (F, size, size, 3) uint8. Videos of a ``store`` (`open_picture_cache`) are not
    decoded.
    """

    def __init__(
        self, data: Dataset, shape: FrameFormat, limit_bytes: int = 1 << 30, store: ShardStore | None = None
    ) -> None:
        self.data, self.shape, self.limit_bytes, self.store = data, shape, limit_bytes, store
        self._videos: OrderedDict[tuple[str, float], np.ndarray] = OrderedDict()

    def prepare(self, episodes: Iterable[EpisodeOrHeader]) -> None:
        """Decode as many videos as there is room for: worker processes that are forked afterwards share them, where each
        would decode its own. A video that is missing or too short is a `DataError`."""
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
        """Look for every video, in the store or as a file that is long enough; the first that is not there is a `DataError`."""
        for episode in picture_cache_longest_episodes(episodes):
            if find_picture_cache_key(self.data, self.store, episode) is None:
                self.data.frame_source(episode, self.shape)

    def __call__(self, episode: EpisodeOrHeader, start: int, end: int) -> np.ndarray:
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
    """The pictures of a store that are of this format."""
    return ShardStore(url, f"frames-v{FRAMES_VERSION}-{shape.framing}-{shape.size}")


def find_picture_cache_key(data: Dataset, store: ShardStore | None, clip: EpisodeOrHeader) -> str | None:
    """The key under which a store has a clip's video: of the file that is here, or of the digest that the dataset states."""
    if store is None:
        return None
    file = data.video(clip.video)
    digest = digest_file_content(file) if file.is_file() else data.info.videos.get(clip.video)
    if digest is None:
        return None
    key = make_picture_cache_key(digest, clip.fps)
    return key if key in store.videos else None


def make_picture_cache_key(digest: str, fps: float) -> str:
    """A video, sampled at a rate, in any store."""
    return f"{digest[:32]}-{fps:g}fps"


def picture_cache_longest_episodes(episodes: Iterable[EpisodeOrHeader]) -> list[EpisodeOrHeader]:
    """Of each video the episode that reaches furthest."""
    found: dict[tuple[str, float], EpisodeOrHeader] = {}
    for episode in episodes:
        best = found.setdefault((episode.video, episode.fps), episode)
        if episode.end_frame > best.end_frame:
            found[episode.video, episode.fps] = episode
    return list(found.values())
