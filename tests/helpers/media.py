"""Make small video files for tests; the grey level of a picture identifies its number."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import OutputContainer


def write_grey(
    path: Path,
    times: Sequence[Fraction | float],
    levels: Sequence[int],
    size: tuple[int, int] = (64, 48),
    rotation: int = 0,
    corner: bool = False,
    codec: str = "libx264",
    sound: bool = False,
) -> Path:
    """Write pictures of one grey level each at exact times in seconds.

    ``corner`` paints the top left quarter white; ``sound`` adds a second of silence from 0.
    """
    pictures = [np.full((size[1], size[0], 3), level, np.uint8) for level in levels]
    for picture in pictures if corner else ():
        picture[: size[1] // 2, : size[0] // 2] = 255
    return write_pictures(path, pictures, times, rotation=rotation, codec=codec, sound=sound)


def write_pictures(
    path: Path,
    pictures: Sequence[np.ndarray[Any, Any]],
    times: Sequence[Fraction | float] | None = None,
    *,
    rotation: int = 0,
    pixel_aspect: Fraction = Fraction(1),
    codec: str = "libx264",
    sound: bool = False,
) -> Path:
    """Write pictures (H, W, 3) uint8 of one size at exact times in seconds; one per second by default.

    ``pixel_aspect`` is the width of a pixel divided by its height.
    """
    base = Fraction(1, 90000)
    with av.open(str(path), "w") as container:
        options = {"crf": "10", "preset": "veryfast"} if codec == "libx264" else {}
        stream = container.add_stream(codec, rate=30, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = base
        stream.codec_context.thread_count = 1
        if pixel_aspect != 1:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if rotation:
            stream.set_display_rotation(rotation)
        if sound:
            _add_silence(container)
        for time, array in zip(times or range(len(pictures)), pictures, strict=True):
            frame = av.VideoFrame.from_ndarray(array, format="rgb24")
            frame.pts, frame.time_base = int(Fraction(time) / base), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _add_silence(container: OutputContainer) -> None:
    """Add a second of silence from 0."""
    stream = container.add_stream("aac", rate=16000)
    assert isinstance(stream, av.AudioStream)
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
    frame.sample_rate = 16000
    frame.pts = 0
    container.mux(stream.encode(frame))
    container.mux(stream.encode())


def write_audio(path: Path) -> Path:
    """Write a file with sound and without pictures."""
    with av.open(str(path), "w") as container:
        _add_silence(container)
    return path
