"""Answers to StreamingBench's multiple choice that look at no picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.streamingbench_choices.annotations import (
    LETTERS,
    StreamingChoiceAnnotations,
    StreamingChoiceQuestion,
)
from prospect_eval.suites.streamingbench_choices.results import StreamingChoiceResults, StreamingChoiceRow


def answer_streaming_choices(
    annotations: StreamingChoiceAnnotations, answer: Callable[[StreamingChoiceQuestion], str | None]
) -> StreamingChoiceResults:
    """Results of a function that answers from the annotation alone."""
    rows = tuple(StreamingChoiceRow(question, answer(question)) for question in annotations.questions)
    return StreamingChoiceResults(rows, counts=ReadCounts.of(row.question.part for row in rows))


def answer_longest_option(annotations: StreamingChoiceAnnotations) -> StreamingChoiceResults:
    """The letter of the longest option; of equally long ones the first."""

    def answer(question: StreamingChoiceQuestion) -> str:
        lengths = [len(option) for option in question.options]
        return LETTERS[lengths.index(max(lengths))]

    return answer_streaming_choices(annotations, answer)


def answer_most_frequent_letter(annotations: StreamingChoiceAnnotations) -> StreamingChoiceResults:
    """The most frequent gold letter of each task type; of equally frequent letters the first."""
    letters: dict[str, Counter[str]] = {}
    for question in annotations.questions:
        letters.setdefault(question.task, Counter())[question.answer] += 1
    most = {task: min(found, key=lambda letter: (-found[letter], letter)) for task, found in letters.items()}
    return answer_streaming_choices(annotations, lambda question: most[question.task])


def _bind(text: str) -> Callable[[StreamingChoiceAnnotations], StreamingChoiceResults]:
    return lambda annotations: answer_streaming_choices(annotations, lambda question: text)


#: makers of results of constant answers, by name
STREAMING_CHOICE_CONSTANTS: dict[str, Callable[[StreamingChoiceAnnotations], StreamingChoiceResults]] = {
    **{f"letter_{letter}": _bind(letter) for letter in LETTERS[:4]},
    "longest_option": answer_longest_option,
    "majority_letter_per_task": answer_most_frequent_letter,
}
