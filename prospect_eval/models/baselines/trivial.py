"""Baselines without a model: the oracle, and trivial baselines with which every score is compared.

    prospect-eval run --ckpt baseline:oracle --suite workbench

`BASELINES` lists all with the part of the reference that each one uses:

- Trivial baselines use no reference. Speakers: ``silent``, ``always_talk``, ``periodic``,
  ``rate_matched_random``, ``reply_to_user``. Trackers: ``never_update``, ``linear_schedule``.
  ``recite_steps`` speaks and tracks at the pace of the training data.
- ``prior_text_at_reference_times`` uses the times of the reference,
  ``reference_text_at_prior_times`` its texts.
- ``oracle`` repeats the reference, with its mistakes and the next steps.

Every table has these baselines. The workbench's observers
(`prospect_eval.models.baselines.limited_observers`) run only by name. Baselines of procedures
(`prospect_eval.models.baselines.procedure_baselines`) run by name and in suites that list them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np

from prospect_core.records import (
    SCHEMA,
    EpisodeRecord,
    Knobs,
    PolledAnswer,
    PredictedTransition,
    PredictedUtterance,
)
from prospect_core.timeline import Change, Episode, StepState
from prospect_core.util.errors import require_choice
from prospect_eval.matching.matcher import match_events
from prospect_eval.models.baselines.oracle_procedures import (
    oracle_baseline_mistake_prob,
    oracle_baseline_mistakes,
    oracle_baseline_next_steps,
)
from prospect_eval.models.baselines.priors import (
    Priors,
    keep_legal_prior_changes,
    pace_steps_by_prior,
    spread_frames_by_prior,
)

TEXT = "Go on with the next step."
PERIODS_S = (2, 4, 6, 8, 10, 15, 20, 30)
Speak = Callable[[Episode], list[tuple[int, str]]]
Track = Callable[[Episode], list[tuple[int, str, Change]]]


def silent_baseline(episode: Episode) -> list[tuple[int, str]]:
    """Return no utterances."""
    return []


def always_talk_baseline(episode: Episode) -> list[tuple[int, str]]:
    """Return an utterance on every frame."""
    return [(frame, TEXT) for frame in range(episode.start_frame, episode.end_frame)]


def periodic_baseline(seconds: float) -> Speak:
    """Return a baseline that speaks periodically.

    Args:
        seconds: The period.
    """

    def speak(episode: Episode) -> list[tuple[int, str]]:
        every = max(1, round(seconds * episode.fps))
        return [(frame, TEXT) for frame in range(episode.start_frame + every, episode.end_frame, every)]

    return speak


def best_baseline_period(episodes: Iterable[Episode]) -> float:
    """Return the period with the best pooled event F1 within 1 s over the evaluated episodes.

    The period is fitted to the evaluated episodes, which favors this baseline.

    Args:
        episodes: The evaluated episodes.

    Returns:
        The period in seconds, one of `PERIODS_S`.
    """
    scores = dict.fromkeys(PERIODS_S, (0, 0))
    for episode in episodes:
        reference = [u.frame for u in episode.utterances()]
        for seconds in PERIODS_S:
            predicted = [frame for frame, _ in periodic_baseline(seconds)(episode)]
            hits, total = scores[seconds]
            hits += len(match_events(predicted, reference, episode.fps))
            scores[seconds] = (hits, total + len(predicted) + len(reference))
    return max(PERIODS_S, key=lambda s: 2 * scores[s][0] / max(1, scores[s][1]))


def rate_matched_random_baseline(episode: Episode) -> list[tuple[int, str]]:
    """Return as many utterances as the reference, on random frames (seeded by the episode's id)."""
    seed = int.from_bytes(hashlib.sha256(episode.id.encode()).digest()[:8], "little")
    count = len(episode.utterances())
    frames = np.random.default_rng(seed).choice(episode.num_frames, size=min(count, episode.num_frames), replace=False)
    return [(episode.start_frame + int(frame), TEXT) for frame in sorted(frames)]


def reply_to_user_baseline(episode: Episode) -> list[tuple[int, str]]:
    """Return an utterance on the frame after each user turn."""
    frames = {frame + 1 for frame, _ in episode.user_turns() if frame + 1 < episode.end_frame}
    return [(frame, TEXT) for frame in sorted(frames)]


def never_update_baseline(episode: Episode) -> list[tuple[int, str, Change]]:
    """Return no transitions."""
    return []


def linear_schedule_baseline(episode: Episode) -> list[tuple[int, str, Change]]:
    """Return transitions through the steps in the listed order, with equal shares of the episode."""
    count = len(episode.task.steps)
    edges = [episode.start_frame + round(k * episode.num_frames / count) for k in range(count + 1)] if count else []
    moves: list[tuple[int, str, Change]] = []
    for k, step in enumerate(episode.task.step_ids):
        moves += [(edges[k], step, "start"), (edges[k + 1], step, "complete")]
    return keep_legal_prior_changes(episode, moves)


def recite_speech_baseline(priors: Priors) -> Speak:
    """Return a baseline that speaks the steps' instructions at the pace of the training data.

    It takes each step's most frequent instruction, or the step's name, in the listed order.
    """

    def speak(episode: Episode) -> list[tuple[int, str]]:
        prior = priors.of(episode)
        said: dict[int, str] = {}
        for _, text, start in pace_steps_by_prior(episode, prior):
            said.setdefault(max(episode.start_frame, start - round(prior.lead_s * episode.fps)), text)
        return sorted(said.items())

    return speak


def recite_transitions_baseline(priors: Priors) -> Track:
    """Return a baseline that tracks the steps at the pace of the training data.

    It starts each step in the listed order and completes it when the next one starts.
    """

    def track(episode: Episode) -> list[tuple[int, str, Change]]:
        prior = priors.of(episode)
        starts = [(frame, step) for step, _, frame in pace_steps_by_prior(episode, prior)]
        pace = round(prior.seconds_per_step * episode.fps)
        moves: list[tuple[int, str, Change]] = []
        for frame, step in starts:
            moves += [(frame, step, "start"), (frame + max(1, pace), step, "complete")]
        return keep_legal_prior_changes(episode, moves)

    return track


def trivial_prior_text_baseline(priors: Priors) -> Speak:
    """Return a baseline that says the most typical training text at the reference times."""

    def speak(episode: Episode) -> list[tuple[int, str]]:
        text = priors.of(episode).text or TEXT
        return [(turn.frame, text) for turn in episode.utterances()]

    return speak


def trivial_prior_times_baseline(priors: Priors) -> Speak:
    """Return a baseline that says the reference texts in order, at times from the training data."""

    def speak(episode: Episode) -> list[tuple[int, str]]:
        texts = [turn.text for turn in episode.utterances()]
        frames = spread_frames_by_prior(episode, len(texts), priors.of(episode).positions)
        return list(zip(frames, texts, strict=True))

    return speak


def oracle_baseline_speech(episode: Episode) -> list[tuple[int, str]]:
    """Return the reference utterances."""
    return [(u.frame, u.text) for u in episode.utterances()]


def oracle_baseline_transitions(episode: Episode) -> list[tuple[int, str, Change]]:
    """Return the reference transitions."""
    return episode.transitions()


#: probabilities in the order of `STEP_STATES`
_ONE_HOT: dict[StepState, tuple[float, float, float]] = {
    "not_started": (1.0, 0.0, 0.0),
    "in_progress": (0.0, 1.0, 0.0),
    "completed": (0.0, 0.0, 1.0),
}


@dataclass(frozen=True)
class Baseline:
    """A baseline in the table `BASELINES`.

    Attributes:
        description: A sentence about its behavior.
        sees: The part of the reference that it uses: ``nothing``, the ``time`` of the turns, their
            ``text``, or ``everything``. Only those that use nothing are trivial baselines, which a
            model must beat.
        make: Makes (speech, tracking) from the evaluated episodes and their priors.
        learns: Whether it uses the priors.
    """

    description: str
    sees: Literal["nothing", "time", "text", "everything"]
    make: Callable[[Sequence[Episode], Priors], tuple[Speak, Track]]
    learns: bool = False


def _fixed(speak: Speak, track: Track) -> Callable[[Sequence[Episode], Priors], tuple[Speak, Track]]:
    return lambda episodes, priors: (speak, track)


BASELINES: dict[str, Baseline] = {
    "oracle": Baseline("repeats the reference", "everything", _fixed(oracle_baseline_speech, oracle_baseline_transitions)),
    "silent": Baseline("never speaks and never updates a state", "nothing", _fixed(silent_baseline, never_update_baseline)),
    "always_talk": Baseline("says one sentence on every frame", "nothing", _fixed(always_talk_baseline, never_update_baseline)),
    "periodic": Baseline(
        "says one sentence at the fixed period that scores best on the evaluated episodes", "nothing",
        lambda episodes, priors: (periodic_baseline(best_baseline_period(episodes)), never_update_baseline),
    ),
    "rate_matched_random": Baseline(
        "says one sentence as often as the reference speaks, on random frames", "nothing",
        _fixed(rate_matched_random_baseline, never_update_baseline),
    ),
    "reply_to_user": Baseline("says one sentence after each user turn", "nothing", _fixed(reply_to_user_baseline, never_update_baseline)),
    "never_update": Baseline("never updates a state", "nothing", _fixed(silent_baseline, never_update_baseline)),
    "linear_schedule": Baseline(
        "gives each step, in the listed order, an equal share of the episode", "nothing",
        _fixed(silent_baseline, linear_schedule_baseline),
    ),
    "recite_steps": Baseline(
        "announces and tracks the listed steps at the pace of the training data", "nothing",
        lambda episodes, priors: (recite_speech_baseline(priors), recite_transitions_baseline(priors)), learns=True,
    ),
    "prior_text_at_reference_times": Baseline(
        "says the most typical text of the training data when the reference speaks", "time",
        lambda episodes, priors: (trivial_prior_text_baseline(priors), never_update_baseline), learns=True,
    ),
    "reference_text_at_prior_times": Baseline(
        "says the reference's texts in order, at the times of the training data", "text",
        lambda episodes, priors: (trivial_prior_times_baseline(priors), never_update_baseline), learns=True,
    ),
}  # fmt: skip


def make_trivial_baseline(
    name: str, episodes: Sequence[Episode], priors: Priors | None = None
) -> Callable[[Episode], EpisodeRecord]:
    """Return a baseline as a function of an episode.

    Args:
        name: One of `BASELINES`.
        episodes: The evaluated episodes; ``periodic`` chooses its period from them.
        priors: Priors of the learned baselines. By default they are learned from the other videos
            of ``episodes``.

    Returns:
        A function from an episode to its record.

    Raises:
        UserError: The name is unknown.
    """
    require_choice("baseline", name, list(BASELINES))
    speak, track = BASELINES[name].make(episodes, priors or Priors((), episodes))

    def predict(episode: Episode) -> EpisodeRecord:
        record = make_trivial_baseline_record(f"baseline:{name}", episode, speak(episode), track(episode))
        record = replace(record, answers=answer_baseline_polls(name, episode))
        if name != "oracle":
            return record
        return replace(
            record,
            mistakes=oracle_baseline_mistakes(episode),
            mistake_prob=oracle_baseline_mistake_prob(episode),
            next_steps=oracle_baseline_next_steps(episode),
        )

    return predict


def make_trivial_baseline_record(
    model: str,
    episode: Episode,
    speech: list[tuple[int, str]],
    transitions: list[tuple[int, str, Change]],
    believed: Sequence[Sequence[StepState]] | None = None,
) -> EpisodeRecord:
    """Make a record of certain decisions: all probabilities are 0 or 1.

    Args:
        model: Name of the model.
        episode: The episode.
        speech: (frame, text) of the utterances.
        transitions: (frame, step id, change) of the transitions.
        believed: States after each frame for the state head. None takes the tracked states.

    Returns:
        The record.
    """
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


def answer_baseline_polls(name: str, episode: Episode) -> tuple[PolledAnswer, ...]:
    """Return a baseline's answers to the polls of an episode.

    The oracle answers correctly. The answers of all other baselines are empty.
    """
    return tuple(
        PolledAnswer(poll.id, episode.poll_frame(poll), poll.accepted[0] if name == "oracle" and poll.accepted else "")
        for poll in episode.polls
    )


@lru_cache(maxsize=1 << 12)
def _one_hot(states: tuple[StepState, ...]) -> tuple[tuple[float, float, float], ...]:
    return tuple(_ONE_HOT[state] for state in states)
