"""A scripted stream model without torch, and episodes for it, for tests of clocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prospect_core.records import (
    ClockSettings,
    EpisodeRecord,
    EpisodeTiming,
    Knobs,
    LatencyModel,
    PredictedTransition,
    PredictedUtterance,
    ReplayProtocol,
)
from prospect_core.stream.replay import replay_episode
from prospect_core.stream.step_output import StepOutput
from prospect_core.timeline import Change, DialogState, Episode, Event, Step, Task

ONE_STEP = Task("Tidy up", (Step("S1", "put the cube in the box"),))


def short_video(frames: int, fps: float = 2, start: int = 0, said: Mapping[float, str] | None = None) -> Episode:
    """Return an episode with these user turns by time in seconds."""
    events = [Event(f"u{k}", time, "user", text) for k, (time, text) in enumerate(sorted((said or {}).items()))]
    return Episode("e", "v.mp4", fps, start, start + frames, ONE_STEP, tuple(events)).validate()


class ScriptedStream:
    """Speaks and changes the state on given frames, and notes what it is shown.

    Args:
        speaks: Text by frame.
        changes: Change of step S1 by frame.
        tokens: Tokens of each reply.
    """

    def __init__(
        self, speaks: Mapping[int, str] | None = None, changes: Mapping[int, Change] | None = None, tokens: int = 1
    ) -> None:
        self.speaks, self.changes, self.tokens = speaks or {}, changes or {}, tokens
        self.frame = 0
        self.shown: list[tuple[int, Any, str | None]] = []

    def reset(self, task: Task, state: DialogState | None = None, fps: float = 2, start_frame: int = 0) -> None:
        """Start a stream."""
        self.frame, self.shown = start_frame, []

    def step(self, frame: Any, user_text: str | None = None) -> StepOutput:
        """Note the frame; speak if the script says so."""
        number = self.frame
        self.frame += 1
        self.shown.append((number, frame, user_text))
        text, change = self.speaks.get(number), self.changes.get(number)
        return StepOutput(
            number,
            0.9 if text else 0.1,
            0.8 if change else 0.2,
            None,
            transitions=(PredictedTransition(number, "S1", change),) if change else (),
            utterance=PredictedUtterance(number, text, self.tokens) if text else None,
            cache_tokens=10,
            cache_bytes=100,
        )


class ScriptedSpans(ScriptedStream):
    """The same with ``advance``, which ends a span with an event."""

    def advance(self, span: Sequence[tuple[Any, str | None]]) -> list[StepOutput]:
        """Process frames up to the first with an event."""
        outputs = []
        for frame, text in span:
            outputs.append(self.step(frame, text))
            if outputs[-1].utterance or outputs[-1].transitions:
                break
        return outputs


def simulated(busy: Any = "drop", wpm: float = 150, **latency: float) -> Knobs:
    """Return knobs with the clock ``simulated`` and a latency model in ms."""
    timing = ClockSettings(busy, wpm, LatencyModel(**{f"{name}_ms": value for name, value in latency.items()}))
    return Knobs(protocol=ReplayProtocol(clock="simulated", timing=timing))


def clocked(model: Any, episode: Episode, knobs: Knobs, longest_span: int = 8) -> tuple[EpisodeRecord, EpisodeTiming]:
    """Replay an episode whose frames are their numbers; the record must be sound."""
    frames = range(episode.start_frame, episode.end_frame)
    record, timing = replay_episode(model, episode, frames, knobs, "scripted", longest_span)
    assert record.problems() == []
    return record, timing
