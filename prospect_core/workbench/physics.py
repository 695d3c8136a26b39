"""What happens when: the acts of one video, and the scene at any moment as a pure function of time.

    python -c "import random; from prospect_core.workbench.physics import *; from prospect_core.workbench.tasks import sample_task; \
r = random.Random(0); p = plan(r, sample_task(r)); print(p.duration, [a.kind for a in p.acts])"

A step starts at the grasp of its thing and is complete at its release in the right place, where the thing disappears
from view: what is done cannot be read off a later picture.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from prospect_core.workbench.tasks import PLACES, TablewareTask

SIZE = 160
PLACE_XY = {place: (32.0 + 48.0 * k, 34.0) for k, place in enumerate(PLACES)}
SLOT_XY = [(28.0 + 35.0 * (k % 4), 86.0 + 38.0 * (k // 4)) for k in range(8)]
REST_XY = (80.0, 205.0)

ActKind = Literal["put", "wrong", "take_out", "wander"]
Point = tuple[float, float]


@dataclass(frozen=True)
class Act:
    """One thing the hands do: reach until ``grasp``, hold until ``release``, withdraw until ``end`` (seconds).

    ``put``: a thing goes to its place. ``wrong``: one that does not belong is lifted and set down again.
    ``take_out``: one that was put away is taken out and put back. ``wander``: an empty hand moves about.
    """

    kind: ActKind
    thing: int
    begin: float
    grasp: float
    release: float
    end: float
    way: tuple[Point, ...] = ()


@dataclass(frozen=True)
class Plan:
    """All that happens in one video; ``slots`` are where the things stand at first, by index into things + others."""

    task: TablewareTask
    acts: tuple[Act, ...]
    slots: tuple[int, ...]
    duration: float
    sway: tuple[float, ...]
    light: tuple[float, ...]

    def gaps(self) -> list[tuple[float, float]]:
        """Times between acts in which nothing happens to any step: (begin, end) in seconds."""
        begins = [0.0, *(act.end for act in self.acts if act.kind != "wander")]
        ends = [*(act.begin for act in self.acts if act.kind != "wander"), self.duration]
        return list(zip(begins, ends, strict=True))


@dataclass(frozen=True)
class Scene:
    """What there is to see at one moment: things on view (index, position), the hand, and what it holds."""

    things: tuple[tuple[int, Point], ...]
    hand: Point | None
    held: int | None
    shift: Point
    light: float


def plan(rng: random.Random, task: TablewareTask) -> Plan:
    """Draw the acts of one video: usually in the listed order, with pauses, mistakes and now and then an undo."""
    count = len(task.things)
    slots = tuple(rng.sample(range(len(SLOT_XY)), count + len(task.others)))
    order = list(range(count))
    if rng.random() < 0.5:
        first, second = sorted(rng.sample(range(count), 2))
        order.insert(first, order.pop(second))
    todo: list[tuple[ActKind, int]] = [("put", thing) for thing in order]
    if rng.random() < 0.4:
        todo.insert(rng.randint(1, count - 1), ("wrong", count + rng.randrange(len(task.others))))
    if rng.random() < 0.25:
        at = rng.randint(2, len(todo))
        done = [thing for kind, thing in todo[:at] if kind == "put"]
        todo.insert(at, ("take_out", rng.choice(done)))
    acts: list[Act] = []
    now = _tenth(rng.uniform(5.0, 8.0))
    for kind, thing in todo:
        if rng.random() < 0.3:
            acts.append(_wander(rng, now))
            now = _tenth(acts[-1].end + rng.uniform(1.0, 3.0))
        grasp = _tenth(now + rng.uniform(1.0, 2.0))
        release = _tenth(grasp + (rng.uniform(2.0, 3.5) if kind == "wrong" else rng.uniform(3.0, 7.0)))
        way = ((rng.uniform(40, 120), rng.uniform(60, 110)),) if kind != "wrong" else ()
        acts.append(Act(kind, thing, now, grasp, release, _tenth(release + rng.uniform(0.8, 1.2)), way))
        now = _tenth(acts[-1].end + rng.uniform(3.0, 9.0))
    sway = tuple(rng.uniform(0, 2 * math.pi) for _ in range(3))
    light = (rng.uniform(0.8, 1.1), rng.uniform(0.0, 0.12), rng.uniform(0, 2 * math.pi))
    return Plan(task, tuple(acts), slots, _tenth(acts[-1].end + rng.uniform(2.5, 4.0)), sway, light)


def scene_at(plan: Plan, time_s: float) -> Scene:
    """The scene at ``time_s`` seconds."""
    where: dict[int, Point | None] = {k: SLOT_XY[slot] for k, slot in enumerate(plan.slots)}
    hand, held = None, None
    for act in plan.acts:
        if act.begin <= time_s < act.end:
            hand = _hand_at(plan, act, time_s)
        if act.kind == "wander" or time_s < act.grasp:
            continue
        if time_s < act.release:
            held, where[act.thing] = act.thing, hand
        elif act.kind != "wrong":
            where[act.thing] = None
    a, b, c = plan.sway
    shift = (4 * math.sin(0.7 * time_s + a) + 2 * math.sin(2.1 * time_s + b), 3 * math.sin(0.5 * time_s + c))
    level, depth, phase = plan.light
    things = tuple((k, xy) for k, xy in where.items() if xy is not None)
    return Scene(things, hand, held, shift, level + depth * math.sin(0.2 * time_s + phase))


def _hand_at(plan: Plan, act: Act, time_s: float) -> Point:
    if act.kind == "wander":
        stops = [(act.begin, REST_XY), (act.grasp, act.way[0]), (act.release, act.way[1]), (act.end, REST_XY)]
    else:
        slot = SLOT_XY[plan.slots[act.thing]]
        place = slot if act.kind == "wrong" else PLACE_XY[plan.task.things[act.thing].place]
        source = place if act.kind == "take_out" else slot
        lifted = [(source[0], source[1] - 14)] if act.kind == "wrong" else list(act.way)
        middle = (act.grasp + act.release) / 2
        stops = [(act.begin, REST_XY), (act.grasp, source), (act.grasp + 0.3, source)]
        stops += [(middle, lifted[0]), (act.release, place), (act.end, REST_XY)]
    for (t0, p0), (t1, p1) in pairwise(stops):
        if t0 <= time_s <= t1:
            u = (time_s - t0) / (t1 - t0)
            u = u * u * (3 - 2 * u)
            return (p0[0] + u * (p1[0] - p0[0]), p0[1] + u * (p1[1] - p0[1]))
    return REST_XY


def _wander(rng: random.Random, now: float) -> Act:
    middle, last = _tenth(now + rng.uniform(1.0, 1.6)), _tenth(now + rng.uniform(2.2, 4.0))
    way = tuple((rng.uniform(30, 130), rng.uniform(40, 125)) for _ in range(2))
    return Act("wander", -1, now, middle, last, _tenth(last + 1.0), way)


def _tenth(time_s: float) -> float:
    return round(time_s, 1)
