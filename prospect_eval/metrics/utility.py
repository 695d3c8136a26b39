"""Benefit against annoyance: the value of speaking if each unhelpful utterance has a cost.

An utterance is *timely and correct* if it is matched to a reference inside the dataset's window
with a cosine above 0.5: a correct pair of the family Matched dialogue. Every other utterance is
*unhelpful*: mismatched, redundant, or far from any reference.

Utility at cost c = (timely correct utterances - c * unhelpful utterances) / minutes of video. It is
linear in c. At c = 0 only benefit counts, at c = 1 one unhelpful utterance cancels one helpful one.
Silence has a utility of 0 at every cost: if a model is below 0 at a user's cost, it is better
switched off. ``metrics.json`` holds the curves of the run and of the baselines over c =
0..2 under ``utility``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from prospect_eval.matching.settings import STANDARD, MatchSettings
from prospect_eval.metrics.base import POSITIVE, UNBOUNDED, Metric, Scored, VideoCounts
from prospect_eval.metrics.dialogue import MATCHED_SIGNATURE, dialogue_match_counts
from prospect_eval.metrics.families import UTILITY
from prospect_eval.stats.bootstrap import bootstrap_interval

#: costs of the metrics
COSTS = (0.2, 1.0)
#: costs of the curve
GRID = tuple(round(0.1 * k, 1) for k in range(21))
BENEFIT, ANNOYANCE = "timely_correct_per_minute", "unhelpful_per_minute"


def utility_counts(scored: Scored) -> np.ndarray:
    """Count (timely correct utterances, all other utterances, minutes)."""
    correct, mismatched, _, redundant = dialogue_match_counts(scored)
    return np.array([correct, mismatched + redundant, scored.minutes])


def utility(cost: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that computes the utility per minute of `utility_counts`.

    Args:
        cost: Cost of an unhelpful utterance.
    """
    return lambda counts: np.asarray((counts[..., 0] - cost * counts[..., 1]) / counts[..., 2])


def utility_name(cost: float) -> str:
    """Return the name of the utility metric at a cost."""
    return f"utility@c={cost:g}"


def utility_curves(counts: VideoCounts, baselines: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Compute the utility over the grid of costs.

    Args:
        counts: `utility_counts` of a run by video.
        baselines: Table of each baseline.

    Returns:
        The curve of the run with intervals, and the curves of the baselines, per minute of video.
    """
    curves: dict[str, Any] = {}
    if counts.videos:
        total = counts.table.sum(0)
        intervals = [bootstrap_interval(counts.table, utility(cost)) for cost in GRID]
        curves["this run"] = {
            "value": [float(utility(cost)(total)) for cost in GRID],
            "ci95": [list(interval) if interval else None for interval in intervals],
        }
    for name, table in baselines.items():
        benefit, annoyance = (table[metric]["value"] for metric in (BENEFIT, ANNOYANCE))
        if benefit is not None and annoyance is not None:
            curves[name] = {"value": [benefit - cost * annoyance for cost in GRID]}
    return {"unit": "1/min", "costs": list(GRID), "curves": curves}


_metric = partial(Metric, family=UTILITY, unit="1/min")


def utility_metrics(similarity_signature: str, match: MatchSettings = STANDARD.match) -> list[Metric]:
    """Return the metrics of the family.

    Args:
        similarity_signature: Name and digest of the similarity model.
        match: Parameters of the matching.
    """
    signature = {**MATCHED_SIGNATURE, **match.signature, "sim": similarity_signature}
    benefit = _metric(
        BENEFIT,
        utility_counts,
        utility(0),
        signature,
        range=POSITIVE,
        definition="Timely and correct utterances per minute: matched with a reference turn and similar to it.",
        failure_mode="Unhelpful utterances cost nothing.",
    )
    annoyance = _metric(
        ANNOYANCE,
        utility_counts,
        lambda counts: np.asarray(counts[..., 1] / counts[..., 2]),
        signature,
        better="lower",
        range=POSITIVE,
        definition="Unhelpful utterances per minute: all that are not both timely and correct.",
        failure_mode="A silent model scores 0.",
    )
    at_costs = [
        _metric(
            utility_name(cost),
            utility_counts,
            utility(cost),
            {**signature, "cost": f"{cost:g}"},
            range=UNBOUNDED,
            definition=f"Timely and correct utterances minus {cost:g} times the unhelpful ones, per minute of video.",
            failure_mode="A silent model scores 0; the cost is an assumption about the user; the value depends on how much"
            " there is to say.",
        )
        for cost in COSTS
    ]
    return [benefit, annoyance, *at_costs]
