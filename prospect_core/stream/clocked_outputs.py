"""Outputs of a stream under a clock, on the frames on which they take effect.

The outputs of a step take effect when the step ends: on frame ``floor(end * fps)``, the last frame
that has arrived by then. A step that takes no time takes effect on its own frame. Compressions,
refusals and the size of the cache stay on the frame of the step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import floor

import numpy as np

from prospect_core.records import PredictedTransition, PredictedUtterance, utterance_has_words
from prospect_core.stream.clocked_stream import ClockedStep
from prospect_core.stream.step_output import StepOutput
from prospect_core.timeline import STEP_STATES, DialogState, Episode
from prospect_core.timeline.frame_times import exact_fraction


@dataclass(frozen=True)
class ClockedOutputs:
    """Result of a stream under a clock.

    Attributes:
        outputs: One output per frame of the episode.
        dropped: Frames (first, last) that the model did not see.
        undelivered: Utterances that were not ready before the end of the video.
    """

    outputs: list[StepOutput]
    dropped: tuple[tuple[int, int], ...]
    undelivered: tuple[PredictedUtterance, ...]


@dataclass(frozen=True)
class ReadyUtterance:
    """An utterance that has been generated.

    Attributes:
        utterance: The utterance, on the frame on which it is ready.
        ready: Time at which it is ready, in seconds of the video.
    """

    utterance: PredictedUtterance
    ready: Fraction


def place_clocked_outputs(steps: Sequence[ClockedStep], episode: Episode, words_per_minute: float) -> ClockedOutputs:
    """Return the outputs of a stream by the frame on which they take effect.

    Several utterances that are ready on one frame are one utterance. Of several steps that end on
    one frame, the highest probabilities and the last states count.

    Args:
        steps: The steps in order.
        episode: The episode.
        words_per_minute: Rate at which utterances are spoken.
    """
    fps = exact_fraction(episode.fps)
    by_effect: dict[int, list[ClockedStep]] = {}
    for step in steps:
        by_effect.setdefault(min(floor(step.end * fps), episode.end_frame), []).append(step)
    spoken = _speak(by_effect, episode, words_per_minute)
    seen = {step.frame: step.output for step in steps}
    outputs: list[StepOutput] = []
    states = _initial_state_probs(episode.initial_state)
    for frame in range(episode.start_frame, episode.end_frame):
        ended = by_effect.get(frame, [])
        if ended:
            states = _last_states(ended)
        # the first frame is always seen
        before = outputs[-1] if outputs else seen[frame]
        outputs.append(_output_on_frame(frame, ended, seen.get(frame), before, (states, spoken.get(frame))))
    late = spoken.get(episode.end_frame)
    return ClockedOutputs(outputs, list_dropped_frames(seen, episode), (late,) if late else ())


def _output_on_frame(
    frame: int,
    ended: Sequence[ClockedStep],
    own: StepOutput | None,
    before: StepOutput,
    effective: tuple[np.ndarray, PredictedUtterance | None],
) -> StepOutput:
    """Return the output of one frame.

    Args:
        frame: The frame.
        ended: Steps that end on it.
        own: Output of the step on this frame; None if it was dropped.
        before: Output of the frame before; of the same frame for the first one.
        effective: State probabilities and utterance of the frame.
    """
    states, utterance = effective
    cache = own or before
    reported = [step.output.mistake for step in ended if step.output.mistake]
    return StepOutput(
        frame,
        _highest(before.speaking_prob, [step.output.speaking_prob for step in ended]),
        _highest(before.update_prob, [step.output.update_prob for step in ended]),
        None if before.state_probs is None else states,
        transitions=tuple(move for step in ended for move in _effective_transitions(step, frame)),
        refusals=tuple(replace(refusal, frame=frame) for refusal in own.refusals) if own else (),
        utterance=utterance,
        cache_tokens=cache.cache_tokens,
        cache_bytes=cache.cache_bytes,
        compression=replace(own.compression, frame=frame) if own and own.compression else None,
        compression_seconds=own.compression_seconds if own else 0.0,
        mistake_prob=_highest(before.mistake_prob, [step.output.mistake_prob for step in ended]),
        mistake=replace(reported[0], frame=frame) if reported else None,
    )


def _highest(kind: float | None, values: Iterable[float | None]) -> float | None:
    """Return the highest probability, 0 without one; None if the model never provides it."""
    return None if kind is None else max((value for value in values if value is not None), default=0.0)


def _effective_transitions(step: ClockedStep, frame: int) -> list[PredictedTransition]:
    decided = None if step.frame == frame else step.frame
    return [replace(move, frame=frame, decided=decided) for move in step.output.transitions]


def _last_states(ended: Sequence[ClockedStep]) -> np.ndarray:
    return np.asarray(ended[-1].output.state_probs)


def _initial_state_probs(state: DialogState) -> np.ndarray:
    """Return the initial state as probabilities (K, 3)."""
    return np.eye(len(STEP_STATES))[[STEP_STATES.index(name) for name in state.states]]


def _speak(
    by_effect: dict[int, list[ClockedStep]], episode: Episode, words_per_minute: float
) -> dict[int, PredictedUtterance]:
    """Return the utterances by the frame on which they are ready, with the time of their speech."""
    ready: list[ReadyUtterance] = []
    for frame, ended in sorted(by_effect.items()):
        talking = [step for step in ended if step.output.utterance and utterance_has_words(step.output.text)]
        if talking:
            utterance = _join_utterances(talking, frame)
            ready.append(ReadyUtterance(utterance, talking[0].end))
    turns = sorted(exact_fraction(event.time) for _, event in episode.user_turns())
    spoken = time_speech(ready, turns, words_per_minute)
    return {utterance.frame: utterance for utterance in spoken}


def _join_utterances(talking: Sequence[ClockedStep], frame: int) -> PredictedUtterance:
    """Return the utterances of steps that end on one frame as one."""
    parts = [step.output.utterance for step in talking if step.output.utterance is not None]
    return PredictedUtterance(
        frame,
        " ".join(part.text for part in parts),
        sum(part.tokens for part in parts),
        any(part.cut for part in parts),
        decided=None if talking[0].frame == frame else talking[0].frame,
    )


def time_speech(
    ready: Sequence[ReadyUtterance], user_turns: Sequence[Fraction], words_per_minute: float
) -> list[PredictedUtterance]:
    """Return utterances with the time of their speech.

    An utterance is spoken from the time at which it is ready, or from the end of the speech before
    it, at a constant rate. A user turn during its speech ends the speech: the rest of the words is
    not spoken. The model does not notice, and its context keeps the whole text.

    Args:
        ready: The utterances in order.
        user_turns: Times of the user's turns in seconds of the video, in order.
        words_per_minute: Rate of speech.
    """
    word = 60 / exact_fraction(words_per_minute)
    out: list[PredictedUtterance] = []
    free = Fraction(0)
    for item in ready:
        words = len(item.utterance.text.split())
        begin = max(item.ready, free)
        free = begin + words * word
        heard: int | None = None
        interruption = next((turn for turn in user_turns if begin < turn < free), None)
        if interruption is not None:
            heard = floor((interruption - begin) / word)
            free = interruption
        spoken = round(float(begin), 3), round(float(free), 3)
        out.append(replace(item.utterance, spoken=spoken, words_heard=heard))
    return out


def list_dropped_frames(seen: Iterable[int], episode: Episode) -> tuple[tuple[int, int], ...]:
    """Return the frames (first, last) of an episode that are not among the seen ones."""
    out: list[tuple[int, int]] = []
    known = set(seen)
    for frame in range(episode.start_frame, episode.end_frame):
        if frame in known:
            continue
        if out and out[-1][1] == frame - 1:
            out[-1] = out[-1][0], frame
        else:
            out.append((frame, frame))
    return tuple(out)
