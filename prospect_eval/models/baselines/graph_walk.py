"""Blind random walk through the task graph, at the pace of the training episodes.

The walk chooses each step uniformly among the steps whose predecessors (`Task.order_edges`) it has
already chosen. Without edges every order is possible. A step starts when the gap after the previous
start has passed and its predecessors are completed. Durations and gaps are drawn from the
training episodes. The walk does every step, because a task graph does not show which steps are
optional.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from prospect_core.records import EpisodeRecord
from prospect_core.timeline import Episode
from prospect_eval.models.baselines.mean_schedule import (
    ScheduledStep,
    list_schedule_next_steps,
    list_schedule_transitions,
)
from prospect_eval.models.baselines.procedure_prior import ProcedurePriors, TaskPrior
from prospect_eval.models.baselines.trivial import make_trivial_baseline_record


def graph_walk_baseline(priors: ProcedurePriors) -> Callable[[Episode], EpisodeRecord]:
    """Return the baseline ``graph_walk`` as a function of an episode."""

    def predict(episode: Episode) -> EpisodeRecord:
        prior = priors.learn_for(episode).of_task(episode.task)
        schedule = walk_task_graph(episode, prior)
        record = make_trivial_baseline_record(
            "baseline:graph_walk", episode, [], list_schedule_transitions(episode, schedule)
        )
        return replace(record, next_steps=list_schedule_next_steps(episode, schedule))

    return predict


def walk_task_graph(episode: Episode, prior: TaskPrior) -> list[ScheduledStep]:
    """Schedule the steps that have not started before the episode by a random walk.

    The walk is seeded by the id of the episode.

    Args:
        episode: The episode; its events are not used.
        prior: Prior of its task.

    Returns:
        The steps that start before the episode ends, in order of their starts.
    """
    if not prior.steps:
        return []
    seed = int.from_bytes(hashlib.sha256(episode.id.encode()).digest()[:8], "little")
    random = np.random.default_rng(seed)
    ids = episode.task.step_ids
    waiting = [step for step in ids if episode.initial_state[step] == "not_started"]
    predecessors = episode.task.find_predecessors()
    ends = {step: 0.0 for step in ids if step not in waiting}
    clock = float(random.choice(prior.first_starts_s))
    schedule: list[ScheduledStep] = []
    while ready := [step for step in waiting if ends.keys() >= set(predecessors[step])]:
        step = ready[random.integers(len(ready))]
        place = ids.index(step)
        duration, gap = random.choice(prior.steps[place].runs)
        start = max([clock, *(ends[before] for before in predecessors[step])])
        waiting.remove(step)
        ends[step] = start + duration
        clock = start + gap
        first, last = (episode.start_frame + round(seconds * episode.fps) for seconds in (start, ends[step]))
        if first >= episode.end_frame:
            break
        schedule.append(ScheduledStep(place, first, last))
    return schedule
