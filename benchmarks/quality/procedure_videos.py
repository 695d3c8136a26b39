"""Small videos for annotation without its videos: each picture shows which steps are in progress.

A stripe of two coloured patches stands for each step in progress, and a white edge for a mistake. A
model that learns from these videos can track the annotated steps, so they test training on real
annotation.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from prospect_core.timeline import Episode, exact_fraction

#: side of a picture in pixels, and width of the edge
SIZE, EDGE = 64, 4
#: colours of the patches; two of them stand for one of 49 places
COLOURS = (
    (230, 30, 30), (30, 200, 30), (40, 60, 240), (240, 230, 40), (220, 40, 220), (40, 220, 230), (250, 140, 20),
)  # fmt: skip
BACKGROUND = 40


def procedure_picture(steps: set[int], mistake: bool) -> np.ndarray:
    """Draw a picture (SIZE, SIZE, 3) uint8.

    Args:
        steps: Places of the steps in progress in the task's list, from 0. Their stripes share the
            width. A place has the same two colours in all videos; they repeat from place 49 on.
        mistake: Whether to draw the edge.
    """
    picture = np.full((SIZE, SIZE, 3), BACKGROUND, np.uint8)
    for stripe, place in enumerate(sorted(steps)):
        left, right = SIZE * stripe // len(steps), SIZE * (stripe + 1) // len(steps)
        upper, lower = divmod(place, len(COLOURS))
        picture[: SIZE // 2, left:right] = COLOURS[(upper + lower) % len(COLOURS)]
        picture[SIZE // 2 :, left:right] = COLOURS[lower]
    if mistake:
        picture[:EDGE] = picture[-EDGE:] = 255
        picture[:, :EDGE] = picture[:, -EDGE:] = 255
    return picture


def write_procedure_video(episode: Episode, path: Path) -> Path:
    """Write the video of an episode: one picture for each decision frame from 0 to its last one.

    Pictures before the first frame of the episode are like its first one.

    Args:
        episode: An episode with steps.
        path: The file to write; its suffix chooses the container, such as ``.mp4``.

    Returns:
        The path.
    """
    rate = Fraction(exact_fraction(episode.fps))
    changes = dict(episode.states_by_change())
    wrong = {frame for item in episode.mistakes if item.span for frame in episode.span_frames(item.span)}
    state = changes[episode.start_frame - 1]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "12", "preset": "ultrafast"})
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        # one thread writes the same bytes on every machine
        stream.codec_context.thread_count = 1
        for number in range(episode.end_frame):
            state = changes.get(number, state)
            steps = {place for place, now in enumerate(state.states) if now == "in_progress"}
            frame = av.VideoFrame.from_ndarray(procedure_picture(steps, number in wrong), format="rgb24")
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
