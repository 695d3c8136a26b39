"""Answers of ProactiveVideoQA that look at no picture: silence alone, as every other one needs an LLM judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.proactivevideoqa.annotations import ProactiveVideoQAAnnotations
from prospect_eval.suites.proactivevideoqa.results import ProactiveVideoQAResults


def _silent(annotations: ProactiveVideoQAAnnotations) -> ProactiveVideoQAResults:
    """Nothing is said."""
    return ProactiveVideoQAResults(
        replies={question.id: () for question in annotations.questions},
        counts=ReadCounts({"row": len(annotations.questions)}),
    )


#: makers of results, by name
PROACTIVEVIDEOQA_CONSTANTS: Mapping[str, Callable[[ProactiveVideoQAAnnotations], ProactiveVideoQAResults]] = {
    "silent": _silent
}
