"""All metrics, by family; `all_metrics` lists them with the metrics of installed packages.

To add a metric, register a list of `Metric`, or a function of `ScoringResources` that returns one,
in the entry point group ``prospect.metrics``. `prospect new metric NAME` writes an example package.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from prospect_core.util.entry_points import list_entry_points, load_entry_point
from prospect_core.util.errors import UserError
from prospect_eval.metrics import (
    answers,
    benchmark_timing,
    calibration,
    context,
    delivery,
    dialogue,
    polls,
    procedures,
    retention,
    rival_timing,
    speaking,
    states,
    text,
    transitions,
    utility,
)
from prospect_eval.metrics.base import Metric, Scored, ScoringResources

__all__ = ["Metric", "Scored", "ScoringResources", "all_metrics"]
GROUP = "prospect.metrics"


def all_metrics(resources: ScoringResources, plug_ins: bool = True) -> list[Metric]:
    """List the metrics in the order of the report.

    Args:
        resources: Resources for scoring.
        plug_ins: Whether to add the metrics of installed packages.

    Returns:
        PROSPECT's metrics, then those of installed packages.

    Raises:
        UserError: An entry point is not a list of metrics, or a metric's name is taken.
    """
    ours = [
        *speaking.METRICS,
        *calibration.METRICS,
        *delivery.delivery_metrics(resources.settings),
        *rival_timing.rival_timing_metrics(resources.similarity_signature),
        *benchmark_timing.METRICS,
        *dialogue.dialogue_metrics(resources.similarity_signature, resources.settings.match),
        # next to matched dialogue, which does not see which object is named
        *answers.answer_metrics(resources),
        *utility.utility_metrics(resources.similarity_signature, resources.settings.match),
        *text.text_metrics(resources),
        *states.METRICS,
        *transitions.METRICS,
        *retention.METRICS,
        *context.METRICS,
        *polls.METRICS,
        *procedures.procedure_metrics(resources),
    ]
    if not plug_ins:
        return ours
    theirs = [metric for found in _installed() for metric in (found(resources) if callable(found) else found)]
    names = {metric.name for metric in ours}
    for metric in theirs:
        if metric.name in names:
            raise UserError(f"metric {metric.name!r} of an installed package: the name is taken; choose another name")
        names.add(metric.name)
    return ours + theirs


@cache
def _installed() -> list[Sequence[Metric] | Callable[[ScoringResources], Sequence[Metric]]]:
    out = []
    for point in list_entry_points(GROUP):
        found = load_entry_point(point)
        if not callable(found) and not all(isinstance(metric, Metric) for metric in found):
            raise UserError(f"{GROUP}: {point.value} is neither a list of Metric nor a function that returns one")
        out.append(found)
    return out
