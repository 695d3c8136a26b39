"""Times of ProactiveVideoQA predictions: the start of each reply span, and the replies."""

from __future__ import annotations

from prospect_eval.suites.benchmark import ItemTimes
from prospect_eval.suites.proactivevideoqa.annotations import ProactiveVideoQAAnnotations
from prospect_eval.suites.proactivevideoqa.results import ProactiveVideoQAResults


def list_proactivevideoqa_times(
    annotations: ProactiveVideoQAAnnotations, results: ProactiveVideoQAResults
) -> list[ItemTimes]:
    """The times of each question with replies, also where the model is silent."""
    found = []
    for question in annotations.questions:
        if question.id in results.replies:
            reference = tuple(turn.reply[0] for turn in question.turns)
            predicted = tuple(reply.time for reply in results.replies[question.id])
            found.append(ItemTimes(question.id, question.video or question.id, reference, predicted))
    return found
