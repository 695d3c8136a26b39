"""A stream for which the video does not wait: which frames a busy model sees, and when.

A frame arrives at ``frame / fps``. The model starts a step when it is free and a frame is there. If
frames arrive while it is busy, it sees the newest one when it becomes free (``drop``), or all of
them in order (``queue``). A frame that waits when the video ends is never seen. The user's text of
a dropped frame is given with the next frame that the model sees. Polls take no time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Any, Literal

from prospect_core.stream.clock import StreamClock
from prospect_core.stream.spans import FIRST_SPAN
from prospect_core.stream.step_output import StepOutput, StreamModel
from prospect_core.timeline import Episode
from prospect_core.timeline.frame_times import exact_fraction

#: (frame, user's text before it)
Seen = tuple[Any, str | None]


@dataclass(frozen=True)
class ClockedStep:
    """A step of a stream with its time.

    Attributes:
        output: Its result.
        frame: Video frame that the model saw.
        end: End of the step in seconds of the video.
    """

    output: StepOutput
    frame: int
    end: Fraction


class ArrivingFrames:
    """Frames of a video in order, of which some are dropped and some are read in advance.

    Args:
        seen: (frame, user's text before it) in order.
        start: Number of the first frame.

    Attributes:
        next: Number of the first frame that was neither taken nor dropped.
    """

    def __init__(self, seen: Iterator[Seen], start: int) -> None:
        self.next = start
        self._source = seen
        self._ahead: deque[Seen] = deque()
        self._texts: list[str] = []

    def drop_until(self, frame: int) -> None:
        """Drop the frames before a frame; keep the user's texts."""
        while self.next < frame:
            _, text = self._ahead.popleft() if self._ahead else next(self._source)
            self._texts += [text] if text else []
            self.next += 1

    def peek(self, count: int) -> list[Seen]:
        """Return the next frames; the first comes with the texts of the dropped frames before it."""
        while len(self._ahead) < count:
            self._ahead.append(next(self._source))
        found = [self._ahead[k] for k in range(count)]
        picture, text = found[0]
        found[0] = picture, " ".join([*self._texts, *([text] if text else [])]) or None
        return found

    def take(self, count: int) -> None:
        """Remove the next frames, which the model has seen."""
        for _ in range(count):
            self._ahead.popleft()
        self.next += count
        self._texts.clear()


class ClockedStream:
    """Steps a model through an episode under a clock.

    Args:
        model: The model, at the start of the stream.
        episode: The episode.
        clock: The clock, at the start of the stream.
        busy: Frames that arrive while the model is busy: ``drop`` or ``queue``.
        longest_span: Maximum frames of one call of the model's ``advance``.
    """

    def __init__(
        self,
        model: StreamModel,
        episode: Episode,
        clock: StreamClock,
        busy: Literal["drop", "queue"],
        longest_span: int,
    ) -> None:
        self._model, self._episode, self._clock, self._busy = model, episode, clock, busy
        self._fps = exact_fraction(episode.fps)
        self._longest = longest_span if hasattr(model, "advance") else 1
        self._span = min(FIRST_SPAN, self._longest)

    def run(self, seen: Iterator[Seen], stops: Callable[[int], int]) -> Iterator[ClockedStep]:
        """Yield the steps of the frames that the model sees.

        Args:
            seen: (frame, user's text before it) for all frames of the episode, in order.
            stops: Called before a frame is shown with its number; returns the first frame that may
                not be shown in the same call.
        """
        end, clock = self._episode.end_frame, self._clock
        frames = ArrivingFrames(seen, self._episode.start_frame)
        while frames.next < end and clock.now < end / self._fps:
            first = self._next_frame(frames.next)
            with clock.pause():
                count = min(self._count_undropped(first), self._span, stops(first) - first, end - first)
                frames.drop_until(first)
                span = frames.peek(count)
            clock.wait_until(first / self._fps)
            outputs = self._step(first, span)
            frames.take(len(outputs))
            for frame, output in enumerate(outputs, first):
                clock.wait_until(frame / self._fps)
                clock.end_step(frame, output)
                yield ClockedStep(output, frame, clock.now)
            self._adapt_span(len(outputs), len(span))
        # remaining frames are read, so that a video of another length is an error
        frames.drop_until(end)
        next(seen, None)

    def _next_frame(self, first: int) -> int:
        """Return the frame that a free model sees next, of those from ``first`` on."""
        if self._busy == "queue":
            return first
        newest = floor(self._clock.now * self._fps)
        return min(max(first, newest), self._episode.end_frame - 1)

    def _count_undropped(self, first: int) -> int:
        """Return the number of consecutive frames that the model is certain to see if it is silent."""
        if self._busy == "queue":
            return self._longest if self._ends_in_time(first) else 1
        step = self._clock.silent_step
        if step is None:
            return 1
        free, count = self._clock.now, 0
        while count < self._span:
            arrival = (first + count) / self._fps
            newest = floor(free * self._fps)
            if count and (newest > first + count or free >= self._episode.end_frame / self._fps):
                break
            free = max(free, arrival) + step
            count += 1
        return count

    def _ends_in_time(self, first: int) -> bool:
        """Check that silent steps of a whole span from a frame on start before the end of the video."""
        step = self._clock.silent_step
        if step is None:
            return False
        last = max(self._clock.now, (first + self._longest) / self._fps) + self._longest * step
        return last < self._episode.end_frame / self._fps

    def _step(self, first: int, span: list[Seen]) -> list[StepOutput]:
        move_stream_to(self._model, first)
        advance = getattr(self._model, "advance", None)
        if advance is None:
            return [self._model.step(*span[0])]
        outputs: list[StepOutput] = advance(span)
        return outputs

    def _adapt_span(self, used: int, tried: int) -> None:
        """Double the span after one without an event, halve it after one that was mostly in vain."""
        if used == tried:
            self._span = min(2 * self._span, self._longest)
        elif 2 * used < tried:
            self._span = max(min(FIRST_SPAN, self._longest), self._span // 2)


def move_stream_to(model: Any, frame: int) -> None:
    """Continue a stream with a frame, after dropped ones.

    Args:
        model: The model. Without ``skip_to`` its attribute ``frame`` is set if it has one.
        frame: Number of the next frame.
    """
    skip_to = getattr(model, "skip_to", None)
    if skip_to is not None:
        skip_to(frame)
    elif hasattr(model, "frame"):
        model.frame = frame
