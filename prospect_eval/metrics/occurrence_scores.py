"""Executions of steps as spans of frames, and their F1 by overlap."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial

import numpy as np

from prospect_core.timeline import Change, Episode
from prospect_eval.matching.assignment import assign_allowed_pairs
from prospect_eval.metrics.base import Metric, Scored, f1
from prospect_eval.metrics.families import PROCEDURES
from prospect_eval.metrics.states import NO_STEPS
from prospect_eval.metrics.transitions import OVERLAPS

_metric = partial(Metric, family=PROCEDURES)


def find_occurrence_spans(episode: Episode, transitions: Iterable[tuple[int, str, Change]]) -> dict[str, list[range]]:
    """Return the spans of frames in which each step is executed.

    An occurrence runs from the frame of ``start`` or ``reopen`` to the frame of ``complete``, both
    included, or to the last frame. A step in progress before the first frame runs from there.

    Args:
        episode: The episode.
        transitions: Legal (frame, step, change) in order.

    Returns:
        Spans by step id, in order of time; only steps with an occurrence.
    """
    spans: dict[str, list[range]] = {}
    for span in episode.step_spans(transitions):
        spans.setdefault(span.step, []).append(range(span.first, min(span.end + 1, episode.end_frame)))
    return spans


def count_occurrence_hits(predicted: list[range], reference: list[range], percent: int) -> int:
    """Return the largest number of one-to-one pairs of spans that overlap enough.

    Args:
        predicted: Predicted spans of frames of one step.
        reference: Reference spans of frames of the same step.
        percent: Smallest overlap of a pair (intersection over union).
    """
    costs = np.full((len(predicted), len(reference)), np.inf)
    for row, ours in enumerate(predicted):
        for column, theirs in enumerate(reference):
            common = max(0, min(ours.stop, theirs.stop) - max(ours.start, theirs.start))
            union = len(ours) + len(theirs) - common
            # whole numbers, so that an overlap of exactly the limit is a hit
            if 100 * common >= percent * union:
                costs[row, column] = 0.0
    return len(assign_allowed_pairs(costs))


@cache
def occurrence_counts(percent: int) -> Callable[[Scored], np.ndarray | str]:
    """Return a function that counts (pairs, predicted, reference) occurrences.

    Args:
        percent: Smallest overlap of a pair (intersection over union).
    """

    def counts(scored: Scored) -> np.ndarray | str:
        if not scored.record.episode.task.steps:
            return NO_STEPS
        predicted, reference = _occurrence_sides(scored)
        hits = sum(count_occurrence_hits(spans, reference.get(step, []), percent) for step, spans in predicted.items())
        return np.array([hits, sum(map(len, predicted.values())), sum(map(len, reference.values()))])

    return counts


def _occurrence_sides(scored: Scored) -> tuple[dict[str, list[range]], dict[str, list[range]]]:
    def make() -> tuple[dict[str, list[range]], dict[str, list[range]]]:
        episode = scored.record.episode
        predicted = [(item.frame, item.step, item.change) for item in scored.record.transitions]
        if scored.failed:
            return {}, find_occurrence_spans(episode, episode.transitions())
        return find_occurrence_spans(episode, predicted), find_occurrence_spans(episode, episode.transitions())

    return scored.once("occurrence spans", make)


METRICS = [
    _metric(
        f"occurrence_f1@{percent}",
        occurrence_counts(percent),
        f1,
        {"match": "one-to-one", "overlap": f"{percent}%", "unit": "occurrence"},
        definition="F1 of executions of steps, from start or reopen to complete, paired one to one with executions of the"
        f" same step with at least {percent} % intersection over union.",
        failure_mode="Long executions are hit by chance; a step that is never completed runs to the end.",
    )
    for percent in OVERLAPS
]
