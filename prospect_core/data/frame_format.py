"""Convert pictures to the square frames that a vision tower takes.

* ``squash`` shows the whole picture and scales its sides by different factors: first the longest
  side to ``size``, then both, with the LANCZOS filter. The result equals that of the published
  SmolVLM2 processor for a picture of a video, bit for bit.
* ``letterbox`` keeps the aspect ratio and adds black bars.
* ``crop`` scales the short side to ``size`` and crops the centre: 44 % of a 16:9 picture is lost.
* ``whole`` keeps the aspect ratio with the longest side ``size``. The result is not square; it is
  for models that take pictures of any shape.

Rotation metadata is applied. Pixels that are not square are made square, except for ``squash``,
which changes the aspect ratio anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.reformatter import VideoReformatter
    from PIL.Image import Image

Framing = Literal["squash", "letterbox", "crop"]
FRAMINGS: tuple[Framing, ...] = get_args(Framing)
#: largest side of a picture, in pixels
MAX_SIDE = 16384


@dataclass(frozen=True)
class FrameFormat:
    """Size and framing of frames.

    Frames are (size, size, 3) uint8 RGB; for ``whole`` (H, W, 3) with H and W at most ``size``.

    Attributes:
        size: Side of a frame in pixels.
        framing: How a picture becomes a frame; see the module's description.
    """

    size: int
    framing: Framing | Literal["whole"] = "crop"

    def __str__(self) -> str:
        return f"{self.size} x {self.size} ({self.framing})"


def apply_frame_format(
    picture: VideoFrame, wanted: FrameFormat, reformatter: VideoReformatter, pixel_aspect: Fraction
) -> np.ndarray:
    """Convert a decoded picture to a frame.

    Args:
        picture: The picture.
        wanted: Size and framing.
        reformatter: PyAV reformatter, shared among pictures.
        pixel_aspect: Width of a pixel divided by its height.

    Raises:
        ValueError: If the picture is larger than `MAX_SIDE`.
    """
    require_frame_format_input_size(picture.width, picture.height)
    turns = round((picture.rotation or 0) / 90) % 4
    if wanted.framing == "crop":
        width, height = _cover(round(picture.width * pixel_aspect), picture.height, wanted.size)
        # for a picture this small, threads cost more time than they save
        made = reformatter.reformat(picture, width, height, format="rgb24", interpolation="AREA", threads=1)
        return _middle(np.rot90(made.to_ndarray(), turns), wanted.size)
    from PIL import Image

    array = np.rot90(reformatter.reformat(picture, format="rgb24", threads=1).to_ndarray(), turns)
    upright = 1 / pixel_aspect if turns % 2 else pixel_aspect
    return _whole(Image.fromarray(np.ascontiguousarray(array)), wanted, upright)


def apply_frame_format_to_image(image: Image, wanted: FrameFormat) -> np.ndarray:
    """Convert a stored RGB picture to a frame."""
    from PIL import Image

    if wanted.framing == "crop":
        image = image.resize(_cover(*image.size, wanted.size), Image.Resampling.BOX)
        return _middle(np.asarray(image), wanted.size)
    return _whole(image, wanted, Fraction(1))


def require_frame_format_input_size(width: int, height: int) -> None:
    """Check the size of a picture in pixels.

    Raises:
        ValueError: If a side is larger than `MAX_SIDE`.
    """
    if max(width, height) > MAX_SIDE:
        raise ValueError(f"{width} x {height} pictures; at most {MAX_SIDE} a side")


def _whole(image: Image, wanted: FrameFormat, pixel_aspect: Fraction) -> np.ndarray:
    from PIL import Image

    size, lanczos = wanted.size, Image.Resampling.LANCZOS
    if wanted.framing == "squash":
        image = image.resize(_published_size(*image.size, size), lanczos).resize((size, size), lanczos)
        return np.asarray(image)
    width, height = image.width * pixel_aspect, Fraction(image.height)
    scale = size / max(width, height)
    fitted = image.resize((max(1, round(width * scale)), max(1, round(height * scale))), lanczos)
    if wanted.framing == "whole":
        return np.asarray(fitted)
    square = Image.new("RGB", (size, size))
    square.paste(fitted, ((size - fitted.width) // 2, (size - fitted.height) // 2))
    return np.asarray(square)


def _published_size(width: int, height: int, size: int) -> tuple[int, int]:
    """Return (width, height) after the first of two scalings of transformers' SmolVLM processors.

    The longest side is ``size``; the other one is truncated to a whole number and made even.
    """
    if width >= height:
        short = int(size / (width / height))
        return size, max(1, short + short % 2)
    short = int(size * (width / height))
    return max(1, short + short % 2), size


def _cover(width: int, height: int, size: int) -> tuple[int, int]:
    """Return the width and height with the same aspect ratio whose short side is ``size``."""
    short = min(width, height)
    return max(size, round(width * size / short)), max(size, round(height * size / short))


def _middle(array: np.ndarray, size: int) -> np.ndarray:
    top, left = (array.shape[0] - size) // 2, (array.shape[1] - size) // 2
    return np.ascontiguousarray(array[top : top + size, left : left + size])
