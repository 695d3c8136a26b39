"""Episode: one video with one dialogue about one task, and its decision frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import ClassVar

from prospect_core.timeline.annotation_checks import (
    EpisodeSpan,
    list_candidate_problems,
    list_event_problems,
    list_poll_problems,
)
from prospect_core.timeline.dialog_state import Change, DialogState
from prospect_core.timeline.events import KIND_ORDER, Decision, Event, Utterance
from prospect_core.timeline.frame_times import TimelineError, exact_fraction, frame_ceil, frame_floor
from prospect_core.timeline.mistakes import Mistake
from prospect_core.timeline.occurrences import StepOccurrence, StepSpan, find_step_spans
from prospect_core.timeline.polls import CandidateInterval, Poll
from prospect_core.timeline.procedure_checks import (
    list_mistake_problems,
    list_occurrence_problems,
    list_task_problems,
    list_transition_contradictions,
)
from prospect_core.timeline.task import STRICT, Task


@dataclass(frozen=True)
class Episode:
    """One video with one dialogue about one task: the unit of data and of replay.

    It covers video frames ``start_frame .. end_frame - 1`` at ``fps``. ``events`` are in order of
    (time; user, transitions as written, assistant) or, with ``file_order``, in the order of their
    file. ``initial`` is the state before the first frame (None: nothing started).

    ``recording`` names the recording of which several videos are clips or views; ``participant``
    names the filmed person. ``polls`` are questions at given times, ``candidates`` intervals in
    which a decision is requested, both in order of time. JSON omits these four if they are empty.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
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
    polls: tuple[Poll, ...] = ()
    candidates: tuple[CandidateInterval, ...] = ()
    occurrences: tuple[StepOccurrence, ...] = ()
    mistakes: tuple[Mistake, ...] = ()

    @property
    def num_frames(self) -> int:
        """Number of frames."""
        return self.end_frame - self.start_frame

    @property
    def initial_state(self) -> DialogState:
        """State before the first frame."""
        return self.initial if self.initial is not None else DialogState.initial(self.task)

    def decisions(self) -> list[Decision]:
        """Return every event in order with its decision frame; frames never decrease."""
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
        """Return the reference utterances by frame; turns on one frame are joined."""
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
        """Return the utterance frames that answer the user: the first within 5 seconds after a user turn.

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
        """Return the reference transitions as (frame, step id, change), in order."""
        return [(d.frame, d.event.step, d.event.change) for d in self.decisions() if d.event.change]

    def step_spans(self, transitions: Iterable[tuple[int, str, Change]] | None = None) -> list[StepSpan]:
        """Return the spans of frames in which steps are in progress, in order of their first frames.

        Args:
            transitions: Predicted (frame, step id, change), legal and in order; the reference's if
                None.
        """
        initial = self.initial_state
        before: list[tuple[int, str, Change]] = [
            (self.start_frame, step, "start") for step in initial.step_ids if initial[step] == "in_progress"
        ]
        return find_step_spans([*before, *(self.transitions() if transitions is None else transitions)], self.end_frame)

    def user_turns(self) -> list[tuple[int, Event]]:
        """Return the user turns as (frame after which the text comes, event), in order."""
        return [(d.frame, d.event) for d in self.decisions() if d.event.kind == "user"]

    def poll_frame(self, poll: Poll) -> int:
        """Return the last frame that the model knows when the poll is asked."""
        return self._last_seen(poll.time)

    def _last_seen(self, time_s: float) -> int:
        """Return the last known frame of the episode at a time."""
        return max(self.start_frame, min(frame_floor(time_s, self.fps), self.end_frame - 1))

    def candidate_frames(self, interval: CandidateInterval) -> range:
        """Return the decision frames inside a candidate interval, from its start up to, not including, its end."""
        start = max(self.start_frame, frame_ceil(interval.start, self.fps))
        return range(start, max(start, min(frame_ceil(interval.end, self.fps), self.end_frame)))

    def span_frames(self, span: tuple[float, float]) -> range:
        """Return the decision frames of a span in seconds, from its start to its end, at least one.

        They begin and end where transitions at these times are decided.
        """
        first, last = (max(self.start_frame, min(frame_ceil(time, self.fps), self.end_frame - 1)) for time in span)
        return range(first, last + 1)

    def state_at(self, frame: int) -> DialogState:
        """Return the state after all decisions up to ``frame``; ``start_frame - 1`` gives the initial state."""
        return self.states_by_change(until=frame)[-1][1]

    def states_by_change(self, until: int | None = None) -> list[tuple[int, DialogState]]:
        """Return [(frame, state from this frame)], one entry per changing frame.

        The first entry is the initial state with the frame before the first one.

        Args:
            until: Last frame to consider; all if None.
        """
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
        """Return the clip of video frames ``start .. end - 1``.

        Its events keep their decision frames. Its initial state follows from all decisions before
        ``start``. A poll belongs to the clip with its frame, a candidate interval to the clip with
        its start. An occurrence or a mistake belongs to each clip that it overlaps, a mistake without
        a time to the clip with the last frame.

        Raises:
            TimelineError: If the frames are not inside the episode.
        """
        if not self.start_frame <= start < end <= self.end_frame:
            raise TimelineError(
                f"{self.id}: window {start}..{end} is not inside frames {self.start_frame}..{self.end_frame}"
            )
        events = tuple(replace(d.event, frame=d.frame) for d in self.decisions() if start <= d.frame < end)
        polls = tuple(poll for poll in self.polls if start <= self.poll_frame(poll) < end)
        candidates = tuple(c for c in self.candidates if start <= self._last_seen(c.start) < end)
        return replace(
            self,
            start_frame=start,
            end_frame=end,
            events=events,
            initial=self.state_at(start - 1),
            file_order=True,
            polls=polls,
            candidates=candidates,
            occurrences=tuple(item for item in self.occurrences if self._overlaps((item.start, item.end), start, end)),
            mistakes=tuple(item for item in self.mistakes if self._overlaps(item.span, start, end)),
        )

    def _overlaps(self, span: tuple[float, float] | None, start: int, end: int) -> bool:
        if span is None:
            return end == self.end_frame
        frames = self.span_frames(span)
        return frames[0] < end and start <= frames[-1]

    def problems(self) -> list[str]:
        """Return the faults of this annotation, one line each; empty if there are none."""
        if exact_fraction(self.fps) <= 0:
            return [f"{self.id}: fps {self.fps:g} must be above 0"]
        if self.start_frame < 0 or self.end_frame <= self.start_frame:
            return [f"{self.id}: frames {self.start_frame}..{self.end_frame} are empty or negative"]
        steps = self.task.step_ids
        out = [*list_task_problems(self.id, self.task)]
        if self.initial is not None and self.initial.step_ids != steps:
            return [*out, f"{self.id}: the initial state names steps {self.initial.step_ids}, the task has {steps}"]
        span = EpisodeSpan(self.id, self.fps, self.start_frame, self.end_frame, steps)
        out += list_event_problems(span, self.events)
        out += list_poll_problems(span, self.polls)
        out += list_candidate_problems(span, self.candidates)
        out += list_occurrence_problems(self.id, self.task, self.occurrences)
        out += list_mistake_problems(self.id, self.task, self.mistakes)
        if not self.file_order:
            out += list_transition_contradictions(self.id, self.task, self.occurrences, self.events)
        keys = [(exact_fraction(e.time), KIND_ORDER[e.kind]) for e in self.events]
        if not self.file_order and keys != sorted(keys):
            out.append(f"{self.id}: events are not ordered by (time; user, transition, assistant)")
        return out or [*self._late_events(), *self._illegal_transitions()]

    def _late_events(self) -> Iterator[str]:
        for d in self.decisions():
            if d.frame >= self.end_frame:
                yield (
                    f"{self.id}: {d.event.label} at {d.event.time:g} s comes after the last frame {self.end_frame - 1}"
                    " (a user turn needs a later frame)"
                )

    def _illegal_transitions(self) -> Iterator[str]:
        state = self.initial_state
        for frame, step, change in self.transitions():
            if not state.is_legal(step, change):
                time = next(d.event.time for d in self.decisions() if (d.event.step, d.frame) == (step, frame))
                yield f"{self.id}: {step}->{change} at {time:g} s is illegal: {step} is {state[step]}"
                continue
            state = state.apply(step, change, frame / float(self.fps))

    def validate(self) -> Episode:
        """Return the episode itself if it is valid.

        Raises:
            TimelineError: States the first problem and the number of problems.
        """
        problems = self.problems()
        if problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise TimelineError(problems[0] + more)
        return self
