"""Checks of an episode's annotation; each problem is one line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from prospect_core.timeline.dialog_state import CHANGE_RULES, CHANGES
from prospect_core.timeline.events import Event
from prospect_core.timeline.frame_times import exact_fraction
from prospect_core.timeline.polls import CandidateInterval, Poll


@dataclass(frozen=True)
class EpisodeSpan:
    """Frames of an episode, against which its events and polls are checked.

    Attributes:
        id: Id of the episode.
        fps: Decision frames per second.
        start_frame: First frame.
        end_frame: Frame after the last one.
        step_ids: Ids of the steps of its task.
    """

    id: str
    fps: float
    start_frame: int
    end_frame: int
    step_ids: tuple[str, ...]

    def holds(self, time_s: float) -> bool:
        """Check whether a time is inside the span, including its end."""
        return self.start_frame <= exact_fraction(time_s) * exact_fraction(self.fps) <= self.end_frame

    @property
    def seconds(self) -> str:
        """First and last second, for messages."""
        fps = exact_fraction(self.fps)
        return f"{float(self.start_frame / fps):g}..{float(self.end_frame / fps):g}"


def list_event_problems(span: EpisodeSpan, events: Sequence[Event]) -> list[str]:
    """Return the problems of single events and of the links between them."""
    out = [f"{span.id}: event id {i!r} appears twice" for i in sorted(_repeated(e.id for e in events))]
    out += [problem for event in events for problem in _event_problems(span, event)]
    return [*out, *_reply_problems(span, events)]


def list_poll_problems(span: EpisodeSpan, polls: Sequence[Poll]) -> list[str]:
    """Return the problems of polls."""
    out = [f"{span.id}: poll id {i!r} appears twice" for i in sorted(_repeated(p.id for p in polls))]
    times = [exact_fraction(poll.time) for poll in polls]
    if times != sorted(times):
        out.append(f"{span.id}: polls are not ordered by time")
    return [*out, *(problem for poll in polls for problem in _poll_problems(span, poll))]


def list_candidate_problems(span: EpisodeSpan, candidates: Sequence[CandidateInterval]) -> list[str]:
    """Return the problems of candidate intervals."""
    ids = sorted(_repeated(interval.id for interval in candidates))
    out = [f"{span.id}: candidate interval id {i!r} appears twice" for i in ids]
    starts = [exact_fraction(interval.start) for interval in candidates]
    if starts != sorted(starts):
        out.append(f"{span.id}: candidate intervals are not ordered by start")
    return [*out, *(problem for interval in candidates for problem in _candidate_problems(span, interval))]


def _repeated(items: Iterable[str]) -> set[str]:
    return {item for item, count in Counter(items).items() if count > 1}


def _event_problems(span: EpisodeSpan, event: Event) -> list[str]:
    where = f"{span.id}: event {event.id} ({event.label}) at {event.time:g} s"
    out = []
    if event.frame is None and not span.holds(event.time):
        out.append(f"{where} lies outside the episode's {span.seconds} s")
    if event.frame is not None and not span.start_frame <= event.frame < span.end_frame:
        out.append(f"{where} names frame {event.frame}, outside {span.start_frame}..{span.end_frame - 1}")
    steps = span.step_ids
    if event.kind == "transition":
        if event.change not in CHANGE_RULES:
            out.append(f"{where} needs a change out of {', '.join(CHANGES)}")
        if event.step not in steps:
            out.append(f"{where} names step {event.step!r}; the task has {', '.join(steps) or 'none'}")
    elif event.step or event.change:
        out.append(f"{where} is a {event.kind} turn and must not name a step or a change")
    elif not event.text.strip():
        out.append(f"{where} has no text")
    if event.alternatives and event.kind != "assistant":
        out.append(f"{where} has alternatives; only assistant turns have other wordings")
    elif any(not text.strip() for text in event.alternatives):
        out.append(f"{where} has an alternative without text")
    return out


def _reply_problems(span: EpisodeSpan, events: Sequence[Event]) -> Iterator[str]:
    """Yield problems of reply spans, links from answers to questions, and standing questions."""
    places = {event.id: place for place, event in enumerate(events)}
    for place, event in enumerate(events):
        where = f"{span.id}: event {event.id} ({event.label}) at {event.time:g} s"
        if event.kind != "assistant" and (event.reply_span is not None or event.answers_to or event.group):
            yield f"{where} has a reply span, a question that it answers or a group; only assistant turns have these"
        if event.reply_span is not None and not 0 <= event.reply_span[0] <= event.reply_span[1]:
            yield f"{where} has the reply span {event.reply_span[0]:g}..{event.reply_span[1]:g} s; give start <= end"
        if event.answers_to:
            yield from _link_problems(span, event, where, events[:place], places.get(event.answers_to))
        if event.open_until is not None and event.kind != "user":
            yield f"{where} has open_until; only user turns are standing questions"
        elif event.open_until is not None and event.open_until < event.time:
            yield f"{where} is open until {event.open_until:g} s, before it is asked"


def _link_problems(
    span: EpisodeSpan, event: Event, where: str, before: Sequence[Event], asked: int | None
) -> Iterator[str]:
    # the question of a later clip may come before the clip
    if asked is None and span.start_frame == 0:
        yield f"{where} answers {event.answers_to!r}, which is no event of this episode"
    elif asked is not None and (asked >= len(before) or before[asked].kind != "user"):
        yield f"{where} answers {event.answers_to!r}, which is no user turn before it"


def _poll_problems(span: EpisodeSpan, poll: Poll) -> Iterator[str]:
    where = f"{span.id}: poll {poll.id} at {poll.time:g} s"
    if not span.holds(poll.time):
        yield f"{where} lies outside the episode's {span.seconds} s"
    if not poll.question.strip():
        yield f"{where} has no question"
    if not 0 <= poll.clip_start <= poll.time:
        yield f"{where} has a clip that begins at {poll.clip_start:g} s; give 0 to its time"
    if len(poll.choices) > 26:
        yield f"{where} has {len(poll.choices)} choices; letters reach for 26"
    unknown = [value for value in poll.accepted if value not in poll.letters] if poll.choices else []
    if unknown:
        yield f"{where} accepts {unknown[0]!r}; its choices are {', '.join(poll.letters)}"


def _candidate_problems(span: EpisodeSpan, interval: CandidateInterval) -> Iterator[str]:
    where = f"{span.id}: candidate interval {interval.id} ({interval.start:g}..{interval.end:g} s)"
    if not interval.start < interval.end:
        yield f"{where} is empty"
    if not span.holds(interval.start):
        yield f"{where} begins outside the episode's {span.seconds} s"
