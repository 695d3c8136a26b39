"""PROSPECT's timing metrics of published predictions, next to the official values.

Responses and due times are paired one to one by the function that pairs the utterances of runs, so that a value means the same
as ``speaking_event_f1@2s`` of a run. A run pairs decision frames; published files have no frames, so their times are paired.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from prospect_eval.matching.matcher import match_events
from prospect_eval.metrics.speaking import FRAME_FORMULAS, TOLERANCES_S
from prospect_eval.stats.bootstrap import Statistic, bootstrap_interval
from prospect_eval.suites.benchmark import ItemTimes

_FORMULAS = ("f1", "precision", "recall")


def score_published_timing(items: Sequence[ItemTimes]) -> dict[str, Any]:
    """Return event scores within several tolerances.

    Args:
        items: Times of the predicted items.

    Returns:
        By the name of the metric of runs, such as ``speaking_event_f1@2s``: ``value`` (0..1; None
        where undefined), ``ci95`` over videos (None where undefined) and the number of ``videos``;
        empty without an item.
    """
    found: dict[str, Any] = {}
    for tolerance in TOLERANCES_S if items else ():
        counts = _count_by_video(items, tolerance)
        for name in _FORMULAS:
            found[f"speaking_event_{name}@{tolerance}s"] = _describe(counts, name)
    return found


def _count_by_video(items: Sequence[ItemTimes], tolerance: float) -> np.ndarray:
    """Return (videos, 3) counts: pairs, responses, due times."""
    by_video: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(3))
    for item in items:
        pairs = len(match_events(item.predicted, item.reference, tolerance))
        by_video[item.video] += (pairs, len(item.predicted), len(item.reference))
    return np.stack([by_video[video] for video in sorted(by_video)])


def _describe(counts: np.ndarray, name: str) -> dict[str, Any]:
    formula = FRAME_FORMULAS[name]
    value = float(formula(counts.sum(0)))
    ends = bootstrap_interval(counts, Statistic(formula, bounds=(0.0, 1.0))) if np.isfinite(value) else None
    return {
        "value": value if np.isfinite(value) else None,
        "ci95": None if ends is None else [float(ends[0]), float(ends[1])],
        "videos": len(counts),
    }
