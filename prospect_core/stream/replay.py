"""Replay a recorded episode through a stream model, as if live, into a prediction record."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from prospect_core.records import SCHEMA, EpisodeRecord, EpisodeTiming, Knobs, PolledAnswer, utterance_has_words
from prospect_core.stream.clocked_replay import ClockedReplay, check_clock_protocol, replay_under_clock
from prospect_core.stream.polling import StreamRules, ask_poll
from prospect_core.stream.recut_polls import Clips, answer_recut_polls
from prospect_core.stream.spans import replay_in_spans
from prospect_core.stream.step_output import StepOutput, StreamModel
from prospect_core.timeline import Episode, Poll
from prospect_core.util.errors import DataError, UserError

S = TypeVar("S")
T = TypeVar("T")


def replay_episode(
    model: StreamModel,
    episode: Episode,
    frames: Iterable[Any] | Clips,
    knobs: Knobs,
    name: str,
    longest_span: int = 64,
) -> tuple[EpisodeRecord, EpisodeTiming]:
    """Reset the model and replay an episode frame by frame.

    A user turn right after a frame is given with the next frame. A model with ``advance`` gets
    several frames in one call: *speculative silence*, with the same decisions. Polls are asked
    after their frame. Under the clocks ``simulated`` and ``live`` of the protocol the video does
    not wait for the model (`prospect_core.stream.clocked_stream`).

    Args:
        model: The model.
        episode: The episode.
        frames: Its frames in order, in any form that the model's ``step`` accepts. Alternatively a
            function that reads the frames ``start .. end - 1`` of the video, which polls with their
            own clip require.
        knobs: Settings of the replay; their protocol determines whether the model speaks and how
            polls are asked.
        name: Name of the model for the record.
        longest_span: Maximum frames per call of ``advance``; 1 is the plain loop.

    Returns:
        (prediction record, times).

    Raises:
        DataError: If the model returns a probability outside 0 to 1.
        UserError: If the model does not support the protocol.
    """
    check_clock_protocol(knobs.rules)
    begin = time.perf_counter()
    model.reset(episode.task, episode.initial_state, episode.fps, episode.start_frame)
    _follow(model, knobs, episode)
    clips = frames if callable(frames) else None
    recut = knobs.rules.polling == "recut" or not hasattr(model, "ask")
    steps: list[StepOutput] = []
    polls = StreamPolls(model, episode, () if recut else episode.polls)
    clocked: ClockedReplay | None = None
    if not recut or knobs.rules.initiative == "autonomous":
        pictures: Any = clips(episode.start_frame, episode.end_frame) if clips else frames
        seen = replay_user_turns(episode, pictures)
        if knobs.rules.clock == "replay":
            steps = list(_step_outputs(model, episode, seen, longest_span, polls))
        else:
            clocked = replay_under_clock(model, episode, knobs.rules, seen, longest_span, polls.ask_before)
            steps = clocked.placed.outputs
        polls.ask_before(episode.end_frame)
    steps = [_sound(step, episode) for step in steps]
    answers = polls.answers
    lengths, peak = getattr(model, "lengths", None), getattr(model, "peak_tokens", None)
    unseen = lengths.unseen if lengths else ()
    if recut and episode.polls:
        answers += answer_recut_polls(model, episode, clips, longest_span)
    watch = getattr(model, "watch", None)
    # subtract the time of other streams
    seconds = time.perf_counter() - begin - (watch.waited if watch else 0.0)
    record = EpisodeRecord(
        schema=SCHEMA,
        model=name,
        knobs=knobs,
        episode=episode,
        speaking_prob=_known((s.speaking_prob for s in steps), _rounded),
        update_prob=_known((s.update_prob for s in steps), _rounded),
        state_probs=_known((s.state_probs for s in steps), _rows),
        cache_tokens=_known((s.cache_tokens for s in steps), int),
        cache_bytes=_known((s.cache_bytes for s in steps), int),
        utterances=tuple(s.utterance for s in steps if s.utterance and utterance_has_words(s.utterance.text)),
        transitions=tuple(t for s in steps for t in s.transitions),
        refusals=tuple(r for s in steps for r in s.refusals),
        compressions=tuple(s.compression for s in steps if s.compression),
        unseen=unseen,
        answers=tuple(answers),
        mistake_prob=_known((s.mistake_prob for s in steps), _rounded),
        mistakes=tuple(s.mistake for s in steps if s.mistake),
        dropped=clocked.placed.dropped if clocked else (),
        undelivered=clocked.placed.undelivered if clocked else (),
    )
    stages = dict(watch.seconds) if watch else {}
    timing = EpisodeTiming(
        episode.id,
        seconds,
        {**stages, "rest": max(0.0, seconds - sum(stages.values()))},
        tuple(s.compression_seconds for s in steps if s.compression),
        peak,
        clocked.steps if clocked else (),
        getattr(model, "server_usage", None),
    )
    return record, timing


def _follow(model: StreamModel, knobs: Knobs, episode: Episode) -> None:
    """Set the rules of the protocol if it differs from autonomous replay."""
    if knobs.protocol is None:
        return
    rules = StreamRules.of(knobs.protocol, episode)
    follow = getattr(model, "follow", None)
    if follow is not None:
        follow(rules)
    elif rules.gold_replies is not None:
        raise UserError("this model cannot take a gold history (it has no `follow`); use the history `own`")


class StreamPolls:
    """Polls of an episode that a running stream answers between its frames.

    Args:
        model: The model.
        episode: The episode.
        polls: The polls.

    Attributes:
        answers: The answers so far.
    """

    def __init__(self, model: StreamModel, episode: Episode, polls: Sequence[Poll]) -> None:
        self.answers: list[PolledAnswer] = []
        self._model, self._end = model, episode.end_frame
        self._due = deque(sorted(((episode.poll_frame(poll), poll) for poll in polls), key=lambda pair: pair[0]))

    def ask_before(self, frame: int) -> int:
        """Ask the polls that are due before a frame; return the first frame that may follow the next poll."""
        while self._due and self._due[0][0] < frame:
            asked, poll = self._due.popleft()
            self.answers.append(ask_poll(self._model, poll, asked))
        return self._due[0][0] + 1 if self._due else self._end


def _step_outputs(
    model: StreamModel, episode: Episode, seen: Iterator[tuple[Any, str | None]], longest_span: int, polls: StreamPolls
) -> Iterator[StepOutput]:
    """Yield the output of each frame; ask polls between the frames."""
    advance = getattr(model, "advance", None)
    frame = episode.start_frame
    while frame < episode.end_frame:
        stop = polls.ask_before(frame)
        part = islice(seen, stop - frame)
        yield from replay_in_spans(advance, part, longest_span) if advance else (model.step(*item) for item in part)
        frame = stop
    # remaining frames are an error of `replay_user_turns`
    next(seen, None)


def replay_user_turns(episode: Episode, frames: Iterable[Any]) -> Iterator[tuple[Any, str | None]]:
    """Yield each of the episode's frames with the user's text since the frame before."""
    users: dict[int, list[str]] = {}
    for frame, event in episode.user_turns():
        users.setdefault(frame + 1, []).append(event.text)
    for number, picture in zip(range(episode.start_frame, episode.end_frame), frames, strict=True):
        yield picture, " ".join(users.get(number, ())) or None


def _sound(step: StepOutput, episode: Episode) -> StepOutput:
    """Return the step; raise `DataError` if a probability is outside 0 to 1."""
    states = () if step.state_probs is None else np.asarray(step.state_probs).ravel()
    single = {"speaking": step.speaking_prob, "update": step.update_prob, "mistake": step.mistake_prob}
    for name, values in (*((name, [value]) for name, value in single.items()), ("state", states)):
        if not all(value is None or 0 <= value <= 1 for value in values):
            raise DataError(f"{episode.id}: frame {step.frame}: the model's {name} probability is not one")
    return step


def _known(values: Iterable[S | None], written: Callable[[S], T]) -> tuple[T, ...]:
    """Return one entry per frame; none if the model does not provide the value on every frame."""
    out: list[T] = []
    for value in values:
        if value is None:
            return ()
        out.append(written(value))
    return tuple(out)


def _rounded(probability: float) -> float:
    return round(probability, 6)


def _rows(probs: np.ndarray) -> tuple[tuple[float, float, float], ...]:
    return tuple((round(float(a), 6), round(float(b), 6), round(float(c), 6)) for a, b, c in probs)
