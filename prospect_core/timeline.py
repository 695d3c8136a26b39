"""The one truth about time and state: Episode, Task, Step, Event and DialogState. Pure Python.

Every other part asks this module on which frame something is decided and what the state of a step is.

    python -c "from prospect_core.timeline import *; e = Episode('e', 'v', 2, 0, 40, Task('tea', (Step('S1', 'boil'),)), \
(Event('t1', 3.2, 'transition', step='S1', change='start'),)); print(e.decisions())"

Conventions (all frame numbers are indices into the video sampled at ``fps``):

* frame ``i`` is the picture at ``i / fps`` seconds, so at time ``t`` frames ``0 .. floor(t * fps)`` were seen;
* a transition at ``t`` is decided at ``ceil(t * fps)``, an assistant turn at ``floor(t * fps)``, and a user turn
  comes right after frame ``floor(t * fps)``; everything ordered after a user turn waits for the next frame;
* times are decimals as written in the annotation, and ``t * fps`` is computed exactly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property, lru_cache
from itertools import islice, product
from math import ceil, floor
from typing import ClassVar, Literal

StepState = Literal["not_started", "in_progress", "completed"]
Change = Literal["start", "complete", "reopen"]
EventKind = Literal["user", "transition", "assistant"]

STEP_STATES: tuple[StepState, ...] = ("not_started", "in_progress", "completed")
CHANGES: tuple[Change, ...] = ("start", "complete", "reopen")
#: change -> (state that it needs, state that it gives); anything else is illegal
CHANGE_RULES: dict[Change, tuple[StepState, StepState]] = {
    "start": ("not_started", "in_progress"),
    "complete": ("in_progress", "completed"),
    "reopen": ("completed", "in_progress"),
}
_KIND_ORDER: dict[EventKind, int] = {"user": 0, "transition": 1, "assistant": 2}
#: accepted wordings of one utterance
MOST_WORDINGS = 64
_STRICT = {"extra": "forbid", "allow_inf_nan": False}


class TimelineError(ValueError):
    """An annotation that contradicts itself; the message names episode, event, step and time."""


@lru_cache(maxsize=1 << 16)
def exact_fraction(value: float) -> Fraction:
    """The decimal that was written: ``exact_fraction(0.7) == 7/10``, where the float itself is a little less."""
    return Fraction(repr(value)) if isinstance(value, float) else Fraction(value)


def frame_floor(time_s: float, fps: float) -> int:
    """Last frame seen at ``time_s`` seconds: ``floor(time_s * fps)``, exactly."""
    return floor(exact_fraction(time_s) * exact_fraction(fps))


def frame_ceil(time_s: float, fps: float) -> int:
    """First frame that can show what happened at ``time_s`` seconds: ``ceil(time_s * fps)``, exactly."""
    return ceil(exact_fraction(time_s) * exact_fraction(fps))


@dataclass(frozen=True)
class Step:
    """One step of a task: an id such as ``S1`` and a name in words."""

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    id: str
    name: str


@dataclass(frozen=True)
class Task:
    """A goal, its ordered steps (none is legal) and, where the data has it, knowledge such as a recipe."""

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    goal: str
    steps: tuple[Step, ...] = ()
    knowledge: str = ""

    @property
    def step_ids(self) -> tuple[str, ...]:
        return tuple(step.id for step in self.steps)


@dataclass(frozen=True)
class Event:
    """Something that happens at a moment: a user turn, a step transition, or an assistant turn.

    ``time`` is in seconds of the video. ``frame`` is set only where the source fixes the decision frame itself
    (rows imported from other formats, clips of an episode). ``slots`` name the content of an assistant turn
    exactly; ``question`` and ``accepted`` mark a user question and the values that answer it; ``alternatives`` are
    further wordings of an assistant turn that are as right as its text.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    id: str
    time: float
    kind: EventKind
    text: str = ""
    step: str = ""
    change: Change | Literal[""] = ""
    labels: str = ""
    progress: str = ""
    slots: dict[str, str] = field(default_factory=dict)
    question: str = ""
    accepted: tuple[str, ...] = ()
    frame: int | None = None
    alternatives: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Short form for messages: ``S1->start`` or ``assistant 'text'``."""
        return f"{self.step}->{self.change}" if self.kind == "transition" else f"{self.kind} {self.text[:40]!r}"


@dataclass(frozen=True)
class DialogState:
    """The state of every step, with the completed ones in order of completion and their times in seconds."""

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    step_ids: tuple[str, ...]
    states: tuple[StepState, ...]
    completions: tuple[tuple[str, float], ...] = ()

    @staticmethod
    def initial(task: Task) -> DialogState:
        """Nothing has been started."""
        return DialogState(task.step_ids, (STEP_STATES[0],) * len(task.steps))

    def __getitem__(self, step_id: str) -> StepState:
        return self.states[self.step_ids.index(step_id)]

    def is_legal(self, step_id: str, change: str) -> bool:
        """Whether ``change`` may happen to ``step_id`` now; unknown steps and changes are not legal."""
        return change in CHANGE_RULES and step_id in self.step_ids and self[step_id] == CHANGE_RULES[change][0]

    def apply(self, step_id: str, change: Change, time_s: float) -> DialogState:
        """The state after a legal change; an illegal one raises `TimelineError`."""
        if not self.is_legal(step_id, change):
            now = self[step_id] if step_id in self.step_ids else "not a step of this task"
            raise TimelineError(f"{step_id}->{change} at {time_s:g} s is illegal: {step_id} is {now}")
        k = self.step_ids.index(step_id)
        states = (*self.states[:k], CHANGE_RULES[change][1], *self.states[k + 1 :])
        completions = tuple(item for item in self.completions if item[0] != step_id)
        if change == "complete":
            completions = (*completions, (step_id, float(time_s)))
        return DialogState(self.step_ids, states, completions)

    def changes_to(self, target: Sequence[StepState]) -> list[tuple[str, StepState, tuple[Change, ...]]]:
        """For every step whose state differs from ``target``: (step id, wanted state, legal changes that lead there).

        A jump from not_started to completed is ``start`` then ``complete``; an unreachable state has no changes.
        """
        paths: dict[tuple[StepState, StepState], tuple[Change, ...]] = {
            ("not_started", "in_progress"): ("start",),
            ("not_started", "completed"): ("start", "complete"),
            ("in_progress", "completed"): ("complete",),
            ("completed", "in_progress"): ("reopen",),
        }
        return [
            (step, new, paths.get((old, new), ()))
            for step, old, new in zip(self.step_ids, self.states, target, strict=True)
            if old != new
        ]

    def path_to(self, target: Sequence[StepState]) -> list[tuple[str, Change]]:
        """The legal (step id, change) that bring every step as near to ``target`` as can be, in the order of the steps."""
        if self.states == target:
            return []
        return [(step, change) for step, _, changes in self.changes_to(target) for change in changes]


@dataclass(frozen=True)
class Decision:
    """An event with the frame on which the assistant must decide on it (or after which a user turn comes)."""

    event: Event
    frame: int


@dataclass(frozen=True)
class Utterance:
    """What the assistant says on one frame: one assistant turn, or several joined (all ids kept)."""

    frame: int
    text: str
    ids: tuple[str, ...]
    responsive: bool
    events: tuple[Event, ...]

    @property
    def wordings(self) -> tuple[str, ...]:
        """Every accepted wording, ``text`` first. Joined turns have the combinations of theirs, at most `MOST_WORDINGS`."""
        if not any(event.alternatives for event in self.events):
            return (self.text,)
        choices = [(event.text, *event.alternatives) for event in self.events]
        combined = (" ".join(text.strip() for text in chosen) for chosen in product(*choices))
        return tuple(dict.fromkeys(islice(combined, MOST_WORDINGS)))


@dataclass(frozen=True)
class Episode:
    """One video with one dialogue about one task: the unit of data and of replay.

    Covers video frames ``start_frame .. end_frame - 1`` at ``fps``. ``events`` stand in their order: by (time;
    user, transitions as written, assistant), or, with ``file_order``, in the order of the file they came from.
    ``initial`` is the state before the first frame (None: nothing started). ``recording`` names what several videos are
    clips or views of, ``participant`` who is filmed; empty where the source does not say, and then left out of JSON.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    id: str
    video: str
    fps: float
    start_frame: int
    end_frame: int
    task: Task
    events: tuple[Event, ...] = ()
    initial: DialogState | None = None
    user_type: str = ""
    dataset: str = ""
    file_order: bool = False
    summary: str = ""
    meta: dict[str, str] = field(default_factory=dict)
    recording: str = ""
    participant: str = ""

    @property
    def num_frames(self) -> int:
        return self.end_frame - self.start_frame

    @property
    def initial_state(self) -> DialogState:
        return self.initial if self.initial is not None else DialogState.initial(self.task)

    def decisions(self) -> list[Decision]:
        """Every event, in order, with its decision frame; frames never decrease and no event is lost."""
        return list(self._decisions)

    @cached_property
    def _decisions(self) -> tuple[Decision, ...]:
        out: list[Decision] = []
        earliest = self.start_frame
        for event in self.events:
            if event.frame is not None:
                frame = event.frame
            elif event.kind == "transition":
                frame = min(frame_ceil(event.time, self.fps), self.end_frame - 1)
            else:
                frame = frame_floor(event.time, self.fps)
                if event.kind == "assistant":
                    frame = min(frame, self.end_frame - 1)
            frame = max(frame, earliest)
            out.append(Decision(event, frame))
            earliest = frame + 1 if event.kind == "user" else frame
        return tuple(out)

    def utterances(self) -> list[Utterance]:
        """Reference utterances by frame; turns on one frame are joined."""
        return list(self._utterances)

    @cached_property
    def _utterances(self) -> tuple[Utterance, ...]:
        turns: dict[int, list[Event]] = {}
        for decision in self.decisions():
            if decision.event.kind == "assistant":
                turns.setdefault(decision.frame, []).append(decision.event)
        responsive = self.responsive(turns)
        return tuple(
            Utterance(
                frame,
                " ".join(e.text.strip() for e in events),
                tuple(e.id for e in events),
                frame in responsive,
                tuple(events),
            )
            for frame, events in turns.items()
        )

    def responsive(self, frames: Iterable[int]) -> set[int]:
        """Which of these utterance frames answer the user: the first within 5 seconds after a user turn.

        The rule is the same for reference and predicted utterances; all others are proactive.
        """
        asked = [frame for frame, _ in self.user_turns()]
        out, previous = set(), -1
        for frame in sorted(frames):
            if any(previous <= user < frame <= user + 5 * self.fps for user in asked):
                out.add(frame)
            previous = frame
        return out

    def transitions(self) -> list[tuple[int, str, Change]]:
        """Reference transitions as (frame, step id, change), in order."""
        return [(d.frame, d.event.step, d.event.change) for d in self.decisions() if d.event.change]

    def user_turns(self) -> list[tuple[int, Event]]:
        """User turns as (frame after which the text comes, event), in order."""
        return [(d.frame, d.event) for d in self.decisions() if d.event.kind == "user"]

    def state_at(self, frame: int) -> DialogState:
        """State after everything decided at frames <= ``frame`` (``start_frame - 1`` gives the initial state)."""
        return self.states_by_change(until=frame)[-1][1]

    def states_by_change(self, until: int | None = None) -> list[tuple[int, DialogState]]:
        """[(frame, state from this frame on)], beginning with the initial state, one entry a changing frame."""
        state = self.initial_state
        out = [(self.start_frame - 1, state)]
        for frame, step, change in self.transitions():
            if until is not None and frame > until:
                break
            state = state.apply(step, change, float(Fraction(frame) / exact_fraction(self.fps)))
            if out[-1][0] == frame:
                out[-1] = (frame, state)
            else:
                out.append((frame, state))
        return out

    def window(self, start: int, end: int) -> Episode:
        """The clip of video frames ``start .. end - 1``: its events keep their decision frames, and its initial
        state is the replay of everything decided before ``start``."""
        if not self.start_frame <= start < end <= self.end_frame:
            raise TimelineError(
                f"{self.id}: window {start}..{end} is not inside frames {self.start_frame}..{self.end_frame}"
            )
        events = tuple(replace(d.event, frame=d.frame) for d in self.decisions() if start <= d.frame < end)
        return replace(
            self,
            start_frame=start,
            end_frame=end,
            events=events,
            initial=self.state_at(start - 1),
            file_order=True,
        )

    def problems(self) -> list[str]:
        """Everything wrong with this annotation, one line each; empty when it is sound."""
        out: list[str] = []
        if exact_fraction(self.fps) <= 0:
            return [f"{self.id}: fps {self.fps:g} must be above 0"]
        if self.start_frame < 0 or self.end_frame <= self.start_frame:
            return [f"{self.id}: frames {self.start_frame}..{self.end_frame} are empty or negative"]
        ids = self.task.step_ids
        out += [f"{self.id}: step id {step!r} appears twice" for step in sorted(_repeated(ids))]
        out += [f"{self.id}: event id {i!r} appears twice" for i in sorted(_repeated(e.id for e in self.events))]
        if self.initial is not None and self.initial.step_ids != ids:
            out.append(f"{self.id}: the initial state names steps {self.initial.step_ids}, the task has {ids}")
            return out
        out += [problem for event in self.events for problem in self._event_problems(event)]
        keys = [(exact_fraction(e.time), _KIND_ORDER[e.kind]) for e in self.events]
        if not self.file_order and keys != sorted(keys):
            out.append(f"{self.id}: events are not ordered by (time; user, transition, assistant)")
        if out:
            return out
        for d in self.decisions():
            if d.frame >= self.end_frame:
                out.append(
                    f"{self.id}: {d.event.label} at {d.event.time:g} s comes after the last frame {self.end_frame - 1}"
                    " (a user turn needs a frame after it for whatever follows)"
                )
        state = self.initial_state
        for frame, step, change in self.transitions():
            if not state.is_legal(step, change):
                time = next(d.event.time for d in self.decisions() if (d.event.step, d.frame) == (step, frame))
                out.append(f"{self.id}: {step}->{change} at {time:g} s is illegal: {step} is {state[step]}")
                continue
            state = state.apply(step, change, frame / float(self.fps))
        return out

    def validate(self) -> Episode:
        """Returns the episode itself, or raises `TimelineError` with its first problem and their number."""
        problems = self.problems()
        if problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise TimelineError(problems[0] + more)
        return self

    def _event_problems(self, event: Event) -> list[str]:
        where = f"{self.id}: event {event.id} ({event.label}) at {event.time:g} s"
        begin, end = (
            exact_fraction(self.start_frame) / exact_fraction(self.fps),
            exact_fraction(self.end_frame) / exact_fraction(self.fps),
        )
        out = []
        if event.frame is None and not begin <= exact_fraction(event.time) <= end:
            out.append(f"{where} lies outside the episode's {float(begin):g}..{float(end):g} s")
        if event.frame is not None and not self.start_frame <= event.frame < self.end_frame:
            out.append(f"{where} names frame {event.frame}, outside {self.start_frame}..{self.end_frame - 1}")
        if event.kind == "transition":
            if event.change not in CHANGE_RULES:
                out.append(f"{where} needs a change out of {', '.join(CHANGES)}")
            if event.step not in self.task.step_ids:
                out.append(f"{where} names step {event.step!r}; the task has {', '.join(self.task.step_ids) or 'none'}")
        elif event.step or event.change:
            out.append(f"{where} is a {event.kind} turn and must not name a step or a change")
        elif not event.text.strip():
            out.append(f"{where} has no text")
        if event.alternatives and event.kind != "assistant":
            out.append(f"{where} has alternatives; only assistant turns have other wordings")
        elif any(not text.strip() for text in event.alternatives):
            out.append(f"{where} has an alternative without text")
        return out


def sort_timeline_events(events: Iterable[Event]) -> tuple[Event, ...]:
    """Canonical order: by exact time; at equal times user, transitions as written, assistant."""
    return tuple(sorted(events, key=lambda e: (exact_fraction(e.time), _KIND_ORDER[e.kind])))


def _repeated(items: Iterable[str]) -> set[str]:
    return {item for item, count in Counter(items).items() if count > 1}
