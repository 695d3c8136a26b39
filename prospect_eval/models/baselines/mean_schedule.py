"""Blind schedule of the steps in the mean order, durations and gaps of the training episodes.

A step belongs to the schedule if it is done in at least half of the recordings. ``mean_schedule``
reports a mistake in the middle of a step if the step has a mistake in at least half of the
recordings. ``always_mistake`` reports one at the start of every step: the constant answer against
which the F1 of mistakes is compared. Both know neither the length of the episode nor its video.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from prospect_core.records import EpisodeRecord, PredictedMistake, PredictedNextStep
from prospect_core.timeline import Change, Episode
from prospect_eval.models.baselines.priors import keep_legal_prior_changes
from prospect_eval.models.baselines.procedure_prior import MAJORITY, ProcedurePriors, TaskPrior
from prospect_eval.models.baselines.trivial import make_trivial_baseline_record


@dataclass(frozen=True)
class ScheduledStep:
    """A step in a schedule.

    Attributes:
        place: Index of the step in the task.
        start: First video frame in progress.
        end: Video frame of its completion; it can lie after the end of the episode.
    """

    place: int
    start: int
    end: int


def mean_schedule_baseline(priors: ProcedurePriors) -> Callable[[Episode], EpisodeRecord]:
    """Return the baseline ``mean_schedule`` as a function of an episode."""

    def predict(episode: Episode) -> EpisodeRecord:
        prior = priors.learn_for(episode).of_task(episode.task)
        schedule = make_mean_schedule(episode, prior)
        record = make_trivial_baseline_record(
            "baseline:mean_schedule", episode, [], list_schedule_transitions(episode, schedule)
        )
        return replace(
            record,
            next_steps=list_schedule_next_steps(episode, schedule),
            mistakes=list_schedule_mistakes(episode, prior, schedule),
            mistake_prob=_mistake_probabilities(episode, prior, schedule),
        )

    return predict


def always_mistake_baseline(priors: ProcedurePriors) -> Callable[[Episode], EpisodeRecord]:
    """Return the baseline ``always_mistake`` as a function of an episode. It never updates a state."""

    def predict(episode: Episode) -> EpisodeRecord:
        prior = priors.learn_for(episode).of_task(episode.task)
        ids = episode.task.step_ids
        mistakes = [
            PredictedMistake(item.start, ids[item.place], prior.steps[item.place].mistake_tag)
            for item in make_mean_schedule(episode, prior)
        ]
        record = make_trivial_baseline_record("baseline:always_mistake", episode, [], [])
        return replace(record, mistakes=tuple(mistakes), mistake_prob=(1.0,) * episode.num_frames)

    return predict


def make_mean_schedule(episode: Episode, prior: TaskPrior) -> list[ScheduledStep]:
    """Schedule the steps that have not started before the episode.

    The first step starts after the mean time to the first start. Each further one starts after the
    mean gap that follows its predecessor.

    Args:
        episode: The episode; its events are not used.
        prior: Prior of its task.

    Returns:
        The steps that start before the episode ends, in order of their starts.
    """
    if not prior.steps:
        return []
    seconds = float(prior.first_starts_s.mean())
    schedule = []
    for place in prior.order:
        step = prior.steps[place]
        if step.done_share < MAJORITY or episode.initial_state.states[place] != "not_started":
            continue
        start = episode.start_frame + round(seconds * episode.fps)
        end = episode.start_frame + round((seconds + step.duration_s) * episode.fps)
        if start >= episode.end_frame:
            break
        schedule.append(ScheduledStep(place, start, end))
        seconds += step.gap_s
    return schedule


def list_schedule_transitions(episode: Episode, schedule: Sequence[ScheduledStep]) -> list[tuple[int, str, Change]]:
    """Return the transitions of a schedule as (frame, step id, change), in order of time."""
    ids = episode.task.step_ids
    moves: list[tuple[int, str, Change]] = []
    for item in schedule:
        moves += [(item.start, ids[item.place], "start"), (item.end, ids[item.place], "complete")]
    return keep_legal_prior_changes(episode, moves)


def list_schedule_next_steps(episode: Episode, schedule: Sequence[ScheduledStep]) -> tuple[PredictedNextStep, ...]:
    """Return the next step of a schedule from the episode's start and from each start of a step on."""
    ids = episode.task.step_ids
    known_from = [episode.start_frame, *(item.start for item in schedule)]
    return tuple(PredictedNextStep(frame, ids[item.place]) for frame, item in zip(known_from, schedule, strict=False))


def list_schedule_mistakes(
    episode: Episode, prior: TaskPrior, schedule: Sequence[ScheduledStep]
) -> tuple[PredictedMistake, ...]:
    """Return a mistake in the middle of each step with a mistake in at least half of the recordings.

    Args:
        episode: The episode.
        prior: Prior of its task.
        schedule: The scheduled steps.
    """
    ids = episode.task.step_ids
    likely = [item for item in schedule if prior.steps[item.place].mistake_rate >= MAJORITY]
    found = [((item.start + item.end) // 2, item.place) for item in likely]
    return tuple(
        PredictedMistake(frame, ids[place], prior.steps[place].mistake_tag)
        for frame, place in sorted(found)
        if frame < episode.end_frame
    )


def _mistake_probabilities(episode: Episode, prior: TaskPrior, schedule: Sequence[ScheduledStep]) -> tuple[float, ...]:
    """Return the highest mistake rate of the steps in progress in each frame; empty without mistakes."""
    if not prior.has_mistakes:
        return ()
    rates = np.zeros(episode.num_frames)
    for item in schedule:
        span = slice(item.start - episode.start_frame, item.end - episode.start_frame)
        rates[span] = np.maximum(rates[span], prior.steps[item.place].mistake_rate)
    return tuple(rates.tolist())
