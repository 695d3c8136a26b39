"""The frames of a data set's videos as ProAssist stores them: one Arrow file a video, a base64 JPEG a row.

    prospect data export data/mine --output rows --frames

Row i of a file is frame i of the video at the episodes' rate, 384 x 384, the short side scaled and the middle cut out, as
its own preparation does.
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

#: as published
SHAPE = FrameFormat(384, "crop")
#: of a folder, where the frames lie
FOLDER = "frames"


def write_proassist_frames(
    dataset: Dataset, folder: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> dict[tuple[str, float], str]:
    """Write ``frames/NAME.arrow`` for every video of a data set, from its first frame to the last that an episode needs.

    Returns:
        The file of each (video, frames a second), relative to ``folder``.

    Raises:
        DataError: A video is missing, broken or too short.
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
    """A file name of the video's own, and a number where another video has it already."""
    stem = re.sub(r"[^\w.-]+", "_", Path(episode.video).stem)[:150]
    number, name = 1, f"{FOLDER}/{stem}.arrow"
    while name in taken:
        number += 1
        name = f"{FOLDER}/{stem}-{number}.arrow"
    return name


def add_proassist_frames_to_row(
    row: dict[str, Any], episode: Episode, names: dict[tuple[str, float], str]
) -> dict[str, Any]:
    """The row with the file that holds its frames; as it is where none was written."""
    name = names.get((episode.video, episode.fps))
    return row if name is None else {**row, "frames_file": name}
