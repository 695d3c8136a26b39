"""Replay: a recorded episode through a stream model, as if live, into a prediction record.

python -c "from prospect_core.stream.replay import replay_episode; help(replay_episode)"
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from prospect_core.records import SCHEMA, EpisodeRecord, EpisodeTiming, Knobs, utterance_has_words
from prospect_core.stream.step_output import StepOutput, StreamModel
from prospect_core.timeline import Episode
from prospect_core.util.errors import DataError

S = TypeVar("S")
T = TypeVar("T")

#: frames that are read at once where nothing is known yet
FIRST_SPAN = 4


def replay_episode(
    model: StreamModel, episode: Episode, frames: Iterable[Any], knobs: Knobs, name: str, longest_span: int = 64
) -> tuple[EpisodeRecord, EpisodeTiming]:
    """Reset, then one step a frame. A user turn that comes right after a frame is given with the next one.

    ``frames`` are the episode's, in order, in any form that the model's ``step`` takes. A model that can `advance` over
    several frames at once is given up to ``longest_span`` of them (1: the plain loop): *speculative silence*, with the same
    decisions. Probabilities that are none end it with a `DataError`.
    """
    begin = time.perf_counter()
    model.reset(episode.task, episode.initial_state, episode.fps, episode.start_frame)
    advance = getattr(model, "advance", None)
    seen = replay_user_turns(episode, frames)
    taken = replay_in_spans(advance, seen, longest_span) if advance else (model.step(*item) for item in seen)
    steps = [_sound(step, episode) for step in taken]
    watch, lengths = getattr(model, "watch", None), getattr(model, "lengths", None)
    # what others did meanwhile is theirs
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
        unseen=lengths.unseen if lengths else (),
    )
    stages = dict(watch.seconds) if watch else {}
    timing = EpisodeTiming(
        episode.id,
        seconds,
        {**stages, "rest": max(0.0, seconds - sum(stages.values()))},
        tuple(s.compression_seconds for s in steps if s.compression),
        getattr(model, "peak_tokens", None),
    )
    return record, timing


def replay_in_spans(
    advance: Callable[[list[Any]], list[StepOutput]], seen: Iterator[Any], longest: int
) -> Iterator[StepOutput]:
    """Every step's output, taken in spans: twice as long after one on which nothing happened, half as long after one of
    which less than half was of use. At most ``longest`` frames are held ahead."""
    ahead: deque[Any] = deque()
    span = min(FIRST_SPAN, longest)
    while True:
        ahead.extend(islice(seen, max(0, span - len(ahead))))
        if not ahead:
            return
        tried = list(islice(ahead, span))
        outputs = advance(tried)
        for _ in outputs:
            ahead.popleft()
        yield from outputs
        if len(outputs) == len(tried):
            span = min(2 * span, longest)
        elif 2 * len(outputs) < len(tried):
            span = max(min(FIRST_SPAN, longest), span // 2)


def replay_user_turns(episode: Episode, frames: Iterable[Any]) -> Iterator[tuple[Any, str | None]]:
    """Each of the episode's frames with what the user has said since the frame before."""
    users: dict[int, list[str]] = {}
    for frame, event in episode.user_turns():
        users.setdefault(frame + 1, []).append(event.text)
    for number, picture in zip(range(episode.start_frame, episode.end_frame), frames, strict=True):
        yield picture, " ".join(users.get(number, ())) or None


def _sound(step: StepOutput, episode: Episode) -> StepOutput:
    """The step; one whose probabilities are no numbers is a `DataError`: nothing could be decided on them."""
    states = () if step.state_probs is None else np.asarray(step.state_probs).ravel()
    for name, values in (("speaking", [step.speaking_prob]), ("update", [step.update_prob]), ("state", states)):
        if not all(value is None or 0 <= value <= 1 for value in values):
            raise DataError(f"{episode.id}: frame {step.frame}: the model's {name} probability is not one")
    return step


def _known(values: Iterable[S | None], written: Callable[[S], T]) -> tuple[T, ...]:
    """One entry a frame, none at all where the model cannot tell."""
    return tuple(written(value) for value in values if value is not None)


def _rounded(probability: float) -> float:
    return round(probability, 6)


def _rows(probs: np.ndarray) -> tuple[tuple[float, float, float], ...]:
    return tuple((round(float(a), 6), round(float(b), 6), round(float(c), 6)) for a, b, c in probs)
