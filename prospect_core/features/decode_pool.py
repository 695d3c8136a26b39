"""Many whole videos decoded at once, by processes of their own: what a training waits for before it begins.

    python -c "from prospect_core.features.decode_pool import decode_videos_in_pool; help(decode_videos_in_pool)"

Threads do not help here: most of the time goes to Python's part of decoding, which one thread at a time can do.
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

#: bytes of pictures that may wait for whoever asked for them
WAITING = 2 << 30
#: with fewer videos than this, processes take longer to start than they save
FEW = 16


def choose_decode_pool_size(episodes: Sequence[EpisodeOrHeader], shape: FrameFormat) -> int:
    """How many processes are worth it for so many videos of that length; 0 for none."""
    if len(episodes) < FEW or count_cores() == 1:
        return 0
    longest = max(e.end_frame for e in episodes) * 3 * shape.size**2
    # each of them has one video in hand and one that waits
    return min(count_cores(), WAITING // (2 * longest))


def decode_videos_in_pool(
    data: Dataset, episodes: Sequence[EpisodeOrHeader], shape: FrameFormat
) -> Iterator[np.ndarray | DataError]:
    """The pictures (F, size, size, 3) uint8 of each episode's whole video, in order, or why there are none."""
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
    """As `decode_one_video_for_pool`, in a process of a pool: an error keeps its traceback on the way back."""
    found = decode_one_video_for_pool(data, episode, shape)
    return picklable_process_error(found) if isinstance(found, DataError) else found


def decode_one_video_for_pool(data: Dataset, episode: EpisodeOrHeader, shape: FrameFormat) -> np.ndarray | DataError:
    """The pictures (F, size, size, 3) uint8 of an episode's whole video, or why there are none."""
    try:
        source = data.frame_source(episode, shape)
        if isinstance(source, VideoFile):
            source.threads = 1
        return np.stack(list(source.frames(0, source.num_frames)))
    except DataError as error:
        return error
