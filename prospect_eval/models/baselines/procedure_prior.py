"""Priors of procedures, learned from training episodes: order, durations and mistakes of steps.

Steps of different episodes are the same step if their names are equal. The prior of a step comes
from the episodes with the same goal, otherwise from all episodes with such a step, otherwise from
all steps of the episodes with the same goal, or of all episodes if the goal is new.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from prospect_core.timeline import Episode, Task
from prospect_eval.models.baselines.held_out_learning import HeldOutLearner

#: share of the recordings from which a schedule contains a step, or reports a mistake in it
MAJORITY = 0.5


@dataclass(frozen=True)
class ProcedureFacts:
    """Contribution of one episode to the prior of a procedure. Steps are named by their keys.

    An execution of a step lasts from its start or reopening to its completion or the end of the
    episode. The gap after the last execution is its own duration.

    Attributes:
        goal: Goal of the task, in lower case.
        steps: Keys of the task's steps.
        ranks: Rank of the first start of each step that is done, as a share of the steps done.
        runs: (seconds in progress, seconds to the next start of a step) of each execution, by step.
        order: Steps by start; a repeated step appears several times.
        first_start_s: Seconds to the first start; None without one.
        mistakes: Tags of the mistakes with a time, by step.
    """

    goal: str
    steps: frozenset[str]
    ranks: dict[str, float]
    runs: dict[str, list[tuple[float, float]]]
    order: tuple[str, ...]
    first_start_s: float | None
    mistakes: dict[str, list[str]]


@dataclass(frozen=True, eq=False)
class StepPrior:
    """Learned prior of a step.

    Attributes:
        done_share: Share of the recordings in which it is done, 0..1.
        rank: Mean rank of its first start, 0..1; its place in the list if it is never done.
        runs: (R, 2) seconds in progress and seconds to the next start of a step, at least one row.
        mistake_rate: Share of the recordings with this step in which it has a mistake with a time.
        mistake_tag: Its most frequent tag, or that of all steps; empty without mistakes.
    """

    done_share: float
    rank: float
    runs: np.ndarray
    mistake_rate: float
    mistake_tag: str

    @property
    def duration_s(self) -> float:
        """Mean seconds in progress."""
        return float(self.runs[:, 0].mean())

    @property
    def gap_s(self) -> float:
        """Mean seconds to the next start of a step."""
        return float(self.runs[:, 1].mean())


@dataclass(frozen=True, eq=False)
class TaskPrior:
    """Learned prior of a task.

    Attributes:
        steps: Priors of the steps in the listed order; empty if no step is done in any episode.
        first_starts_s: Seconds to the first start in each episode.
        bigrams: (K + 1, K) counts of consecutive starts: row 0 counts the first starts, row k + 1
            the starts after a start of step k.
        has_mistakes: Whether the episodes contain mistakes.
    """

    steps: tuple[StepPrior, ...]
    first_starts_s: np.ndarray
    bigrams: np.ndarray
    has_mistakes: bool

    @property
    def order(self) -> list[int]:
        """Indices of the steps in the order of their mean ranks."""
        return sorted(range(len(self.steps)), key=lambda k: self.steps[k].rank)


class ProcedurePrior:
    """Prior of every task, from the contributions of episodes.

    Args:
        facts: The contributions.
    """

    def __init__(self, facts: Sequence[ProcedureFacts]) -> None:
        self._facts = facts
        self._tasks: dict[tuple[str, tuple[str, ...]], TaskPrior] = {}

    def of_task(self, task: Task) -> TaskPrior:
        """Return the prior of a task; equal goals and steps give the same object."""
        goal, keys = _normalize(task.goal), procedure_step_keys(task)
        if (goal, keys) not in self._tasks:
            same = [fact for fact in self._facts if fact.goal == goal]
            has_steps = any(fact.order for fact in same)
            self._tasks[goal, keys] = _learn_task(keys, same if has_steps else [], self._facts)
        return self._tasks[goal, keys]


#: priors of procedures for each episode
ProcedurePriors = HeldOutLearner[ProcedureFacts, ProcedurePrior]


def make_procedure_priors(training: Sequence[Episode], episodes: Sequence[Episode]) -> ProcedurePriors:
    """Return the priors of procedures.

    Args:
        training: Episodes to learn from. If empty, ``episodes`` are used, without the video,
            recording or participant of the requested episode.
        episodes: The evaluated episodes.
    """
    return HeldOutLearner(training, episodes, describe_procedure, ProcedurePrior)


def procedure_step_keys(task: Task) -> tuple[str, ...]:
    """Return the keys by which the steps of a task are found in other episodes.

    A key is the name in lower case, with a number if several steps have this name.
    """
    seen: Counter[str] = Counter()
    keys = []
    for step in task.steps:
        name = _normalize(step.name)
        seen[name] += 1
        keys.append(name if seen[name] == 1 else f"{name} #{seen[name]}")
    return tuple(keys)


def describe_procedure(episode: Episode) -> ProcedureFacts:
    """Return the contribution of one episode to the prior of its procedure."""
    keys = dict(zip(episode.task.step_ids, procedure_step_keys(episode.task), strict=True))
    executions: list[tuple[str, int]] = []
    ends: list[int] = []
    running: dict[str, int] = {}
    for frame, step, change in episode.transitions():
        if change != "complete":
            running[step] = len(executions)
            executions.append((keys[step], frame))
            ends.append(episode.end_frame)
        elif step in running:
            ends[running.pop(step)] = frame
    starts = [frame for _, frame in executions]
    runs: dict[str, list[tuple[float, float]]] = {}
    for k, ((key, start), end) in enumerate(zip(executions, ends, strict=True)):
        following = starts[k + 1] if k + 1 < len(starts) else end
        runs.setdefault(key, []).append(((end - start) / episode.fps, (following - start) / episode.fps))
    mistakes: dict[str, list[str]] = {}
    for mistake in episode.mistakes:
        if mistake.span is not None and mistake.step in keys:
            mistakes.setdefault(keys[mistake.step], []).append(mistake.tag)
    return ProcedureFacts(
        goal=_normalize(episode.task.goal),
        steps=frozenset(keys.values()),
        ranks={key: (rank + 0.5) / len(runs) for rank, key in enumerate(runs)},
        runs=runs,
        order=tuple(key for key, _ in executions),
        first_start_s=(starts[0] - episode.start_frame) / episode.fps if starts else None,
        mistakes=mistakes,
    )


def _learn_task(keys: tuple[str, ...], same: Sequence[ProcedureFacts], every: Sequence[ProcedureFacts]) -> TaskPrior:
    """Learn the prior of a task.

    Args:
        keys: Keys of the task's steps.
        same: Contributions of the episodes with the same goal; empty if none of them has a step.
        every: All contributions.
    """
    pool = same or every
    other_runs = [run for fact in pool for runs in fact.runs.values() for run in runs]
    if not other_runs:
        return TaskPrior((), np.zeros(0), np.zeros((len(keys) + 1, len(keys))), False)
    usual_tag = _most_frequent(tag for fact in every for tags in fact.mistakes.values() for tag in tags)
    usual_share = float(np.mean([len(fact.ranks) / len(fact.steps) for fact in pool if fact.steps]))
    steps = []
    for place, key in enumerate(keys):
        listed = [fact for fact in same if key in fact.steps] or [fact for fact in every if key in fact.steps]
        done = [fact for fact in listed if key in fact.runs] or [fact for fact in every if key in fact.runs]
        runs = [run for fact in done for run in fact.runs[key]]
        tags = [tag for fact in done for tag in fact.mistakes.get(key, [])]
        steps.append(
            StepPrior(
                done_share=float(np.mean([key in fact.runs for fact in listed])) if listed else usual_share,
                rank=float(np.mean([fact.ranks[key] for fact in done])) if done else (place + 0.5) / len(keys),
                runs=np.array(runs or other_runs, dtype=float),
                mistake_rate=float(np.mean([key in fact.mistakes for fact in done])) if done else 0.0,
                mistake_tag=_most_frequent(tags) or usual_tag,
            )
        )
    return TaskPrior(
        steps=tuple(steps),
        first_starts_s=np.array([fact.first_start_s for fact in pool if fact.first_start_s is not None]),
        bigrams=_count_bigrams(keys, pool),
        has_mistakes=any(fact.mistakes for fact in every),
    )


def _count_bigrams(keys: tuple[str, ...], pool: Sequence[ProcedureFacts]) -> np.ndarray:
    places = {key: place for place, key in enumerate(keys)}
    counts = np.zeros((len(keys) + 1, len(keys)))
    for fact in pool:
        if fact.order and fact.order[0] in places:
            counts[0, places[fact.order[0]]] += 1
        for before, after in pairwise(fact.order):
            if before in places and after in places:
                counts[places[before] + 1, places[after]] += 1
    return counts


def _normalize(text: str) -> str:
    return " ".join(text.lower().split())


def _most_frequent(tags: Iterable[str]) -> str:
    """Return the most frequent tag, of equally frequent ones the first by alphabet; empty without tags."""
    counts = Counter(tags)
    return min(counts, key=lambda tag: (-counts[tag], tag), default="")
