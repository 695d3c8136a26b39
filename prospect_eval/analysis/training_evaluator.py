"""What `prospect train` asks of this package, found by entry point: metric values and thresholds of some records.

python -c "from prospect_core.train.validation import find_evaluator; print(find_evaluator('prospect_eval'))"
"""

from __future__ import annotations

from collections.abc import Sequence

from prospect_core.records import EpisodeRecord
from prospect_core.util.errors import choose
from prospect_eval.analysis.thresholds import choose_thresholds
from prospect_eval.metrics import Scored, all_metrics
from prospect_eval.metrics.resources import make_resources
from prospect_eval.metrics.scored import with_corpus

__all__ = ["check_metric", "choose_thresholds", "metric_values"]


def check_metric(name: str) -> str:
    """Whether higher or lower is better (``"higher"``, ``"lower"``); an unknown or directionless metric is a `UserError`."""
    directed = {
        metric.name: metric.better for metric in all_metrics(make_resources()) if metric.better in ("higher", "lower")
    }
    return directed[choose("eval.metric", name, directed)]


def metric_values(records: Sequence[EpisodeRecord], names: Sequence[str]) -> dict[str, float | None]:
    """The values of the named metrics over these records, None where undefined; intervals are not computed."""
    resources = with_corpus(make_resources(), records)
    scored = Scored.over(records, resources)
    chosen = [metric for metric in all_metrics(resources) if metric.name in names]
    return {metric.name: metric.compute(scored, intervals=False)["value"] for metric in chosen}
