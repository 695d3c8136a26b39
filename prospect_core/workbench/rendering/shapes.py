"""Shapes of a scene: polygons in bench coordinates with a colour and, for items, a number.

The renderer draws the same list in colours for the picture, and in numbers to determine which items
are visible.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache

import numpy as np

from prospect_core.workbench.world.scene import TOOL_ITEMS, Item, Plan, Scene
from prospect_core.workbench.world.tasks import PLACES

Color = tuple[int, int, int]
#: (points (N, 2) on the bench, colour, number of the item or 0)
Shape = tuple[np.ndarray, Color, int]

RGB: dict[str, Color] = {
    "red": (214, 40, 40),
    "green": (40, 165, 70),
    "blue": (45, 85, 220),
    "yellow": (243, 208, 50),
    "purple": (150, 55, 180),
    "white": (242, 242, 236),
}
BENCH_RGB, WALL_RGB, SKIN_RGB, NAIL_RGB = (122, 110, 100), (70, 78, 92), (226, 166, 132), (196, 132, 100)
PLACE_RGB = {"box": (112, 70, 34), "basket": (206, 178, 120), "bin": (38, 38, 44), "drawer": (92, 118, 152)}
TOOL_RGB = {"cloth": (150, 226, 228), "knife": (208, 212, 222), "bowl": (22, 98, 98)}
PATCH_RGB = ((142, 130, 116), (104, 96, 90), (150, 146, 140))
JUG_RGB, DARK_RGB = (58, 66, 62), (24, 22, 22)
SIZE = 13.0
HAND_ID = 255


def shape_item_number(plan: Plan, item: Item) -> int:
    """Return the number of an item in the numbered picture, at least 1."""
    return 1 + (item if isinstance(item, int) else len(plan.assignment.looks) + TOOL_ITEMS.index(item))


def list_shapes(plan: Plan, scene: Scene) -> list[Shape]:
    """Return all shapes of a scene, back to front."""
    stage, out = scene.stage, list(_background(plan, scene))
    looks = plan.assignment.looks
    things = [k for k in range(len(looks)) if stage.where[k] == "slot"]
    for tool in ("cloth", "knife"):
        if stage.where[tool] == "slot":
            out += _tool(tool, plan.slot_xy(tool), 1.0, shape_item_number(plan, tool))
    out += _tool("bowl", plan.slot_xy("bowl"), 1.0, 0)
    for k in sorted(things, key=lambda k: plan.slot_xy(k)[1]):
        if k in stage.covered:
            out += _tool("bowl", plan.slot_xy(k), 1.0, shape_item_number(plan, "bowl"))
        else:
            out += _thing(plan, k, plan.slot_xy(k), 1.0, k in stage.cut)
    for x in plan.look.jugs:
        out.append((_moved(_JUG, x, 128.0), JUG_RGB, 0))
        out.append((_moved(_ellipse(11, 5), x, 102.0), DARK_RGB, 0))
    if scene.hand is not None:
        out += _hand(plan, scene)
    return out


def _background(plan: Plan, scene: Scene) -> Iterator[Shape]:
    left, right = -60.0, plan.width + 60.0
    yield _box(left, -60, right, 12), WALL_RGB, 0
    for x, y, w, h, tone in plan.look.patches:
        yield _moved(_ellipse(w, h), x, y), PATCH_RGB[tone], 0
    x, y = plan.place_xy("drawer")
    yield _box(x - 25, y - 18, x + 25, y + 10), PLACE_RGB["drawer"], 0
    if scene.stage.drawer_open:
        yield _box(x - 22, y - 6, x + 22, y + 24), DARK_RGB, 0
        yield _box(x - 25, y + 16, x + 25, y + 26), PLACE_RGB["drawer"], 0
    else:
        yield _box(x - 9, y - 2, x + 9, y + 3), DARK_RGB, 0
    for place in PLACES:
        x, y = plan.place_xy(place)
        outer, inner = _CONTAINERS[place]
        yield _moved(outer, x, y), PLACE_RGB[place], 0
        yield _moved(inner, x, y - 4), DARK_RGB, 0


def _thing(plan: Plan, k: int, xy: tuple[float, float], scale: float, cut: bool) -> Iterator[Shape]:
    look = plan.assignment.looks[k]
    color, number = RGB[look.color], shape_item_number(plan, k)
    for outline, dx in _halves(look.kind) if cut else ((_outline(look.kind), 0.0),):
        yield outline * scale + (xy[0] + dx * scale, xy[1]), color, number
    if look.kind == "ring":
        yield _ellipse(5, 5) * scale + xy, BENCH_RGB, 0


def _tool(tool: str, xy: tuple[float, float], scale: float, number: int) -> Iterator[Shape]:
    if tool == "knife":
        yield _BLADE * scale + xy, TOOL_RGB[tool], number
        yield _HANDLE * scale + xy, DARK_RGB, number
    elif tool == "cloth":
        yield _CLOTH * scale + xy, TOOL_RGB[tool], number
    else:
        yield _DOME * scale + xy, TOOL_RGB[tool], number
        yield _box(-4, -15, 4, -11) * scale + xy, DARK_RGB, number


def _hand(plan: Plan, scene: Scene) -> Iterator[Shape]:
    assert scene.hand is not None
    x, y, z = scene.hand
    size = 1 + 0.3 * z
    # a right hand from the lower right keeps the left side of a touched thing visible
    px, py = x + 8, y + 15 - 4 * z
    foot = scene.camera.x + 0.5 * (x - scene.camera.x) + 60
    arm = np.array([(px - 8 * size, py), (px + 8 * size, py), (foot + 16, 320.0), (foot - 16, 320.0)])
    yield arm, SKIN_RGB, HAND_ID
    yield _ellipse(12, 11) * size + (px, py), SKIN_RGB, HAND_ID
    held = scene.stage.held
    if held is None:
        for finger in (-11, -5, 1, 7):
            yield _box(-2.2, -14, 2.2, 2) * size + (px + finger * size, py - 6), SKIN_RGB, HAND_ID
        return
    at, scale = (x, y - 8 * z), 1 + 0.5 * z
    if isinstance(held, int):
        yield from _thing(plan, held, at, scale, held in scene.stage.cut)
    else:
        low = 0 if held == "bowl" else 5
        yield from _tool(held, (x, at[1] + low), scale, shape_item_number(plan, held))
    for finger in (-8, 10):
        yield _box(-2.6, -8, 2.6, 3) * size + (x + finger * size, py - 2), NAIL_RGB, HAND_ID


def _moved(points: np.ndarray, x: float, y: float) -> np.ndarray:
    moved: np.ndarray = points + np.array([x, y])
    return moved


@cache
def _outline(kind: str) -> np.ndarray:
    if kind == "block":
        return _box(-SIZE * 0.9, -SIZE * 0.9, SIZE * 0.9, SIZE * 0.9)
    if kind in ("ball", "ring"):
        return _ellipse(SIZE, SIZE)
    if kind == "cone":
        return np.array([(0, -SIZE * 1.15), (SIZE * 1.05, SIZE * 0.95), (-SIZE * 1.05, SIZE * 0.95)])
    if kind == "star":
        turns = [math.pi * (k / 4 - 0.5) for k in range(8)]
        radii = [SIZE * (1.25 if k % 2 == 0 else 0.55) for k in range(8)]
        return np.array([(r * math.cos(a), r * math.sin(a)) for r, a in zip(radii, turns, strict=True)])
    w = SIZE * 0.55
    return np.array([(-w, 14), (w, 14), (w, -3), (3.2, -8), (3.2, -17), (-3.2, -17), (-3.2, -8), (-w, -3)])


@cache
def _halves(kind: str) -> tuple[tuple[np.ndarray, float], tuple[np.ndarray, float]]:
    """Return the two halves of an outline, each with its displacement."""
    points = _outline(kind)
    out = []
    for side in (-1.0, 1.0):
        kept: list[tuple[float, float]] = []
        for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
            if x0 * side >= 0:
                kept.append((x0, y0))
            if x0 * x1 < 0:
                kept.append((0.0, y0 + (y1 - y0) * x0 / (x0 - x1)))
        out.append((np.array(kept), side * 6.0))
    return out[0], out[1]


@cache
def _ellipse(rx: float, ry: float) -> np.ndarray:
    turns = np.arange(16) * (2 * math.pi / 16)
    return np.stack([rx * np.cos(turns), ry * np.sin(turns)], -1)


@cache
def _box(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], dtype=float)


_CONTAINERS = {
    "box": (_box(-22, -16, 22, 16), _box(-18, -9, 18, 4)),
    "basket": (_ellipse(23, 17), _ellipse(18, 9)),
    "bin": (np.array([(-21, -17), (21, -17), (14, 17), (-14, 17)], dtype=float), _ellipse(15, 5)),
}
_CLOTH = np.array([(-11, -6), (-4, -9), (4, -6), (11, -8), (10, 7), (3, 9), (-5, 6), (-11, 8)], dtype=float)
_BLADE = np.array([(-3, -17), (3, -10), (3, 5), (-3, 5)], dtype=float)
_HANDLE = np.array([(-3, 5), (3, 5), (3, 15), (-3, 15)], dtype=float)
_DOME = np.array([(-17, 12), (-16, 0), (-11, -9), (-4, -13), (4, -13), (11, -9), (16, 0), (17, 12)], dtype=float)
_JUG = np.array([(-12, 26), (12, 26), (13, 0), (9, -22), (-9, -22), (-13, 0)], dtype=float)
