"""Predictions that need no model: the oracle and the trivial ones that every number stands beside.

    prospect-eval run --ckpt baseline:oracle --suite workbench

Speakers: ``silent``, ``always_talk``, ``periodic`` (at its best rate), ``rate_matched_random``, ``reply_to_user``;
trackers: ``never_update``, ``linear_schedule``; ``oracle`` repeats the reference. These stand in every table; the
workbench's observers (`prospect_eval.keyholes`) are run by name only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from prospect_core.errors import choose
from prospect_core.records import SCHEMA, EpisodeRecord, Knobs, PredictedTransition, PredictedUtterance
from prospect_core.timeline import Change, Episode, StepState
from prospect_eval.matching import match_events

TEXT = "Go on with the next step."
PERIODS_S = (2, 4, 6, 8, 10, 15, 20, 30)
Speak = Callable[[Episode], list[tuple[int, str]]]
Track = Callable[[Episode], list[tuple[int, str, Change]]]


def silent(episode: Episode) -> list[tuple[int, str]]:
    """Never says a word."""
    return []


def always_talk(episode: Episode) -> list[tuple[int, str]]:
    """Speaks on every frame."""
    return [(frame, TEXT) for frame in range(episode.start_frame, episode.end_frame)]


def periodic(seconds: float) -> Speak:
    """Speaks every so many seconds."""

    def speak(episode: Episode) -> list[tuple[int, str]]:
        every = max(1, round(seconds * episode.fps))
        return [(frame, TEXT) for frame in range(episode.start_frame + every, episode.end_frame, every)]

    return speak


def best_period(episodes: Iterable[Episode]) -> float:
    """The period in seconds with the best pooled event F1 within 1 s over these very episodes (it is allowed to look)."""
    scores = dict.fromkeys(PERIODS_S, (0, 0))
    for episode in episodes:
        reference = [u.frame for u in episode.utterances()]
        for seconds in PERIODS_S:
            predicted = [frame for frame, _ in periodic(seconds)(episode)]
            hits, total = scores[seconds]
            hits += len(match_events(predicted, reference, episode.fps))
            scores[seconds] = (hits, total + len(predicted) + len(reference))
    return max(PERIODS_S, key=lambda s: 2 * scores[s][0] / max(1, scores[s][1]))


def rate_matched_random(episode: Episode) -> list[tuple[int, str]]:
    """As many utterances as the reference, on random frames (seeded by the episode's id)."""
    seed = int.from_bytes(hashlib.sha256(episode.id.encode()).digest()[:8], "little")
    count = len(episode.utterances())
    frames = np.random.default_rng(seed).choice(episode.num_frames, size=min(count, episode.num_frames), replace=False)
    return [(episode.start_frame + int(frame), TEXT) for frame in sorted(frames)]


def reply_to_user(episode: Episode) -> list[tuple[int, str]]:
    """Speaks on the frame after each user turn, and never else."""
    frames = {frame + 1 for frame, _ in episode.user_turns() if frame + 1 < episode.end_frame}
    return [(frame, TEXT) for frame in sorted(frames)]


def never_update(episode: Episode) -> list[tuple[int, str, Change]]:
    """Leaves every step as it is at the start."""
    return []


def linear_schedule(episode: Episode) -> list[tuple[int, str, Change]]:
    """Steps one after the other in the listed order, each for an equal share of the episode."""
    count = len(episode.task.steps)
    state = episode.initial_state
    edges = [episode.start_frame + round(k * episode.num_frames / count) for k in range(count + 1)] if count else []
    out: list[tuple[int, str, Change]] = []
    for k, step in enumerate(episode.task.step_ids):
        moves: tuple[tuple[Change, int], ...] = (("start", edges[k]), ("complete", edges[k + 1]))
        for change, frame in moves:
            if frame < episode.end_frame and state.is_legal(step, change):
                state = state.apply(step, change, frame / episode.fps)
                out.append((frame, step, change))
    return sorted(out, key=lambda item: item[0])


def oracle_speech(episode: Episode) -> list[tuple[int, str]]:
    """The reference utterances."""
    return [(u.frame, u.text) for u in episode.utterances()]


def oracle_transitions(episode: Episode) -> list[tuple[int, str, Change]]:
    """The reference transitions."""
    return episode.transitions()


#: in the order of `STEP_STATES`
_ONE_HOT: dict[StepState, tuple[float, float, float]] = {
    "not_started": (1.0, 0.0, 0.0),
    "in_progress": (0.0, 1.0, 0.0),
    "completed": (0.0, 0.0, 1.0),
}
_FIXED: dict[str, tuple[Speak, Track]] = {
    "silent": (silent, never_update),
    "always_talk": (always_talk, never_update),
    "rate_matched_random": (rate_matched_random, never_update),
    "reply_to_user": (reply_to_user, never_update),
    "never_update": (silent, never_update),
    "linear_schedule": (silent, linear_schedule),
    "oracle": (oracle_speech, oracle_transitions),
}
BASELINES = ("oracle", "silent", "always_talk", "periodic", "rate_matched_random", "reply_to_user", "never_update",
             "linear_schedule")  # fmt: skip


def baseline(name: str, episodes: Sequence[Episode]) -> Callable[[Episode], EpisodeRecord]:
    """The baseline of that name as a function of an episode; ``episodes`` are those that ``periodic`` may look at."""
    choose("baseline", name, BASELINES)
    speak, track = (periodic(best_period(episodes)), never_update) if name == "periodic" else _FIXED[name]
    return lambda episode: make_record(f"baseline:{name}", episode, speak(episode), track(episode))


def make_record(
    model: str,
    episode: Episode,
    speech: list[tuple[int, str]],
    transitions: list[tuple[int, str, Change]],
    believed: Sequence[Sequence[StepState]] | None = None,
) -> EpisodeRecord:
    """A record of certain decisions: probabilities are 0 or 1. The state head says what is tracked, or, where given,
    what is ``believed`` after each frame."""
    spoken, changed = {f for f, _ in speech}, {f for f, _, _ in transitions}
    record = EpisodeRecord(
        schema=SCHEMA,
        model=model,
        knobs=Knobs(),
        episode=episode,
        speaking_prob=tuple(float(f in spoken) for f in range(episode.start_frame, episode.end_frame)),
        update_prob=tuple(float(f in changed) for f in range(episode.start_frame, episode.end_frame)),
        utterances=tuple(PredictedUtterance(frame, text) for frame, text in speech),
        transitions=tuple(PredictedTransition(f, s, c) for f, s, c in transitions),
    )
    if believed is None:
        states = dict(record.tracked_states())
        now = states[episode.start_frame - 1]
        believed = [(now := states.get(frame, now)).states for frame in range(episode.start_frame, episode.end_frame)]
    return replace(record, state_probs=tuple(_one_hot(tuple(states)) for states in believed))


@lru_cache(maxsize=1 << 12)
def _one_hot(states: tuple[StepState, ...]) -> tuple[tuple[float, float, float], ...]:
    return tuple(_ONE_HOT[state] for state in states)
