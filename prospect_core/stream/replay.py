"""Replay: a recorded episode through a stream model, as if live, into a prediction record.

python -c "from prospect_core.stream.replay import replay; help(replay)"
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from prospect_core.records import SCHEMA, EpisodeRecord, EpisodeTiming, Knobs
from prospect_core.stream.runner import StreamModel
from prospect_core.timeline import Episode


def replay(
    model: StreamModel, episode: Episode, frames: Iterable[Any], knobs: Knobs, name: str
) -> tuple[EpisodeRecord, EpisodeTiming]:
    """Reset, then one step a frame. A user turn that comes right after a frame is given with the next one.

    ``frames`` are the episode's, in order, in any form that the model's ``step`` takes.
    """
    begin = time.perf_counter()
    model.reset(episode.task, episode.initial_state, episode.fps, episode.start_frame)
    steps = [model.step(frame, said) for frame, said in with_users(episode, frames)]
    seconds = time.perf_counter() - begin
    record = EpisodeRecord(
        schema=SCHEMA,
        model=name,
        knobs=knobs,
        episode=episode,
        speaking_prob=tuple(round(s.speaking_prob, 6) for s in steps),
        update_prob=tuple(round(s.update_prob, 6) for s in steps),
        state_probs=tuple(_rows(s.state_probs) for s in steps),
        cache_tokens=tuple(s.cache_tokens for s in steps),
        cache_bytes=tuple(s.cache_bytes for s in steps),
        utterances=tuple(s.utterance for s in steps if s.utterance),
        transitions=tuple(t for s in steps for t in s.transitions),
        refusals=tuple(r for s in steps for r in s.refusals),
        compressions=tuple(s.compression for s in steps if s.compression),
    )
    timing = EpisodeTiming(
        episode.id,
        seconds,
        {"stream": seconds},
        tuple(s.compression_seconds for s in steps if s.compression),
    )
    return record, timing


def with_users(episode: Episode, frames: Iterable[Any]) -> Iterator[tuple[Any, str | None]]:
    """Each of the episode's frames with what the user has said since the frame before."""
    users: dict[int, list[str]] = {}
    for frame, event in episode.user_turns():
        users.setdefault(frame + 1, []).append(event.text)
    for number, picture in zip(range(episode.start_frame, episode.end_frame), frames, strict=True):
        yield picture, " ".join(users.get(number, ())) or None


def _rows(probs: np.ndarray) -> tuple[tuple[float, float, float], ...]:
    return tuple((round(float(a), 6), round(float(b), 6), round(float(c), 6)) for a, b, c in probs)
