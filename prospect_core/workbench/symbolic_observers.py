"""Limited observers with symbolic vision: they see one frame, the last ten seconds, or everything.

    prospect-eval run --ckpt baseline:observer_frame --suite workbench

`symbolic_observer_sight` is the symbolic content of one picture: visible things, and what the hand
holds and touches. `Witness` infers states from consecutive sights. From the start of a video it
reaches the annotated states on every frame, which proves that the frames contain the evidence. A
limited observer starts again on every frame, from that frame's sight or those of the last seconds,
and guesses the rest by the most frequent states in training videos.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from prospect_core.timeline import STEP_STATES, StepState
from prospect_core.workbench.rendering.pictures import picture_pixels_by_item
from prospect_core.workbench.rendering.shapes import HAND_ID, shape_item_number
from prospect_core.workbench.world.scene import Item, Plan, scene_at
from prospect_core.workbench.world.tasks import PLACES, TOOLS, Assignment, Verb

#: smallest number of visible pixels of a thing; distances on the bench in pixels
SEEN_PIXELS, TOUCH, NEAR_PLACE = 24, 22.0, 26.0
#: number of frames (at 2 fps) of a completed wipe
RUBBED_FRAMES = 6
TABLE_VIDEOS = 80
_VERB_OF: dict[Item, Verb] = {tool: verb for verb, tool in TOOLS.items()}


@dataclass(frozen=True)
class Sight:
    """Symbolic content of a picture.

    Attributes:
        things: Visible things.
        cut: Visible cut things.
        hand: Whether a hand is visible.
        up: Whether the hand is up or absent.
        held: Item that the hand holds.
        touched: Thing that a held tool works on.
        over: Place that the hand is at; empty for none.
    """

    things: frozenset[int]
    cut: frozenset[int]
    hand: bool
    up: bool
    held: Item | None
    touched: int | None
    over: str


def symbolic_observer_sight(plan: Plan, time_s: float) -> Sight:
    """Return the symbolic content of the picture at ``time_s`` seconds."""
    scene = scene_at(plan, time_s)
    seen = picture_pixels_by_item(plan, scene)
    things = frozenset(k for k in range(len(plan.assignment.looks)) if seen[shape_item_number(plan, k)] >= SEEN_PIXELS)
    cut = things & scene.stage.cut
    if scene.hand is None or not seen[HAND_ID]:
        return Sight(things, cut, False, True, None, None, "")
    x, y, z = scene.hand
    held, touched = scene.stage.held, None
    if held in _VERB_OF and z == 0:
        far = {k: max(abs(plan.slot_xy(k)[0] - x), abs(plan.slot_xy(k)[1] - y)) for k in things}
        near = [k for k, d in far.items() if d <= TOUCH and scene.stage.where[k] == "slot"]
        touched = min(near, key=far.__getitem__, default=None)
    at = {p: max(abs(plan.place_xy(p)[0] - x), abs(plan.place_xy(p)[1] - y)) for p in ("drawer", *PLACES)}
    return Sight(things, cut, True, z == 1, held, touched, next((p for p, d in at.items() if d <= NEAR_PLACE), ""))


def symbolic_observer_sights(plan: Plan, frames: int, fps: float) -> list[Sight]:
    """Return the sights of frames 0 .. ``frames`` - 1."""
    return [symbolic_observer_sight(plan, frame / fps) for frame in range(frames)]


class Witness:
    """Infers the states of the steps from consecutive sights.

    Args:
        assignment: The task.
        states: Initial state of every step; None for an unknown one.

    Attributes:
        states: Current states.
        order: Completed jobs, in order of completion.
    """

    def __init__(self, assignment: Assignment, states: Sequence[StepState | None]) -> None:
        self.task, self.states = assignment, list(states)
        self.order: list[int] = []
        self._held: Item | None = None
        self._source = ""
        self._touches: Counter[tuple[Item, int]] = Counter()

    def watch(self, now: Sight) -> None:
        """Process the next sight; an action is complete when the hand has released the item and is up again."""
        if now.touched is not None and now.held is not None:
            self._touches[now.held, now.touched] += 1
            self._begin(self.task.find(now.touched, _VERB_OF[now.held]))
        if not now.up:
            self._source = now.over
            return
        for (tool, thing), count in self._touches.items():
            self._lifted(tool, thing, count, now)
        self._touches.clear()
        if now.held != self._held:
            if isinstance(self._held, int):
                self._released(self._held, now.over)
            if isinstance(now.held, int):
                self._taken(now.held)
            self._held = now.held
        if now.held == "bowl":
            for thing in now.things:
                job = self.task.find(thing, "cover")
                if job is not None and self.states[job] == "completed":
                    self._set(job, "in_progress")

    def _lifted(self, tool: Item, thing: int, count: int, now: Sight) -> None:
        job = self.task.find(thing, _VERB_OF[tool])
        done = {"cloth": count >= RUBBED_FRAMES, "knife": thing in now.cut, "bowl": now.held != "bowl"}[str(tool)]
        if job is not None and done:
            self._set(job, "completed")

    def _taken(self, thing: int) -> None:
        fetch, put = self.task.find(thing, "fetch"), self.task.find(thing, "put")
        if fetch is not None and (self.states[fetch] == "not_started" or self._source == "drawer"):
            self._set(fetch, "in_progress")
        elif put is not None:
            self._set(put, "in_progress")

    def _released(self, thing: int, over: str) -> None:
        fetch, put = self.task.find(thing, "fetch"), self.task.find(thing, "put")
        if not over and fetch is not None and self.states[fetch] == "in_progress":
            self._set(fetch, "completed")
        elif over and put is not None and over == self.task.jobs[put].place:
            self._set(put, "completed")

    def _begin(self, job: int | None) -> None:
        if job is not None and self.states[job] != "completed":
            self._set(job, "in_progress")

    def _set(self, job: int, state: StepState) -> None:
        self.states[job] = state
        if job in self.order:
            self.order.remove(job)
        if state == "completed":
            self.order.append(job)


@dataclass(frozen=True)
class Belief:
    """Belief of an observer after a frame.

    Attributes:
        states: State of every step.
        order: Completed jobs, in order as far as known.
    """

    states: tuple[StepState, ...]
    order: tuple[int, ...]


def symbolic_observer_beliefs(plan: Plan, frames: int, fps: float, seconds: float | None) -> list[Belief]:
    """Return the belief of an observer after each frame.

    Args:
        plan: Plan of the video.
        frames: Number of frames.
        fps: Frames per second.
        seconds: Length of the visible past; 0 is the current frame only, None is everything.
    """
    task, seen = plan.assignment, symbolic_observer_sights(plan, frames, fps)
    out = []
    if seconds is None:
        witness = Witness(task, [STEP_STATES[0]] * len(task.jobs))
        for now in seen:
            witness.watch(now)
            # all states are known at the start and stay known
            known = [state for state in witness.states if state is not None]
            out.append(Belief(tuple(known), tuple(witness.order)))
        return out
    table = symbolic_observer_usual_states(fps)
    for frame, now in enumerate(seen):
        witness = Witness(task, [None] * len(task.jobs))
        if seconds:
            for past in seen[max(0, frame - round(seconds * fps) + 1) : frame + 1]:
                witness.watch(past)
        states = [s or table.guess(task, k, now) for k, s in enumerate(witness.states)]
        out.append(Belief(tuple(states), tuple(witness.order)))
    return out


class UsualStates:
    """Counts of the states of steps in training videos, by their visible evidence in one picture."""

    def __init__(self) -> None:
        self.counts: dict[tuple[object, ...], Counter[StepState]] = defaultdict(Counter)

    def learn(self, plan: Plan, frames: int, fps: float) -> None:
        """Count the states of a video."""
        truth = symbolic_observer_beliefs(plan, frames, fps, None)
        for now, belief in zip(symbolic_observer_sights(plan, frames, fps), truth, strict=True):
            for k, state in enumerate(belief.states):
                for key in self._keys(plan.assignment, k, now):
                    self.counts[key][state] += 1

    def guess(self, task: Assignment, job: int, now: Sight) -> StepState:
        """Return the most frequent state for the most specific evidence that occurred at least ten times."""
        for key in self._keys(task, job, now):
            if sum(self.counts[key].values()) >= 10:
                return self.counts[key].most_common(1)[0][0]
        return STEP_STATES[0]

    @staticmethod
    def _keys(task: Assignment, job: int, now: Sight) -> list[tuple[object, ...]]:
        """Return descriptions of a step's visible evidence, most specific first.

        The first one includes its chain and its place in the list.
        """
        todo = task.jobs[job]
        tool = TOOLS.get(todo.verb)
        if now.held == todo.thing:
            hand = "holds it"
        elif tool is not None and now.held == tool:
            hand = "touches it" if now.touched == todo.thing else "holds the tool"
        elif now.held is None and now.over and now.over == (todo.place or "drawer"):
            hand = "at its place"
        else:
            hand = "elsewhere"
        picture = (todo.verb, todo.thing in now.things, todo.thing in now.cut, hand)
        chain = tuple(task.jobs[k].verb for k in task.chain(todo.thing))
        third = 3 * job // len(task.jobs)
        return [(*picture, chain, third), (*picture, chain), picture]


@lru_cache(maxsize=4)
def symbolic_observer_usual_states(fps: float) -> UsualStates:
    """Return the counts over `TABLE_VIDEOS` training videos of seed 0."""
    from prospect_core.timeline import frame_ceil
    from prospect_core.workbench.generate import generate_workbench_video

    table = UsualStates()
    for number in range(TABLE_VIDEOS):
        plan = generate_workbench_video(0, "train", number)[1]
        table.learn(plan, frame_ceil(plan.duration, fps), fps)
    return table
