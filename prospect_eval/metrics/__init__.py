"""The metric families; `all_metrics` lists every metric with the tools in use."""

from __future__ import annotations

from prospect_eval.metrics import answers, changes, context, dialogue, dst, retention, speaking, text, timing
from prospect_eval.metrics.base import Metric, Scored, Tools

__all__ = ["Metric", "Scored", "Tools", "all_metrics"]


def all_metrics(tools: Tools) -> list[Metric]:
    """Every metric, in the order of the report."""
    return [
        *speaking.METRICS,
        *timing.metrics(tools.similarity_signature),
        *dialogue.metrics(tools.similarity_signature),
        *text.metrics(tools),
        *answers.metrics(tools.similarity_signature),
        *dst.METRICS,
        *changes.METRICS,
        *retention.METRICS,
        *context.METRICS,
    ]
