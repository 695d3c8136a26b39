"""Render pictures of a plan, the items in them, and the plan as an H.264 file."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from prospect_core.workbench.rendering.shapes import BENCH_RGB, Color, list_shapes
from prospect_core.workbench.world.scene import VIEW, Camera, Plan, Scene, scene_at

#: a multiple of every sampling rate in use, so that each sampled frame has a picture of its exact
#: time
VIDEO_FPS = 8


def render_picture(plan: Plan, time_s: float) -> Image.Image:
    """Render the view at ``time_s`` seconds, 160 x 160 RGB."""
    scene = scene_at(plan, time_s)
    light = scene.light

    def lit(color: Color) -> Color:
        red, green, blue = (min(255, max(0, int(c * f))) for c, f in zip(color, light, strict=True))
        return red, green, blue

    image = Image.new("RGB", (VIEW, VIEW), lit(BENCH_RGB))
    draw = ImageDraw.Draw(image)
    for points, color, _ in _in_view(plan, scene):
        draw.polygon(points, fill=lit(color))
    return image


def render_numbered_picture(plan: Plan, scene: Scene) -> np.ndarray:
    """Render item numbers instead of colours.

    Returns:
        (160, 160) the number of the item that each pixel shows (`shape_item_number`, `HAND_ID`); 0
        for anything else.
    """
    image = Image.new("L", (VIEW, VIEW), 0)
    draw = ImageDraw.Draw(image)
    for points, _, number in _in_view(plan, scene):
        draw.polygon(points, fill=number)
    return np.asarray(image)


def picture_pixels_by_item(plan: Plan, scene: Scene) -> np.ndarray:
    """Return (256,) the number of pixels of every numbered item in the picture."""
    return np.bincount(render_numbered_picture(plan, scene).ravel(), minlength=256)


def render_picture_video(plan: Plan, path: Path, fps: int = VIDEO_FPS) -> None:
    """Encode the whole plan; the same plan gives the same decoded pixels (one encoder thread).

    Args:
        plan: The plan.
        path: Output file.
        fps: Pictures per second.
    """
    times = (float(Fraction(number, fps)) for number in range(math.ceil(plan.duration * fps)))
    _encode((render_picture(plan, time) for time in times), path, fps)


def render_pictures_at_moments(plan: Plan, moments: Iterable[float], path: Path, fps: int) -> None:
    """Encode the pictures of a plan at given times, one after the other.

    Args:
        plan: The plan.
        moments: Times in seconds.
        path: Output file.
        fps: Pictures per second.
    """
    _encode((render_picture(plan, time) for time in moments), path, fps)


def render_blank_picture_video(path: Path, seconds: float) -> None:
    """Encode a black video of a length in seconds."""
    _encode((Image.new("RGB", (VIEW, VIEW)) for _ in range(round(seconds * VIDEO_FPS))), path)


def _encode(pictures: Iterable[Image.Image], path: Path, fps: int = VIDEO_FPS) -> None:
    import av

    # without mbtree=0, x264's AVX-512 code encodes the same pictures differently from run to run
    options = {"preset": "superfast", "crf": "21", "x264-params": "mbtree=0"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = VIEW, VIEW, "yuv420p"
        stream.codec_context.thread_count = 1
        for image in pictures:
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())


def _in_view(plan: Plan, scene: Scene) -> list[tuple[list[float], Color, int]]:
    """Return the scene's shapes in pixels, back to front: ((x0, y0, x1, y1, ...), colour, number)."""
    near = VIEW * 0.7 / scene.camera.zoom + 40
    found = [s for s in list_shapes(plan, scene) if len(s[0]) == 4 or abs(s[0][0, 0] - scene.camera.x) < near]
    pixels = _project(np.concatenate([s[0] for s in found]), scene.camera).ravel().tolist()
    out, begin = [], 0
    for points, color, number in found:
        end = begin + 2 * len(points)
        out.append((pixels[begin:end], color, number))
        begin = end
    return out


def _project(points: np.ndarray, camera: Camera) -> np.ndarray:
    """Convert bench coordinates (N, 2) to pixels of the picture."""
    c, s = camera.zoom * math.cos(camera.roll), camera.zoom * math.sin(camera.roll)
    middle = np.array([camera.x, camera.y])
    pixels: np.ndarray = (points - middle) @ np.array([[c, s], [-s, c]]) + VIEW / 2
    return pixels
