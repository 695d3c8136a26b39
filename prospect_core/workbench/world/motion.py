"""Hand motion: single movements that write the keys, effects and happenings of a plan.

Times are tenths of a second. The hand is down when it grasps or works on something, and up
otherwise. A movement is visible in full at its last moment, when a good assistant may react. The
gaze follows the hand.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from prospect_core.workbench.world.scene import (
    REST_Y,
    VIEW,
    Effect,
    EffectKind,
    Happening,
    HappeningKind,
    Item,
    Key,
    Plan,
    Point,
)

LIFT, HOLD_Y = 30.0, 74.0
DOWN, UP = 0.0, 1.0


def round_motion_time(time_s: float) -> float:
    """Round a time to tenths of a second, as in annotations."""
    return round(time_s, 1)


class HandMotion:
    """Moves one hand over the bench of a plan.

    Args:
        rng: Random generator.
        plan: The plan, which defines places and slots.
        now: Start time in seconds.
    """

    def __init__(self, rng: random.Random, plan: Plan, now: float) -> None:
        self.rng, self.plan, self.now = rng, plan, now
        self.hand: list[Key] = [Key(0.0, plan.width / 2, REST_Y, UP)]
        self.effects: list[Effect] = []
        self.happenings: list[Happening] = []
        self.at: Point = (plan.width / 2, REST_Y)

    def note(self, kind: HappeningKind, job: int, thing: int = -1, place: str = "") -> None:
        """Record a happening at the current time.

        Args:
            kind: Kind of the happening.
            job: Number of the job; -1 for none.
            thing: Index of the thing; -1 for none.
            place: Name of the place; empty for none.
        """
        self.happenings.append(Happening(self.now, kind, job, thing, place))

    def take(self, item: Item) -> None:
        """Reach an item in its slot and lift it."""
        self._go(self.plan.slot_xy(item))
        self._wait(0.3)
        self._effect("take", item)
        self._raise(0.4)

    def take_out(self, thing: int, place: str) -> None:
        """Reach into a container and take the thing out."""
        self._go(self.plan.place_xy(place))
        self._wait(0.3)
        self._effect("take", thing)
        self._raise(0.6)

    def lay_back(self, item: Item) -> None:
        """Carry the held item to its slot, lay it down and release it."""
        self._carry(self.plan.slot_xy(item))
        self._effect("lay", item)
        self._raise(0.5)

    def put_away(self, thing: int, place: str) -> None:
        """Carry the held thing over a container and drop it; it disappears at the last moment."""
        self._carry(self.plan.place_xy(place), down=False)
        self._effect("away", thing, place)

    def touch(self, thing: int, above: float = 0.0) -> None:
        """Bring the held tool down to a thing in its slot."""
        x, y = self.plan.slot_xy(thing)
        self._carry((x, y - above))

    def work_on(self, thing: int, seconds: float, above: float = 0.0) -> None:
        """Move back and forth over a thing.

        Args:
            thing: Index of the thing.
            seconds: Duration.
            above: Distance above the thing's slot, in pixels.
        """
        x, y = self.plan.slot_xy(thing)
        side = 6.0
        for _ in range(max(2, round(seconds / 0.5))):
            self._key(0.5, (x + side, y - above), DOWN)
            side = -side
        self._key(0.2, (x, y - above), DOWN)

    def lift(self, cuts: int | None = None) -> None:
        """Lift the held tool off the thing; with ``cuts``, the thing is then in two halves."""
        self._key(0.4, (self.at[0] + 10, self.at[1] - LIFT), UP)
        if cuts is not None:
            self._effect("cut", cuts)

    def cover(self, thing: int) -> None:
        """Set the held bowl down over a thing and release it."""
        self._key(0.4, self.plan.slot_xy(thing), DOWN)
        self._effect("cover", thing)
        self._raise(0.5)

    def uncover(self, thing: int) -> None:
        """Lift the bowl off a thing; the thing is visible at the last moment."""
        x, y = self.plan.slot_xy(thing)
        self._go((x, y))
        self._wait(0.3)
        self._effect("uncover", thing)
        self._key(0.4, (x + 24, y - LIFT - 10), UP)

    def open_drawer(self) -> None:
        """Pull the drawer out."""
        self._go(self.plan.place_xy("drawer"))
        self._wait(0.3)
        self._effect("open")

    def linger(self) -> None:
        """Hold still, as a person does while listening."""
        x, y = self.at
        self._key(0.8, (x + self.rng.uniform(-8, 8), min(y, HOLD_Y + 20) + 10), UP)
        self._wait(round_motion_time(self.rng.uniform(0.8, 1.6)))

    def withdraw(self, close_drawer: bool = False) -> None:
        """Move the hand out of view."""
        self._wait(0.3)
        if close_drawer:
            self._effect("close")
        self._key(1.0, (self.at[0], REST_Y), UP)

    def fidget(self) -> None:
        """Move the empty hand without an effect."""
        for _ in range(self.rng.randint(1, 3)):
            self._go((self._near(self.at[0]), self.rng.uniform(70, 130)), down=False)
            self._wait(round_motion_time(self.rng.uniform(0.2, 0.8)))
        self._key(1.0, (self.at[0], REST_Y), UP)

    def finish(
        self, end: float, glances: float, quiet: Sequence[tuple[float, float]]
    ) -> tuple[tuple[Key, ...], tuple[Key, ...], tuple[Effect, ...], tuple[Happening, ...]]:
        """Return (hand, gaze, effects, happenings) of the whole video.

        Args:
            end: End of the video in seconds.
            glances: Probability that the gaze wanders in a pause.
            quiet: (start, end) of the pauses.
        """
        low, high = VIEW / 2 - 6, self.plan.width - VIEW / 2 + 6
        gaze = [Key(k.time, min(high, max(low, k.x)), VIEW / 2, UP) for k in self.hand]
        for begin, until in quiet:
            time = begin + 0.8
            while until - time > 3.2 and self.rng.random() < glances:
                stay = self.rng.uniform(0.6, 2.0)
                x = self.rng.uniform(low, high)
                gaze += [
                    Key(round_motion_time(time + 0.7), x, VIEW / 2, UP),
                    Key(round_motion_time(time + 0.7 + stay), x, VIEW / 2, UP),
                ]
                time += 0.9 + stay
        gaze = sorted({k.time: k for k in gaze}.values(), key=lambda k: k.time)
        self.hand.append(Key(max(end, self.hand[-1].time + 0.1), self.at[0], REST_Y, UP))
        return tuple(self.hand), tuple(gaze), tuple(self.effects), tuple(self.happenings)

    def _near(self, x: float) -> float:
        return min(self.plan.width - 10, max(10.0, x + self.rng.uniform(-60, 60)))

    def _go(self, point: Point, down: bool = True) -> None:
        """Reach a point with a hand that may come from outside the view."""
        if self.at[1] >= REST_Y and self.hand[-1].time < self.now:
            self.at = (point[0] + self.rng.uniform(-25, 25), REST_Y)
            self.hand.append(Key(self.now, *self.at, UP))
        far = abs(point[0] - self.at[0]) + abs(point[1] - self.at[1])
        self._key(max(0.6, far / self.rng.uniform(120, 180)), point, UP)
        if down:
            self._key(0.3, point, DOWN)

    def _carry(self, point: Point, down: bool = True) -> None:
        """Carry the held item slowly and bring it down at the end, away from other items."""
        x = (self.at[0] + point[0]) / 2 + self.rng.uniform(-15, 15)
        far = abs(point[0] - self.at[0]) / 180
        self._key(self.rng.uniform(0.5, 1.2) + far, (x, HOLD_Y + self.rng.uniform(-8, 12)), UP)
        self._key(self.rng.uniform(0.5, 1.2) + far, point, UP)
        if down:
            self._key(0.3, point, DOWN)

    def _raise(self, seconds: float) -> None:
        self._key(seconds, (self.at[0], self.at[1] + 10 if self.at[1] < 100 else self.at[1] - 10), UP)

    def _wait(self, seconds: float) -> None:
        self._key(seconds, self.at, self.hand[-1].z)

    def _key(self, seconds: float, point: Point, z: float) -> None:
        self.now = round_motion_time(self.now + max(0.1, seconds))
        self.at = point
        self.hand.append(Key(self.now, *point, z))

    def _effect(self, kind: EffectKind, item: Item = "", where: str = "") -> None:
        self.effects.append(Effect(self.now, kind, item, where))
