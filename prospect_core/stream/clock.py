"""Clocks of a stream for which the video does not wait: virtual time and wall time.

Times are exact seconds of the video (`Fraction`). Frame ``i`` arrives at ``i / fps``.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction

from prospect_core.records import LatencyModel, StepTime
from prospect_core.stream.step_output import StepOutput
from prospect_core.timeline.frame_times import exact_fraction
from prospect_core.util.errors import DataError

NANOSECONDS = 10**9


class StreamClock(ABC):
    """Time of one stream.

    Args:
        start: Start of the stream in seconds of the video.

    Attributes:
        now: Time in seconds of the video.
        silent_step: Seconds of every step without a reply; None if they are not known before the
            step.
    """

    silent_step: Fraction | None = None

    def __init__(self, start: Fraction) -> None:
        self.start = self.now = start

    def wait_until(self, moment: Fraction) -> None:
        """Continue at a moment, in seconds of the video, or immediately if it has passed."""
        self.now = max(self.now, moment)

    @abstractmethod
    def end_step(self, frame: int, output: StepOutput) -> None:
        """Move to the end of a step that started now.

        Args:
            frame: Video frame of the step.
            output: Result of the step.
        """

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Exclude the time of a context, such as the decoding of a frame."""
        yield


class LatencyModelClock(StreamClock):
    """Virtual time: a step takes the time that a latency model states.

    Args:
        start: Start of the stream in seconds of the video.
        latency: The latency model.
    """

    def __init__(self, start: Fraction, latency: LatencyModel) -> None:
        super().__init__(start)
        self._frame, self._prompt, self._output = (
            exact_fraction(milliseconds) / 1000
            for milliseconds in (latency.frame_ms, latency.prompt_token_ms, latency.output_token_ms)
        )
        self.silent_step = None if self._prompt else self._frame

    def end_step(self, frame: int, output: StepOutput) -> None:
        """Add the time of the step."""
        read = output.cache_tokens if output.read_tokens is None else output.read_tokens
        self.now += self._frame + self._prompt * (read or 0) + self._output * count_reply_tokens(output)


class RecordedClock(StreamClock):
    """Virtual time that repeats the measured steps of a live stream.

    Args:
        start: Start of the stream in seconds of the video.
        steps: Times of the live stream's steps.
        episode: Id of the episode, for messages.
    """

    def __init__(self, start: Fraction, steps: Sequence[StepTime], episode: str) -> None:
        super().__init__(start)
        self._steps, self._episode = iter(steps), episode

    def end_step(self, frame: int, output: StepOutput) -> None:
        """Move to the end of the recorded step.

        Raises:
            DataError: If the recorded step was on another frame.
        """
        step = next(self._steps, None)
        if step is None or step.frame != frame:
            recorded = "no further step" if step is None else f"frame {step.frame}"
            raise DataError(
                f"{self._episode}: the recorded latencies have {recorded} where this stream sees frame {frame}; they are"
                " of another model, or of other settings"
            )
        self.now = self.start + Fraction(step.end_ns, NANOSECONDS)


class WallClock(StreamClock):
    """Wall time, which starts when the clock is made.

    Between two steps the time stands still: the end of a step decides which frame comes next. A
    `RecordedClock` with these times therefore makes the same decisions.

    Args:
        start: Start of the stream in seconds of the video.
        speed: Seconds of video per second.

    Attributes:
        steps: Times of the steps so far.
    """

    def __init__(self, start: Fraction, speed: float) -> None:
        super().__init__(start)
        self.steps: list[StepTime] = []
        self._speed = speed
        self._origin_ns = time.perf_counter_ns()

    def wait_until(self, moment: Fraction) -> None:
        """Sleep until the moment."""
        while (left := float(moment - self.start) / self._speed - self._elapsed_ns() / NANOSECONDS) > 0:
            time.sleep(left)
        super().wait_until(moment)

    def end_step(self, frame: int, output: StepOutput) -> None:
        """Read the time and store it."""
        begin_ns = int((self.now - self.start) * NANOSECONDS)
        end_ns = max(begin_ns + 1, int(self._elapsed_ns() * self._speed))
        self.steps.append(StepTime(frame, begin_ns, end_ns))
        self.now = self.start + Fraction(end_ns, NANOSECONDS)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Exclude the time of a context."""
        begin_ns = time.perf_counter_ns()
        try:
            yield
        finally:
            self._origin_ns += time.perf_counter_ns() - begin_ns

    def _elapsed_ns(self) -> int:
        return time.perf_counter_ns() - self._origin_ns


def count_reply_tokens(output: StepOutput) -> int:
    """Return the tokens of a step's reply; for a model that does not count them, its words."""
    if output.utterance is None:
        return 0
    return output.utterance.tokens or len(output.utterance.text.split())
