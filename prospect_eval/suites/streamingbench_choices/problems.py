"""Faults of the annotations of StreamingBench's multiple choice."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from prospect_eval.suites.benchmark import AnnotationProblem
from prospect_eval.suites.published_files import find_repeated, list_names
from prospect_eval.suites.streamingbench_choices.annotations import (
    StreamingChoiceAnnotations,
    StreamingChoiceQuestion,
)


def find_streaming_choice_problems(annotations: StreamingChoiceAnnotations) -> list[AnnotationProblem]:
    """All faults: those of single questions, then those of sequences."""
    found = [problem for question in annotations.questions for problem in _find_option_problems(question)]
    return [*found, *_find_order_problems(annotations.questions)]


def _find_option_problems(question: StreamingChoiceQuestion) -> Iterator[AnnotationProblem]:
    repeated = find_repeated(question.options)
    if repeated:
        text = f"listed twice: {list_names(repeated)}"
        yield AnnotationProblem(question.id, "an option is listed twice", text)
    if any(not option.strip() for option in question.options):
        yield AnnotationProblem(question.id, "an option is empty", "an option has no text")


def _find_order_problems(questions: tuple[StreamingChoiceQuestion, ...]) -> Iterator[AnnotationProblem]:
    for earlier, later in pairwise(questions):
        if later.sequence and earlier.sequence == later.sequence and later.time < earlier.time:
            text = f"asked at {later.clock}, after the question at {earlier.clock}"
            yield AnnotationProblem(later.id, "the questions of a sequence are not in the order of time", text)
