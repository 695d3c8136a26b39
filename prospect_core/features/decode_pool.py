"""Decode many whole videos in parallel processes before a training starts.

Threads do not help: most of the time goes to the Python part of decoding, which holds the
interpreter lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from prospect_core.data.video import VideoFile
from prospect_core.parallel.process_pool import open_process_pool
from prospect_core.util.errors import DataError
from prospect_core.util.processes import count_cores, picklable_process_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prospect_core.data.dataset import Dataset
    from prospect_core.data.frame_format import FrameFormat
    from prospect_core.data.jsonl_index import EpisodeOrHeader

#: largest number of bytes of decoded pictures that may wait for the caller
WAITING = 2 << 30
#: below this number of videos, processes take longer to start than they save
FEW = 16


def choose_decode_pool_size(episodes: Sequence[EpisodeOrHeader], shape: FrameFormat) -> int:
    """Return how many processes to use for these videos; 0 for none.

    Args:
        episodes: One episode of each video.
        shape: Size and framing of the frames.
    """
    if len(episodes) < FEW or count_cores() == 1:
        return 0
    longest = max(e.end_frame for e in episodes) * 3 * shape.size**2
    # each process has one video in work and one that waits
    return min(count_cores(), WAITING // (2 * longest))


def decode_videos_in_pool(
    data: Dataset, episodes: Sequence[EpisodeOrHeader], shape: FrameFormat
) -> Iterator[np.ndarray | DataError]:
    """Decode the whole video of each episode, in order.

    Args:
        data: The dataset.
        episodes: One episode of each video.
        shape: Size and framing of the frames.

    Yields:
        Pictures (F, size, size, 3) uint8, or the error of that video.
    """
    processes = choose_decode_pool_size(episodes, shape)
    if not processes:
        yield from (decode_one_video_for_pool(data, episode, shape) for episode in episodes)
        return
    with open_process_pool(processes) as workers:
        waiting = deque(
            workers.submit(_decode_in_worker, data, episode, shape) for episode in episodes[: 2 * processes]
        )
        for episode in [*episodes[2 * processes :], *[None] * len(waiting)]:
            yield waiting.popleft().result()
            if episode is not None:
                waiting.append(workers.submit(_decode_in_worker, data, episode, shape))


def _decode_in_worker(data: Dataset, episode: EpisodeOrHeader, shape: FrameFormat) -> Any:
    """Decode in a pool process; an error keeps its traceback when it is sent back."""
    found = decode_one_video_for_pool(data, episode, shape)
    return picklable_process_error(found) if isinstance(found, DataError) else found


def decode_one_video_for_pool(data: Dataset, episode: EpisodeOrHeader, shape: FrameFormat) -> np.ndarray | DataError:
    """Decode the whole video of an episode; return its pictures (F, size, size, 3) uint8 or the error."""
    try:
        source = data.frame_source(episode, shape)
        if isinstance(source, VideoFile):
            source.threads = 1
        return np.stack(list(source.frames(0, source.num_frames)))
    except DataError as error:
        return error
