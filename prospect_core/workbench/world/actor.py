"""Simulate a person who works through a task, with pauses, detours, mistakes and corrections.

The person follows the list or does another possible step, leaves a step half done and returns to
it, takes a thing without a step, uses the wrong place, undoes a step, and skips steps. The result
is a `Plan`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from prospect_core.workbench.world.levels import Level
from prospect_core.workbench.world.motion import HandMotion, round_motion_time
from prospect_core.workbench.world.scene import COLUMN, TOOL_ITEMS, Look, Plan, scene_column_count
from prospect_core.workbench.world.tasks import PLACES, TOOLS, Assignment, StepAction

FOLLOWS, SETS_ASIDE, WRONG_PLACE, WRONG_THING, UNDOES, LEAVES_OUT = 0.55, 0.16, 0.15, 0.08, 0.09, 0.3
SHORT_PAUSE, LONG_PAUSE, LONG_SHARE = (2.5, 5.0), (11.0, 15.0), 0.08


def act_out(rng: random.Random, assignment: Assignment, level: Level, minutes: float = 0) -> Plan:
    """Simulate one video.

    Args:
        rng: Random generator.
        assignment: The task.
        level: Difficulty.
        minutes: Target length, which idling, mistakes and undoing fill; 0 for no target.
    """
    person = _Person(rng, assignment, level, minutes * 60)
    person.work()
    return person.plan()


class _Person:
    def __init__(self, rng: random.Random, assignment: Assignment, level: Level, target_s: float) -> None:
        self.rng, self.task, self.level, self.target_s = rng, assignment, level, target_s
        columns = scene_column_count(assignment)
        slots = tuple(rng.sample(range(2 * columns), len(assignment.looks) + len(TOOL_ITEMS)))
        in_drawer = tuple(sorted(job.thing for job in assignment.jobs if job.verb == "fetch"))
        look = _draw_look(rng, assignment, level, slots, columns)
        self.draft = Plan(assignment, slots, in_drawer, (), (), (), (), (), 0.0, look)
        self.hands = HandMotion(rng, self.draft, now=round_motion_time(rng.uniform(6.0, 9.0)))
        jobs = len(assignment.jobs)
        self.state = ["not_started"] * jobs
        self.left_out = self._leave_out()
        self.quiet: list[tuple[float, float]] = []

    def work(self) -> None:
        """Do all steps that are not skipped, with detours in between."""
        while True:
            ready = [k for k in range(len(self.state)) if self._ready(k)]
            if self.target_s and self._ahead(ready):
                self._fill()
            elif not ready:
                break
            else:
                if self.task.clutter and self.rng.random() < WRONG_THING:
                    self._act(self._take_wrong_thing)
                job = self._choose(ready)
                self._act(partial(self._do, job))
                if self.rng.random() < UNDOES:
                    self._undo()
        self.quiet.append((self.hands.now, round_motion_time(self.hands.now + self.rng.uniform(*self._ending()))))

    def plan(self) -> Plan:
        """Return the actions as a plan."""
        end, quiet = self.quiet[-1][1], tuple(self.quiet)
        hand, gaze, effects, happenings = self.hands.finish(end, self.level.glances, quiet)
        lamps = sorted(
            (round_motion_time(self.rng.uniform(5, end)), f) for f in _lamp_factors(self.rng, self.level.light)
        )
        look = replace(self.draft.look, lamps=tuple(lamps))
        return replace(
            self.draft,
            hand=hand,
            gaze=gaze,
            effects=effects,
            happenings=happenings,
            quiet=quiet,
            duration=end,
            look=look,
        )

    def _act(self, act: Callable[[], None]) -> None:
        """Pause, then act."""
        begin = self.hands.now if self.quiet else 0.0
        if self.quiet:
            self.hands.now = round_motion_time(self.hands.now + self._pause())
        self.quiet.append((begin, self.hands.now))
        act()

    def _pause(self) -> float:
        span = LONG_PAUSE if self.rng.random() < LONG_SHARE else SHORT_PAUSE
        return self.rng.uniform(*span) * self.level.pace

    def _ending(self) -> tuple[float, float]:
        return (10.0, 12.0) if any(s != "completed" for s in self.state) else (3.0, 5.0)

    def _ready(self, job: int) -> bool:
        """Check whether a job can be done now: earlier jobs of its chain are done, and it is not skipped."""
        if self.state[job] == "completed" or job in self.left_out:
            return False
        chain = self.task.chain(self.task.jobs[job].thing)
        return all(self.state[k] == "completed" for k in chain[: chain.index(job)])

    def _choose(self, ready: list[int]) -> int:
        """Choose the first open step in the list, which the assistant has named, or any other possible one."""
        begun = [k for k in ready if self.state[k] == "in_progress"]
        if begun and self.rng.random() < 0.5:
            return self.rng.choice(begun)
        return ready[0] if self.rng.random() < FOLLOWS else self.rng.choice(ready)

    def _leave_out(self) -> set[int]:
        """Draw one or two steps that are never done; no other step depends on them."""
        ends = [self.task.chain(thing)[-1] for thing in range(len(self.task.things))]
        if self.rng.random() >= LEAVES_OUT:
            return set()
        return set(self.rng.sample(ends, self.rng.randint(1, max(1, min(2, len(ends) - 1)))))

    def _ahead(self, ready: list[int]) -> bool:
        """Check whether the steps done are ahead of the target time."""
        jobs = len(self.state) - len(self.left_out)
        done = sum(s == "completed" for s in self.state)
        share = (done + 1) / (jobs + 1) if ready else 1.0
        return self.hands.now < share * self.target_s

    def _fill(self) -> None:
        kind = self.rng.random()
        if kind < 0.2 and self.task.clutter:
            self._act(self._take_wrong_thing)
        elif kind < 0.45:
            self._undo()
        else:
            self._act(self.hands.fidget)

    def _do(self, job: int) -> None:
        """Visit a job once: complete it, or set it aside half done (once)."""
        begun = self.state[job] == "in_progress"
        verb = self.task.jobs[job].verb
        others = sum(self._ready(k) for k in range(len(self.state))) > 1
        aside = not begun and others and verb in ("wipe", "cut", "put") and self.rng.random() < SETS_ASIDE
        if not begun and self.rng.random() < 0.15:
            self.hands.fidget()
        getattr(self, f"_{verb}")(self.task.jobs[job], job, begun, aside)
        self.state[job] = "in_progress" if aside else "completed"

    def _put(self, todo: StepAction, job: int, begun: bool, aside: bool) -> None:
        hands = self.hands
        hands.take(todo.thing)
        if not begun:
            hands.note("start", job)
        if aside:
            hands.lay_back(todo.thing)
            hands.note("aside", job)
            return hands.withdraw()
        if self.rng.random() < WRONG_PLACE:
            wrong = self.rng.choice([place for place in PLACES if place != todo.place])
            hands.put_away(todo.thing, wrong)
            hands.note("wrong_place", job, place=wrong)
            hands.linger()
            hands.take_out(todo.thing, wrong)
        hands.put_away(todo.thing, todo.place)
        hands.note("complete", job)
        hands.withdraw()

    def _fetch(self, todo: StepAction, job: int, begun: bool, aside: bool) -> None:
        hands = self.hands
        hands.open_drawer()
        hands.take_out(todo.thing, "drawer")
        hands.note("start", job)
        hands.lay_back(todo.thing)
        hands.note("complete", job)
        hands.withdraw(close_drawer=True)

    def _wipe(self, todo: StepAction, job: int, begun: bool, aside: bool) -> None:
        self._with_tool("cloth", todo.thing, job, begun, aside)

    def _cut(self, todo: StepAction, job: int, begun: bool, aside: bool) -> None:
        self._with_tool("knife", todo.thing, job, begun, aside)

    def _with_tool(self, tool: str, thing: int, job: int, begun: bool, aside: bool) -> None:
        hands = self.hands
        hands.take(tool)
        hands.touch(thing)
        if not begun:
            hands.note("start", job)
        hands.work_on(thing, self.rng.uniform(1.0, 1.4) if aside else self.rng.uniform(3.5, 6.5))
        hands.lift(cuts=thing if tool == "knife" and not aside else None)
        hands.note("aside" if aside else "complete", job)
        hands.lay_back(tool)
        hands.withdraw()

    def _cover(self, todo: StepAction, job: int, begun: bool, aside: bool) -> None:
        hands = self.hands
        hands.take("bowl")
        hands.touch(todo.thing, above=16)
        if not begun:
            hands.note("start", job)
        hands.work_on(todo.thing, self.rng.uniform(1.5, 3.0), above=16)
        hands.cover(todo.thing)
        hands.note("complete", job)
        hands.withdraw()

    def _take_wrong_thing(self) -> None:
        thing = len(self.task.things) + self.rng.randrange(len(self.task.clutter))
        self.hands.take(thing)
        self.hands.note("wrong_thing", -1, thing=thing)
        self.hands.linger()
        self.hands.lay_back(thing)
        self.hands.withdraw()

    def _undo(self) -> None:
        """Take something out again or remove a cover; it is corrected immediately or later."""
        done = [k for k, job in enumerate(self.task.jobs)
                if job.verb in ("put", "cover") and self.state[k] == "completed"]  # fmt: skip
        if not done:
            return
        job = self.rng.choice(done)
        self._act(partial(self._reopen, job))

    def _reopen(self, job: int) -> None:
        hands, todo, at_once = self.hands, self.task.jobs[job], self.rng.random() < 0.5
        if todo.verb == "put":
            hands.take_out(todo.thing, todo.place)
        else:
            hands.uncover(todo.thing)
        hands.note("reopen", job)
        hands.linger()
        if at_once and todo.verb == "put":
            hands.put_away(todo.thing, todo.place)
        elif at_once:
            hands.touch(todo.thing, above=16)
            hands.work_on(todo.thing, 1.0, above=16)
            hands.cover(todo.thing)
        else:
            hands.lay_back(todo.thing if todo.verb == "put" else "bowl")
        if at_once:
            hands.note("complete", job)
        hands.withdraw()
        self.state[job] = "completed" if at_once else "in_progress"


def _draw_look(rng: random.Random, task: Assignment, level: Level, slots: tuple[int, ...], columns: int) -> Look:
    width = COLUMN * columns
    patches = tuple(
        (rng.uniform(0, width), rng.uniform(70, 150), rng.uniform(14, 34), rng.uniform(10, 22), rng.randrange(3))
        for _ in range(level.patches)
    )
    # a jug may stand in front of things that are only carried, never of things that a tool
    # works on in their slot
    shown = {job.thing for job in task.jobs if job.verb in TOOLS}
    front = [slots[k] for k in range(len(task.looks)) if k not in shown and slots[k] >= columns]
    taken = rng.sample(front, min(level.occluders, len(front)))
    jugs = tuple(COLUMN * (slot % columns + 0.5) + rng.uniform(-9, 9) for slot in taken)

    def channel() -> float:
        return 1 + rng.uniform(-0.4, 0.4) * level.light

    return Look(
        sway=level.sway,
        roll=level.roll,
        zoom=level.zoom,
        phases=tuple(rng.uniform(0, 2 * math.pi) for _ in range(6)),
        light=1.1 - rng.uniform(0, 2 * level.light),
        drift=rng.uniform(0, level.light),
        tint=(channel(), channel(), channel()),
        lamps=(),
        patches=patches,
        jugs=jugs,
    )


def _lamp_factors(rng: random.Random, light: float) -> list[float]:
    """Draw brightness factors of a lamp that goes off and on in half of the videos; their product is 1."""
    dark = 1 - 2 * light * rng.uniform(0.5, 1)
    return [dark, 1 / dark] if rng.random() < 0.5 else []
