"""What `prospect train` asks of this package, found by entry point: metric values and thresholds of some records.

python -c "from prospect_core.train.validation import find_validation_evaluator; print(find_validation_evaluator('prospect_eval'))"
"""

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
    """Whether higher or lower is better (``"higher"``, ``"lower"``); an unknown or directionless metric is a `UserError`."""
    directed = {
        metric.name: metric.better
        for metric in all_metrics(make_scoring_resources())
        if metric.better in ("higher", "lower")
    }
    return directed[require_choice("eval.metric", name, directed)]


def metric_values(records: Sequence[EpisodeRecord], names: Sequence[str]) -> dict[str, float | None]:
    """The values of the named metrics over these records, None where undefined; intervals are not computed."""
    resources = add_corpus_to_scored_resources(make_scoring_resources(), records)
    scored = Scored.over(records, resources)
    chosen = [metric for metric in all_metrics(resources) if metric.name in names]
    return {metric.name: metric.compute(scored, intervals=False)["value"] for metric in chosen}
