"""Retention of a known state: joint goal accuracy by the time since the last reference change.

Frames are grouped by the seconds since the reference state last changed (since the episode's start
before any change), and by the number of compressions since then. Each group is scored for the
tracked state, which is outside the cache, and for the state head, which depends on the content of
the context. If a strategy loses information, the state head shows it. The frames of a group are
pooled over episodes and videos. The range is 0..1; the value of an empty group is undefined.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from prospect_eval.metrics.base import Metric, Scored, ratio
from prospect_eval.metrics.families import RETENTION
from prospect_eval.metrics.states import NO_HEAD, NO_STEPS

_metric = partial(Metric, family=RETENTION)

AGES_S = ((0, 5), (5, 15), (15, 30), (30, 60), (60, np.inf))
COMPRESSIONS = ((0, 1), (1, 2), (2, np.inf))


def retention_time_since_change(scored: Scored) -> tuple[np.ndarray, np.ndarray]:
    """Return the time since the last reference change.

    Args:
        scored: The record.

    Returns:
        (F,) seconds since the last reference change, and (F,) number of compressions since then.
    """
    episode = scored.record.episode
    frames = np.arange(episode.start_frame, episode.end_frame)
    changes = np.array([episode.start_frame, *sorted({f for f, _, _ in episode.transitions()})])
    last = changes[np.searchsorted(changes, frames, "right") - 1]
    # a compression takes place after its frame, so it counts for later frames only
    compressed = np.sort([c.frame for c in scored.record.compressions])
    count = np.searchsorted(compressed, frames, "left") - np.searchsorted(compressed, last, "left")
    return (frames - last) / episode.fps, count


def retention_counts(head: bool, what: int, low: float, high: float) -> Callable[[Scored], np.ndarray | str]:
    """Return a function that counts (frames with every state correct, frames) of a group.

    Args:
        head: Whether the states of the state head are compared; otherwise the tracked states.
        what: 0 to group by seconds, 1 to group by compressions.
        low: Lower end of the group, inclusive.
        high: Upper end of the group, exclusive.
    """

    def counts(scored: Scored) -> np.ndarray | str:
        if not scored.record.episode.task.steps:
            return NO_STEPS
        states = scored.head_states if head else scored.tracked_states
        if states is None:
            return NO_HEAD
        passed = scored.once("since change", lambda: retention_time_since_change(scored))[what]
        group = (passed >= low) & (passed < high)
        key = "head right" if head else "tracked right"
        right = scored.once(key, lambda: (states == scored.reference_states).all(1))
        return np.array([(right & group).sum(), group.sum()])

    return counts


def _name(low: float, high: float, unit: str) -> str:
    if high == np.inf:
        return f"{low:g}{unit}+"
    return f"{low:g}{unit}" if unit == "c" else f"{low:g}-{high:g}{unit}"


def _definition(head: bool, low: float, high: float, unit: str) -> str:
    """Return the definition of a group's metric."""
    source = "the model's state head" if head else "the state tracker"
    if unit == "s":
        span = f"{low:g} s or more" if high == np.inf else f"{low:g} to {high:g} s"
        return f"Share of the frames {span} after the last reference change with all steps right, from {source}."
    span = f"{low:g} or more" if high == np.inf else f"{low:g}"
    compressions = "compression" if span == "1" else "compressions"
    since = f"{span} {compressions} since the last reference change"
    return f"Share of the frames with {since} that have all steps right, from {source}."


_FAILURE_MODE = "Groups hold different frames and episodes: late groups come from long, quiet steps."
METRICS = [
    _metric(
        f"{'dst_head_jga' if head else 'dst_jga'}@{_name(low, high, unit)}",
        retention_counts(head, what, low, high),
        ratio,
        {"since": "last true change", "unit": "frame"},
        definition=_definition(head, low, high, unit),
        failure_mode=_FAILURE_MODE,
    )
    for head in (False, True)
    for what, unit, groups in ((0, "s", AGES_S), (1, "c", COMPRESSIONS))
    for low, high in groups
]
