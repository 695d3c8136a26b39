"""Replay of an episode under the clock of its protocol, for any stream model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from prospect_core.records import ClockSettings, LatencyModel, ReplayProtocol, StepTime
from prospect_core.stream.clock import LatencyModelClock, RecordedClock, StreamClock, WallClock
from prospect_core.stream.clocked_outputs import ClockedOutputs, place_clocked_outputs
from prospect_core.stream.clocked_stream import ClockedStep, ClockedStream, Seen
from prospect_core.stream.recorded_latencies import read_recorded_latencies
from prospect_core.stream.step_output import StreamModel
from prospect_core.timeline import Episode
from prospect_core.timeline.frame_times import exact_fraction
from prospect_core.util.errors import DataError, UserError


@dataclass(frozen=True)
class ClockedReplay:
    """Result of `replay_under_clock`.

    Attributes:
        placed: The outputs by the frame on which they take effect.
        steps: Measured times of the steps under the clock ``live``; empty under the others.
    """

    placed: ClockedOutputs
    steps: tuple[StepTime, ...]


def check_clock_protocol(rules: ReplayProtocol) -> None:
    """Check that a protocol allows its clock.

    Raises:
        UserError: If the protocol has a clock other than ``replay`` and a switch that stops the
            video, or no latencies for the clock ``simulated``.
    """
    if rules.clock == "replay":
        return
    stopping = [("history=gold", rules.history == "gold"), ("polling=recut", rules.polling == "recut")]
    if found := [switch for switch, used in stopping if used]:
        raise UserError(
            f"--clock {rules.clock}: the protocol's {found[0]} needs a video that waits; use --clock replay"
        )
    timing = rules.timing or ClockSettings()
    if rules.clock == "simulated" and timing.latency is None and not timing.recorded:
        raise UserError(
            "--clock simulated needs --latency-model, such as frame=30,output_token=20 or the folder of a run with"
            " measured latencies"
        )


def replay_under_clock(
    model: StreamModel,
    episode: Episode,
    rules: ReplayProtocol,
    seen: Iterator[Seen],
    longest_span: int,
    stops: Callable[[int], int],
) -> ClockedReplay:
    """Step a model through an episode under the clock of a protocol.

    Args:
        model: The model, at the start of the stream.
        episode: The episode.
        rules: The protocol; its clock is not ``replay``.
        seen: (frame, user's text before it) for all frames of the episode, in order.
        longest_span: Maximum frames of one call of the model's ``advance``.
        stops: Called before a frame is shown, as in `ClockedStream.run`.
    """
    timing = rules.timing or ClockSettings()
    clock = open_stream_clock(rules, episode)
    stream = ClockedStream(model, episode, clock, timing.busy, longest_span)
    steps: list[ClockedStep] = list(stream.run(seen, stops))
    measured = tuple(clock.steps) if isinstance(clock, WallClock) else ()
    return ClockedReplay(place_clocked_outputs(steps, episode, timing.words_per_minute), measured)


def open_stream_clock(rules: ReplayProtocol, episode: Episode) -> StreamClock:
    """Return the clock of a protocol at the start of an episode.

    Raises:
        DataError: If there are no recorded latencies of the episode, or they have changed.
    """
    timing = rules.timing or ClockSettings()
    start = Fraction(episode.start_frame) / exact_fraction(episode.fps)
    if rules.clock == "live":
        return WallClock(start, timing.speed)
    if not timing.recorded:
        return LatencyModelClock(start, timing.latency or LatencyModel())
    steps, digest = read_recorded_latencies(timing.recorded)
    if digest != timing.recorded_digest:
        raise DataError(f"{timing.recorded}: its recorded latencies have changed since this run was started")
    if episode.id not in steps:
        raise DataError(f"{episode.id}: {timing.recorded} has no recorded latencies of this episode")
    return RecordedClock(start, steps[episode.id], episode.id)
