"""Pictures of a scene, and a plan as an H.264 file.

    python -c "import random; from prospect_core.workbench.render import *; from prospect_core.workbench.physics import *; \
from prospect_core.workbench.tasks import sample_task; r = random.Random(0); p = plan(r, sample_task(r)); picture(p, 9.0).save('frame.png')"
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from prospect_core.workbench.physics import PLACE_XY, SIZE, Plan, Point, scene_at

VIDEO_FPS = 10
RGB = {
    "red": (214, 40, 40),
    "green": (34, 150, 60),
    "blue": (40, 80, 210),
    "yellow": (240, 210, 40),
    "purple": (140, 50, 160),
    "orange": (245, 130, 20),
}
PLACE_RGB = {"box": (120, 78, 40), "basket": (150, 150, 158), "bin": (45, 45, 52)}
TABLE_RGB, WALL_RGB, SKIN_RGB = (186, 196, 206), (105, 120, 135), (232, 168, 132)
HALF = 11


def picture(plan: Plan, time_s: float) -> Image.Image:
    """What the person sees at ``time_s`` seconds, 160 x 160 RGB."""
    scene = scene_at(plan, time_s)
    image = Image.new("RGB", (SIZE, SIZE), TABLE_RGB)
    draw = ImageDraw.Draw(image)
    dx, dy = scene.shift
    draw.rectangle((0, 0, SIZE, 12 + dy), fill=WALL_RGB)
    for place, (x, y) in PLACE_XY.items():
        _container(draw, place, x + dx, y + dy)
    looks = [*plan.task.things, *plan.task.others]
    for k, (x, y) in scene.things:
        if k != scene.held:
            _thing(draw, looks[k].shape, RGB[looks[k].color], (x + dx, y + dy))
    if scene.hand is not None:
        x, y = scene.hand[0] + dx, scene.hand[1] + dy
        draw.line((x, y + 6, 80 + (x - 80) * 0.5, SIZE + 30), fill=SKIN_RGB, width=16)
        draw.ellipse((x - 14, y - 8, x + 14, y + 18), fill=SKIN_RGB, outline=(180, 120, 95))
        if scene.held is None:
            for finger in (-9, -3, 3, 9):
                draw.line((x + finger, y - 4, x + finger * 1.2, y - 15), fill=SKIN_RGB, width=5)
        else:
            _thing(draw, looks[scene.held].shape, RGB[looks[scene.held].color], (x, y - 2))
    return Image.fromarray(np.clip(np.asarray(image) * scene.light, 0, 255).astype(np.uint8))


def write_video(plan: Plan, path: Path) -> None:
    """Encode the whole plan; the same plan gives the same decoded pixels (one encoder thread)."""
    times = (float(Fraction(number, VIDEO_FPS)) for number in range(round(plan.duration * VIDEO_FPS)))
    _encode((picture(plan, time) for time in times), path)


def write_blank(path: Path, seconds: float) -> None:
    """A black video."""
    _encode((Image.new("RGB", (SIZE, SIZE)) for _ in range(round(seconds * VIDEO_FPS))), path)


def _encode(pictures: Iterable[Image.Image], path: Path) -> None:
    import av

    # without mbtree=0, x264's AVX-512 code encodes the same pictures differently from run to run
    options = {"preset": "veryfast", "crf": "23", "x264-params": "mbtree=0"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=VIDEO_FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "yuv420p"
        stream.codec_context.thread_count = 1
        for image in pictures:
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())


def _container(draw: ImageDraw.ImageDraw, place: str, x: float, y: float) -> None:
    box = (x - 20, y - 15, x + 20, y + 15)
    if place == "basket":
        draw.ellipse(box, fill=PLACE_RGB[place], outline=(90, 90, 96), width=3)
    elif place == "box":
        draw.rectangle(box, fill=PLACE_RGB[place], outline=(70, 40, 15), width=3)
    else:
        draw.polygon(((x - 20, y - 15), (x + 20, y - 15), (x + 13, y + 15), (x - 13, y + 15)), fill=PLACE_RGB[place])


def _thing(draw: ImageDraw.ImageDraw, shape: str, color: tuple[int, int, int], xy: Point) -> None:
    x, y = xy
    edge = tuple(c // 2 for c in color)
    if shape == "cube":
        draw.rectangle((x - HALF, y - HALF, x + HALF, y + HALF), fill=color, outline=edge, width=2)
    elif shape == "ball":
        draw.ellipse((x - HALF, y - HALF, x + HALF, y + HALF), fill=color, outline=edge, width=2)
    else:
        draw.polygon(((x, y - HALF - 2), (x - HALF, y + HALF), (x + HALF, y + HALF)), fill=color, outline=edge)
