"""Many whole videos decoded at once, by processes of their own: what a training waits for before it begins.

    python -c "from prospect_core.features.decode_pool import decode_videos; help(decode_videos)"

Threads do not help here: most of the time goes to Python's part of decoding, which one thread at a time can do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from prospect_core.data.video import VideoFile
from prospect_core.parallel.process_pool import open_pool
from prospect_core.util.errors import DataError
from prospect_core.util.processes import cores, picklable_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prospect_core.data.dataset import Dataset
    from prospect_core.data.frame_format import FrameFormat
    from prospect_core.data.jsonl_index import EpisodeOrHeader

#: bytes of pictures that may wait for whoever asked for them
WAITING = 2 << 30
#: with fewer videos than this, processes take longer to start than they save
FEW = 16


def worthwhile_processes(episodes: Sequence[EpisodeOrHeader], shape: FrameFormat) -> int:
    """How many processes are worth it for so many videos of that length; 0 for none."""
    if len(episodes) < FEW or cores() == 1:
        return 0
    longest = max(e.end_frame for e in episodes) * 3 * shape.size**2
    # each of them has one video in hand and one that waits
    return min(cores(), WAITING // (2 * longest))


def decode_videos(
    data: Dataset, episodes: Sequence[EpisodeOrHeader], shape: FrameFormat
) -> Iterator[np.ndarray | DataError]:
    """The pictures (F, size, size, 3) uint8 of each episode's whole video, in order, or why there are none."""
    processes = worthwhile_processes(episodes, shape)
    if not processes:
        yield from (decode_video(data, episode, shape) for episode in episodes)
        return
    with open_pool(processes) as workers:
        waiting = deque(
            workers.submit(_decode_in_worker, data, episode, shape) for episode in episodes[: 2 * processes]
        )
        for episode in [*episodes[2 * processes :], *[None] * len(waiting)]:
            yield waiting.popleft().result()
            if episode is not None:
                waiting.append(workers.submit(_decode_in_worker, data, episode, shape))


def _decode_in_worker(data: Dataset, episode: EpisodeOrHeader, shape: FrameFormat) -> Any:
    """As `decode_video`, in a process of a pool: an error keeps its traceback on the way back."""
    found = decode_video(data, episode, shape)
    return picklable_error(found) if isinstance(found, DataError) else found


def decode_video(data: Dataset, episode: EpisodeOrHeader, shape: FrameFormat) -> np.ndarray | DataError:
    """The pictures (F, size, size, 3) uint8 of an episode's whole video, or why there are none."""
    try:
        source = data.frame_source(episode, shape)
        if isinstance(source, VideoFile):
            source.threads = 1
        return np.stack(list(source.frames(0, source.num_frames)))
    except DataError as error:
        return error
