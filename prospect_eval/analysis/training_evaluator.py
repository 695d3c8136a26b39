"""Evaluator for `prospect train`, found by entry point: metric values and thresholds of records."""

from __future__ import annotations

from collections.abc import Sequence

from prospect_core.records import EpisodeRecord
from prospect_core.util.errors import require_choice
from prospect_eval.analysis.thresholds import choose_thresholds
from prospect_eval.metrics import Scored, all_metrics
from prospect_eval.metrics.resources import make_scoring_resources
from prospect_eval.metrics.scored import add_corpus_to_scored_resources

__all__ = ["check_metric", "choose_thresholds", "metric_values"]


def check_metric(name: str) -> str:
    """Return the direction of better values of a metric, ``"higher"`` or ``"lower"``.

    Raises:
        UserError: The metric is unknown or has no direction.
    """
    directed = {
        metric.name: metric.better
        for metric in all_metrics(make_scoring_resources())
        if metric.better in ("higher", "lower")
    }
    return directed[require_choice("eval.metric", name, directed)]


def metric_values(records: Sequence[EpisodeRecord], names: Sequence[str]) -> dict[str, float | None]:
    """Compute metrics over records without intervals.

    Args:
        records: Prediction records.
        names: Names of the metrics.

    Returns:
        The value of each metric; None where undefined.
    """
    resources = add_corpus_to_scored_resources(make_scoring_resources(), records)
    scored = Scored.over(records, resources)
    chosen = [metric for metric in all_metrics(resources) if metric.name in names]
    return {metric.name: metric.compute(scored, intervals=False)["value"] for metric in chosen}
