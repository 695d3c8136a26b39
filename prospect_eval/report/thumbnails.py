"""Thumbnails of videos for reports: decoded once for each video, then one sheet for each report.

A report shows a picture at every turn and every ten seconds. Decoding ten minutes of video takes
longer than the rest of the report, so two pictures per second are cached in the cache folder under
the video's identity.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from math import ceil, sqrt
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from prospect_core.data.dataset import Dataset
from prospect_core.data.frame_format import FrameFormat
from prospect_core.data.video import open_video_frames
from prospect_core.parallel.process_pool import open_process_pool
from prospect_core.timeline import Episode
from prospect_core.util.atomic import write_atomic
from prospect_core.util.cache_dir import cache_dir
from prospect_core.util.errors import DataError
from prospect_core.util.processes import count_cores

#: pixels of a side; maximum number of stored pictures per second; seconds between pictures without
#: an event
SIDE, KEPT_A_SECOND, EVERY_S = 56, 2, 10
#: size of the sheets in one page before base64; a page with chart library and data stays below 15
#: MB
MOST_BYTES = 6_000_000
#: picture qualities of a sheet, tried in turn until all sheets are small enough
QUALITIES = (60, 40, 25, 10)
VERSION = 1

Key = tuple[str, float]


def select_thumbnail_frames(episode: Episode, turns: Iterable[int]) -> set[int]:
    """Select the frames of an episode whose pictures its timeline shows.

    Args:
        episode: The episode.
        turns: Frames of the turns.
    """
    regular = range(episode.start_frame, episode.end_frame, max(1, round(EVERY_S * episode.fps)))
    return {*regular, *(frame for frame in turns if episode.start_frame <= frame < episode.end_frame)}


def make_thumbnail_sheets(
    data: Dataset,
    wanted: dict[Key, tuple[Episode, set[int]]],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, dict[str, Any]]:
    """Make one WebP sheet for each video.

    With many videos the picture quality is reduced, so that the page stays small.

    Args:
        data: The dataset.
        wanted: For each (video, fps) an episode and the frames to show.
        progress: Called with (videos decoded, videos to decode).

    Returns:
        For each ``video@fps`` the sheet with ``frames``, the frame of each picture, row by row.
        Videos that are not available have none.
    """
    kept = _kept(data, {key: episode for key, (episode, _) in wanted.items()}, progress)
    chosen = {}
    for key, (path, stride) in kept.items():
        with np.load(path, allow_pickle=False) as store:
            ends, pictures = store["ends"], store["pictures"].tobytes()
        places = sorted({min(frame // stride, len(ends) - 1) for frame in wanted[key][1]})
        starts = [0, *ends[:-1].tolist()]
        chosen[key] = ([k * stride for k in places], [pictures[starts[k] : int(ends[k])] for k in places])
    made: dict[Key, bytes] = {}
    for quality in QUALITIES:
        made = {key: _sheet(pictures, quality) for key, (_, pictures) in chosen.items()}
        if sum(map(len, made.values())) <= MOST_BYTES:
            break
    return {
        f"{video}@{fps:g}": {
            "src": f"data:image/webp;base64,{base64.b64encode(made[video, fps]).decode()}",
            "side": SIDE, "columns": _columns(len(frames)), "frames": frames,
        }
        for (video, fps), (frames, _) in chosen.items()
    }  # fmt: skip


def _columns(count: int) -> int:
    return max(1, ceil(sqrt(count)))


def _sheet(pictures: Sequence[bytes], quality: int) -> bytes:
    from PIL import Image

    columns = _columns(len(pictures))
    sheet = Image.new("RGB", (columns * SIDE, ceil(len(pictures) / columns) * SIDE))
    for k, picture in enumerate(pictures):
        sheet.paste(Image.open(io.BytesIO(picture)), (k % columns * SIDE, k // columns * SIDE))
    buffer = io.BytesIO()
    sheet.save(buffer, "WEBP", quality=quality, method=2)
    return buffer.getvalue()


def _kept(
    data: Dataset, episodes: dict[Key, Episode], progress: Callable[[int, int], None]
) -> dict[Key, tuple[Path, int]]:
    """Return the file of each video's pictures and their distance in frames.

    Missing files are created.
    """
    folder = cache_dir() / "thumbnails"
    found: dict[Key, tuple[Path, int]] = {}
    jobs = []
    for key, episode in episodes.items():
        with suppress(DataError, OSError):
            file = data.video(episode.video)
            size = file.stat().st_size
            name = f"{(data.info.videos.get(episode.video) or episode.video.replace('/', '_'))[:64]}-{size}"
            stride = max(1, round(episode.fps / KEPT_A_SECOND))
            path = folder / f"{name}-{episode.fps:g}fps-{SIDE}px-{VERSION}.npz"
            found[key] = (path, stride)
            if not _whole(path):
                jobs.append((path, file, episode.fps, stride))
    if jobs:
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
        with open_process_pool(min(count_cores(), len(jobs))) as workers:
            for done, _ in enumerate(workers.map(_keep, jobs), 1):
                progress(done, len(jobs))
    return {key: place for key, place in found.items() if _whole(place[0])}


def _whole(path: Path) -> bool:
    try:
        with np.load(path, allow_pickle=False) as store:
            return len(store["ends"]) > 0
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return False


def _keep(job: tuple[Path, Path, float, int]) -> None:
    """Decode a video and store its pictures. A video that cannot be decoded has no file."""
    from PIL import Image

    path, file, fps, stride = job
    pictures = []
    # if nothing can be stored, the report has no pictures
    with suppress(DataError, OSError):
        source = open_video_frames(file, fps, FrameFormat(SIDE))
        for number, picture in enumerate(source.frames(0, source.num_frames)):
            if number % stride == 0:
                buffer = io.BytesIO()
                Image.fromarray(picture).save(buffer, "JPEG", quality=80)
                pictures.append(buffer.getvalue())
        buffer = io.BytesIO()
        ends = np.cumsum([len(p) for p in pictures])
        np.savez(buffer, ends=ends, pictures=np.frombuffer(b"".join(pictures), np.uint8))
        write_atomic(path, buffer.getvalue())
