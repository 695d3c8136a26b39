"""Order of the task graph, the expected next step, and skipped steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import groupby
from typing import TypeVar

import numpy as np

from prospect_core.timeline import STEP_STATES, Change, DialogState, Episode
from prospect_eval.metrics.base import POSITIVE, Metric, Scored, f1, ratio
from prospect_eval.metrics.families import PROCEDURES
from prospect_eval.metrics.states import NO_STEPS
from prospect_eval.metrics.transitions import Transition, match_transitions

_metric = partial(Metric, family=PROCEDURES)
Entry = TypeVar("Entry")

VIOLATIONS_WITHIN_S = 30
NO_ORDER = "the task has no order edges"
NO_START = "no step starts after the first frame"
NOT_STARTED = STEP_STATES.index("not_started")


def find_order_violations(episode: Episode, transitions: Iterable[tuple[int, str, Change]]) -> list[Transition]:
    """Return the starts and reopens of a step while one of its predecessors is not completed.

    The states after all transitions of the frame decide, so the order within a frame is irrelevant.

    Args:
        episode: The episode.
        transitions: Legal (frame, step, change) in order of their frames.

    Returns:
        (frame, step, "violation") in order.
    """
    before = episode.task.find_predecessors()
    state = episode.initial_state
    found: list[Transition] = []
    for frame, together in groupby(transitions, key=lambda item: item[0]):
        moves = list(together)
        for _, step, change in moves:
            state = state.apply(step, change, frame / float(episode.fps))
        begun = [step for _, step, change in moves if change != "complete"]
        found += [
            (frame, step, "violation")
            for step in begun
            if any(state[earlier] != "completed" for earlier in before[step])
        ]
    return found


def order_violation_counts(scored: Scored) -> np.ndarray | str:
    """Count (pairs, predicted, reference) violations of the task graph."""
    episode = scored.record.episode
    if not episode.task.order_edges:
        return NO_ORDER
    predicted, reference = _violation_sides(scored)
    pairs = match_transitions(predicted, reference, VIOLATIONS_WITHIN_S * scored.fps)
    return np.array([len(pairs), len(predicted), len(reference)])


def order_violations_per_episode_counts(scored: Scored) -> np.ndarray | str:
    """Count (predicted violations of the task graph, 1)."""
    if not scored.record.episode.task.order_edges:
        return NO_ORDER
    return np.array([len(_violation_sides(scored)[0]), 1.0])


def _violation_sides(scored: Scored) -> tuple[list[Transition], list[Transition]]:
    def make() -> tuple[list[Transition], list[Transition]]:
        episode = scored.record.episode
        predicted = [(item.frame, item.step, item.change) for item in scored.record.transitions]
        return find_order_violations(episode, predicted), find_order_violations(episode, episode.transitions())

    return scored.once("order violations", make)


def choose_plan_step(episode: Episode, states: DialogState) -> str | None:
    """Return the step that a display of the plan shows next.

    It is the first step in the listed order that is not started and whose predecessors are all
    completed.

    Args:
        episode: The episode.
        states: The tracked state.

    Returns:
        The step's id; None if there is none.
    """
    before = episode.task.find_predecessors()
    open_steps = (step for step in states.step_ids if states[step] == "not_started")
    return next((step for step in open_steps if all(states[earlier] == "completed" for earlier in before[step])), None)


def next_step_counts(scored: Scored) -> np.ndarray | str:
    """Count (frames with the right expectation, frames on which reference steps start).

    Without expectations in the record, the expected step is that of `choose_plan_step` in the
    tracked state of the frame before. Steps that start on one frame count once; the episode's first
    frame is left out.
    """
    episode, record = scored.record.episode, scored.record
    if not episode.task.steps:
        return NO_STEPS
    started: dict[int, set[str]] = {}
    for frame, step, change in episode.transitions():
        if change == "start" and frame > episode.start_frame:
            started.setdefault(frame, set()).add(step)
    if not started:
        return NO_START
    if scored.failed:
        return np.array([0, len(started)])
    if record.next_steps:
        expected = _latest_before(sorted(started), [(item.frame, item.step) for item in record.next_steps])
    else:
        tracked = _latest_before(sorted(started), record.tracked_states())
        expected = {frame: choose_plan_step(episode, state) if state else None for frame, state in tracked.items()}
    return np.array([sum(expected[frame] in steps for frame, steps in started.items()), len(started)])


def _latest_before(frames: Sequence[int], entries: Sequence[tuple[int, Entry]]) -> dict[int, Entry | None]:
    """Return the last entry at an earlier frame, for each of some ascending frames."""
    out: dict[int, Entry | None] = {}
    latest: Entry | None = None
    at = 0
    for frame in frames:
        while at < len(entries) and entries[at][0] < frame:
            latest = entries[at][1]
            at += 1
        out[frame] = latest
    return out


def skipped_step_counts(scored: Scored) -> np.ndarray | str:
    """Count (hits, predicted, reference) steps that are not started at the last frame."""
    if not scored.record.episode.task.steps:
        return NO_STEPS
    predicted = scored.tracked_states[-1] == NOT_STARTED
    reference = scored.reference_states[-1] == NOT_STARTED
    return np.array([(predicted & reference).sum(), predicted.sum(), reference.sum()])


METRICS = [
    _metric(
        "order_violation_f1",
        order_violation_counts,
        f1,
        {"match": "one-to-one", "tol": f"{VIOLATIONS_WITHIN_S}s"},
        definition="F1 of starts and reopens of a step while a predecessor in the task graph is not completed, paired at most"
        f" {VIOLATIONS_WITHIN_S} s apart.",
        failure_mode="A predecessor whose completion is missed makes a violation of every later start.",
        companion="order_violations_per_episode",
    ),
    _metric(
        "order_violations_per_episode",
        order_violations_per_episode_counts,
        ratio,
        better="",
        unit="1/episode",
        range=POSITIVE,
        definition="Violations of the task graph in the tracked states, per episode with a task graph.",
        failure_mode="Says nothing about whether the person did the steps in this order.",
    ),
    _metric(
        "next_step_accuracy",
        next_step_counts,
        ratio,
        {"without next_steps": "first step of the plan"},
        definition="Share of the starts of steps before which the model expects that step next, or, without expectations in the"
        " record, before which tracked state and plan imply it.",
        failure_mode="Following the listed order scores high where people do; reopened steps do not count.",
    ),
    _metric(
        "skipped_step_f1",
        skipped_step_counts,
        f1,
        definition="F1 of the steps that are not started at the last frame.",
        failure_mode="A model that never updates a state finds every skipped step; undefined if none is skipped.",
    ),
]
