"""The metric families; `all_metrics` lists every metric with the tools in use, those of installed packages last.

    python -c "from prospect_eval.metrics import all_metrics; from prospect_eval.tools import make_tools; \
print([metric.name for metric in all_metrics(make_tools())])"

One of your own is a list of `Metric` (or a function of `Tools` that gives one) in the entry point group ``prospect.metrics``;
`prospect new metric NAME` writes an example.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from prospect_core.errors import UserError
from prospect_core.plugins import installed, loaded
from prospect_eval.metrics import (
    answers,
    calibration,
    changes,
    context,
    delivery,
    dialogue,
    dst,
    retention,
    speaking,
    text,
    timing,
    utility,
)
from prospect_eval.metrics.base import Metric, Scored, Tools

__all__ = ["Metric", "Scored", "Tools", "all_metrics"]
GROUP = "prospect.metrics"


def all_metrics(tools: Tools, plug_ins: bool = True) -> list[Metric]:
    """Every metric, in the order of the report; without ``plug_ins`` those of this package alone."""
    ours = [
        *speaking.METRICS,
        *calibration.METRICS,
        *delivery.metrics(tools.settings),
        *timing.metrics(tools.similarity_signature),
        *dialogue.metrics(tools.similarity_signature, tools.settings.match),
        # content accuracy belongs next to matched dialogue, which is blind to what is named
        *answers.metrics(tools),
        *utility.metrics(tools.similarity_signature, tools.settings.match),
        *text.metrics(tools),
        *dst.METRICS,
        *changes.METRICS,
        *retention.METRICS,
        *context.METRICS,
    ]
    if not plug_ins:
        return ours
    theirs = [metric for found in _installed() for metric in (found(tools) if callable(found) else found)]
    names = {metric.name for metric in ours}
    for metric in theirs:
        if metric.name in names:
            raise UserError(f"metric {metric.name!r} of an installed package: the name is taken; give it another one")
        names.add(metric.name)
    return ours + theirs


@cache
def _installed() -> list[Sequence[Metric] | Callable[[Tools], Sequence[Metric]]]:
    out = []
    for point in installed(GROUP):
        found = loaded(point)
        if not callable(found) and not all(isinstance(metric, Metric) for metric in found):
            raise UserError(f"{GROUP}: {point.value} is no list of Metric, nor a function that gives one")
        out.append(found)
    return out
