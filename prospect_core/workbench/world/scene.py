"""Plan of a video (hand, gaze and effects), and the scene at any time as a pure function of the plan.

The bench is wider than the view. A thing is in its slot, in the drawer, in the hand, in a place, or
under a bowl. Tools have their own slots. Coordinates are pixels of the bench, x to the right, y
down.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from prospect_core.workbench.world.tasks import PLACES, Assignment

Point = tuple[float, float]
Item = int | str
EffectKind = Literal["take", "lay", "away", "cut", "cover", "uncover", "open", "close"]
HappeningKind = Literal["start", "complete", "reopen", "wrong_thing", "wrong_place", "aside"]

VIEW = 160
COLUMN, ROWS, BACK = 40.0, (88.0, 128.0), 34.0
TOOL_ITEMS = ("cloth", "knife", "bowl")
REST_Y = 225.0


@dataclass(frozen=True)
class Key:
    """Position of the hand or the gaze at a time; positions in between are interpolated smoothly.

    Attributes:
        time: Time in seconds.
        x: Position to the right.
        y: Position down.
        z: Height: 0 on the bench, 1 up.
    """

    time: float
    x: float
    y: float
    z: float


@dataclass(frozen=True)
class Effect:
    """Change of the world.

    Attributes:
        time: Time in seconds.
        kind: An item is taken, laid on the bench, put ``away`` in a place, cut, covered or
            uncovered, or the drawer opens or closes.
        item: Index of a thing, or a tool.
        where: Place of an item that is put away.
    """

    time: float
    kind: EffectKind
    item: Item = ""
    where: str = ""


@dataclass(frozen=True)
class Happening:
    """Event that a good assistant notices: a change of a job, a wrong thing or place, or a job set aside.

    Attributes:
        time: Time in seconds.
        kind: Kind of the event.
        job: Number of the job; -1 for none.
        thing: Index of the thing; -1 for none.
        place: Name of the place; empty for none.
    """

    time: float
    kind: HappeningKind
    job: int = -1
    thing: int = -1
    place: str = ""


@dataclass(frozen=True)
class Plan:
    """Complete contents of a video.

    Attributes:
        assignment: The task.
        slots: Slot of each thing, then of cloth, knife and bowls.
        in_drawer: Things that start in the drawer.
        hand: Keys of the hand.
        gaze: Keys of the gaze.
        effects: Effects in order.
        happenings: Happenings in order.
        quiet: (start, end) of the pauses, in seconds.
        duration: Length in seconds.
        look: Appearance.
    """

    assignment: Assignment
    slots: tuple[int, ...]
    in_drawer: tuple[int, ...]
    hand: tuple[Key, ...]
    gaze: tuple[Key, ...]
    effects: tuple[Effect, ...]
    happenings: tuple[Happening, ...]
    quiet: tuple[tuple[float, float], ...]
    duration: float
    look: Look

    @property
    def columns(self) -> int:
        """Number of columns of slots on the bench."""
        return scene_column_count(self.assignment)

    @property
    def width(self) -> float:
        """Width of the bench in pixels."""
        return COLUMN * self.columns

    def slot_xy(self, item: Item) -> Point:
        """Return the position of an item's slot."""
        things = len(self.assignment.looks)
        slot = self.slots[item if isinstance(item, int) else things + TOOL_ITEMS.index(item)]
        return scene_slot_point(slot, self.columns)

    def place_xy(self, place: str) -> Point:
        """Return the position of a container or the drawer, in the back of the bench."""
        k = ("drawer", *PLACES).index(place)
        return self.width * (k + 0.5) / (len(PLACES) + 1), BACK

    @cached_property
    def times(self) -> tuple[list[float], list[float], list[float]]:
        """Times of the hand's keys, the gaze's keys and the effects, for bisection."""
        return [k.time for k in self.hand], [k.time for k in self.gaze], [e.time for e in self.effects]

    @cached_property
    def stages(self) -> list[Stage]:
        """Stage before any effect, and after each."""
        things = range(len(self.assignment.looks))
        where: dict[Item, str] = {k: "drawer" if k in self.in_drawer else "slot" for k in things}
        where |= {"cloth": "slot", "knife": "slot"}
        out = [Stage(dict(where), frozenset(), frozenset(), None, False)]
        for effect in self.effects:
            out.append(out[-1].after(effect))
        return out


@dataclass(frozen=True)
class Stage:
    """State of the world between two effects.

    Attributes:
        where: Place of every item: ``slot``, ``drawer``, ``hand`` or the name of a place.
        cut: Cut things.
        covered: Covered things.
        held: Item in the hand.
        drawer_open: Whether the drawer is open.
    """

    where: dict[Item, str]
    cut: frozenset[int]
    covered: frozenset[int]
    held: Item | None
    drawer_open: bool

    def after(self, effect: Effect) -> Stage:
        """Return the stage after an effect."""
        where, cut, covered, held, drawer = dict(self.where), self.cut, self.covered, self.held, self.drawer_open
        item = effect.item
        things = {item} if isinstance(item, int) else set()
        if effect.kind == "take":
            held = item
            if item != "bowl":
                where[item] = "hand"
        elif effect.kind in ("lay", "away"):
            held = None
            if item != "bowl":
                where[item] = effect.where or "slot"
        elif effect.kind == "cut":
            cut = cut | things
        elif effect.kind == "cover":
            covered, held = covered | things, None
        elif effect.kind == "uncover":
            covered, held = covered - things, "bowl"
        else:
            drawer = effect.kind == "open"
        return Stage(where, cut, covered, held, drawer)


@dataclass(frozen=True)
class Look:
    """Appearance of a video.

    Attributes:
        sway: Amplitude of the head's sway in pixels.
        roll: Amplitude of the head's roll in degrees.
        zoom: Amplitude of the zoom, as a share.
        phases: Phases of these movements and of the light, in radians.
        light: Mean brightness factor.
        drift: Amplitude of the brightness.
        tint: Factors of red, green and blue.
        lamps: (time in seconds, brightness factor) of each switch of a lamp.
        patches: (x, y, width, height, tone) of each patch on the bench.
        jugs: Positions of the jugs.
    """

    sway: float
    roll: float
    zoom: float
    phases: tuple[float, ...]
    light: float
    drift: float
    tint: tuple[float, float, float]
    lamps: tuple[tuple[float, float], ...]
    patches: tuple[tuple[float, float, float, float, int], ...]
    jugs: tuple[float, ...]


@dataclass(frozen=True)
class Camera:
    """View of a scene.

    Attributes:
        x: Centre on the bench.
        y: Centre on the bench.
        zoom: Zoom factor.
        roll: Roll in radians.
    """

    x: float
    y: float
    zoom: float
    roll: float


@dataclass(frozen=True)
class Scene:
    """State of everything at one time; the renderer determines what is visible.

    Attributes:
        stage: State of the items.
        hand: Position (x, y, z); None outside the view.
        camera: The view.
        light: Factors of red, green and blue.
    """

    stage: Stage
    hand: tuple[float, float, float] | None
    camera: Camera
    light: tuple[float, float, float]


def scene_at(plan: Plan, time_s: float) -> Scene:
    """Return the scene at ``time_s`` seconds."""
    hand_times, gaze_times, effect_times = plan.times
    stage = plan.stages[bisect_right(effect_times, time_s)]
    hand = _between(plan.hand, hand_times, time_s)
    gx, gy, _ = _between(plan.gaze, gaze_times, time_s)
    look, p = plan.look, plan.look.phases
    camera = Camera(
        gx + look.sway * (math.sin(0.7 * time_s + p[0]) + 0.4 * math.sin(2.1 * time_s + p[1])),
        gy + 0.6 * look.sway * math.sin(0.5 * time_s + p[2]),
        1 + look.zoom * math.sin(0.31 * time_s + p[3]),
        math.radians(look.roll) * math.sin(0.43 * time_s + p[4]),
    )
    level = look.light + look.drift * math.sin(0.2 * time_s + p[5])
    for moment, factor in look.lamps:
        if time_s >= moment:
            level *= 1 + (factor - 1) * min(1.0, (time_s - moment) / 0.4)
    red, green, blue = look.tint
    light = level * red, level * green, level * blue
    return Scene(stage, hand if hand[1] < REST_Y - 1 else None, camera, light)


def scene_slot_point(slot: int, columns: int) -> Point:
    """Return the centre of a slot; there are two rows of ``columns`` slots."""
    return COLUMN * (slot % columns + 0.5), ROWS[slot // columns]


def scene_column_count(assignment: Assignment) -> int:
    """Return the columns that the bench needs for a slot per thing and tool, at least seven."""
    return max(7, math.ceil((len(assignment.looks) + len(TOOL_ITEMS)) / 2))


def _between(keys: tuple[Key, ...], times: list[float], time_s: float) -> tuple[float, float, float]:
    after = min(max(bisect_right(times, time_s), 1), len(keys) - 1)
    a, b = keys[after - 1], keys[after]
    u = min(1.0, max(0.0, (time_s - a.time) / (b.time - a.time)))
    u = u * u * (3 - 2 * u)
    return a.x + u * (b.x - a.x), a.y + u * (b.y - a.y), a.z + u * (b.z - a.z)
