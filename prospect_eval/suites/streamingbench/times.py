"""Times of StreamingBench predictions: the gold time of each question, and the last turn, which alone is scored."""

from __future__ import annotations

from prospect_eval.suites.benchmark import ItemTimes
from prospect_eval.suites.streamingbench.annotations import ProactiveAnnotations
from prospect_eval.suites.streamingbench.results import ProactiveResults


def list_streamingbench_times(annotations: ProactiveAnnotations, results: ProactiveResults) -> list[ItemTimes]:
    """The times of each question that has the model's key; a history without a readable last turn is silent."""
    found = []
    for row in results.rows:
        predicted = () if row.turn is None else (row.turn.time,)
        found.append(ItemTimes(row.question.id, row.question.video, (float(row.question.gold_time),), predicted))
    return found
