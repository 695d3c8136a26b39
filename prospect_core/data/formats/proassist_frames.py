"""Export the frames of a dataset's videos as ProAssist stores them: one Arrow file per video.

    prospect data export data/mine --output rows --frames

Each row of a file is a base64 JPEG. Row i is frame i of the video at the episodes' rate, 384 x 384:
the short side is scaled to 384 and the centre is cropped, as in ProAssist's preparation.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prospect_core.data.dataset import Dataset
from prospect_core.data.frame_format import FrameFormat
from prospect_core.data.video import write_video_frames_file
from prospect_core.timeline import Episode

#: size and framing of ProAssist's published frames
SHAPE = FrameFormat(384, "crop")
#: name of the folder that holds the frames
FOLDER = "frames"


def write_proassist_frames(
    dataset: Dataset, folder: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> dict[tuple[str, float], str]:
    """Write ``frames/NAME.arrow`` for every video of a dataset.

    A file holds the frames from the first to the last that an episode needs.

    Args:
        dataset: The dataset.
        folder: Output folder.
        progress: Called with (videos done, videos in total).

    Returns:
        The file of each (video, frames per second), relative to ``folder``.

    Raises:
        DataError: If a video is missing, broken or too short.
    """
    longest: dict[tuple[str, float], Episode] = {}
    for split in dataset.splits:
        for episode in dataset.episodes(split):
            known = longest.get((episode.video, episode.fps))
            if known is None or known.end_frame < episode.end_frame:
                longest[episode.video, episode.fps] = episode
    (folder / FOLDER).mkdir()
    names: dict[tuple[str, float], str] = {}
    for done, (key, episode) in enumerate(sorted(longest.items()), 1):
        names[key] = _new_name(episode, set(names.values()))
        source = dataset.frame_source(episode, SHAPE)
        write_video_frames_file(folder / names[key], source.frames(0, episode.end_frame))
        progress(done, len(longest))
    return names


def _new_name(episode: Episode, taken: set[str]) -> str:
    """Return a file name after the video's own, with a number if another video has that name."""
    stem = re.sub(r"[^\w.-]+", "_", Path(episode.video).stem)[:150]
    number, name = 1, f"{FOLDER}/{stem}.arrow"
    while name in taken:
        number += 1
        name = f"{FOLDER}/{stem}-{number}.arrow"
    return name


def add_proassist_frames_to_row(
    row: dict[str, Any], episode: Episode, names: dict[tuple[str, float], str]
) -> dict[str, Any]:
    """Return the row with ``frames_file`` set to the file of its frames, if one was written."""
    name = names.get((episode.video, episode.fps))
    return row if name is None else {**row, "frames_file": name}
