"""Answers to OVO-Bench that look at no picture, as results of all items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.ovo_bench.annotations import (
    CATEGORY_OF_TASK,
    LETTERS,
    ChoiceItem,
    CountItem,
    CountPoll,
    ForwardItem,
    OvoBenchAnnotations,
    StepItem,
    gold_of_poll,
)
from prospect_eval.suites.ovo_bench.results import ChoiceRow, ForwardRow, OvoBenchResults, PollRow

#: responses to the polls of a forward item, from the item
_PollResponses = Callable[[ForwardItem], list[str | None]]


@dataclass(frozen=True)
class ConstantAnswer:
    """The same answer to every item of a kind.

    Attributes:
        choice: To multiple-choice questions.
        count: To the polls of REC.
        step: To the polls of SSR.
        clue: To the polls of CRR.
        choice_of_task: To multiple-choice questions of one task, in place of ``choice``.
    """

    choice: str | None = "A"
    count: str | None = "1"
    step: str | None = "Yes"
    clue: str | None = "Yes"
    choice_of_task: Mapping[str, str | None] = field(default_factory=dict)

    def answer_choice(self, item: ChoiceItem) -> str | None:
        """The answer to a multiple-choice question."""
        return self.choice_of_task.get(item.task, self.choice)

    def answer_polls(self, item: ForwardItem) -> list[str | None]:
        """The answers to the polls of a forward item."""
        answers = {"REC": self.count, "SSR": self.step, "CRR": self.clue}
        return [answers[item.task]] * len(item.test_info)


def answer_ovo_bench(
    annotations: OvoBenchAnnotations, choice: Callable[[ChoiceItem], str | None], polls: _PollResponses
) -> OvoBenchResults:
    """Results of functions that answer from the annotation alone."""
    rows = tuple(
        ChoiceRow(
            id=str(item.id),
            task=item.task,
            category=CATEGORY_OF_TASK[item.task],
            video=item.video,
            response=choice(item),
            ground_truth=item.letter,
        )
        for item in annotations.choices
    )
    forward = []
    for item in annotations.forward:
        golds = [gold_of_poll(poll) for poll in item.test_info]
        answered = [PollRow(gold, text) for gold, text in zip(golds, polls(item), strict=True)]
        forward.append(ForwardRow(str(item.id), item.task, item.video, tuple(answered)))
    counts = ReadCounts.of([row.category for row in rows] + ["forward"] * len(forward))
    return OvoBenchResults(rows, tuple(forward), counts)


def make_ovo_bench_constant(annotations: OvoBenchAnnotations, answer: ConstantAnswer) -> OvoBenchResults:
    """Results of the same answer to every item of a kind."""
    return answer_ovo_bench(annotations, answer.answer_choice, answer.answer_polls)


def answer_majority_letters(annotations: OvoBenchAnnotations) -> OvoBenchResults:
    """The most frequent gold letter of each task, "1" and "Yes"; of equally frequent letters the first."""
    letters: dict[str, Counter[str]] = {}
    for item in annotations.choices:
        letters.setdefault(item.task, Counter())[item.letter] += 1
    most: dict[str, str | None] = {
        task: min(found, key=lambda letter: (-found[letter], letter)) for task, found in letters.items()
    }
    return make_ovo_bench_constant(annotations, ConstantAnswer(choice_of_task=most))


def answer_oracle(annotations: OvoBenchAnnotations) -> OvoBenchResults:
    """The gold letter, the gold count, and "Yes" where the type is 1, else "No"."""

    def answer_polls(item: ForwardItem) -> list[str | None]:
        return [str(poll.count) if isinstance(poll, CountPoll) else _yes(poll.type == 1) for poll in item.test_info]

    return answer_ovo_bench(annotations, lambda item: item.letter, answer_polls)


def answer_annotation_times(annotations: OvoBenchAnnotations) -> OvoBenchResults:
    """Answers by the annotated times: repetitions ended so far, whether the step is in progress, whether the clue is past.

    Multiple-choice questions are answered with "A".
    """

    def answer_polls(item: ForwardItem) -> list[str | None]:
        if isinstance(item, CountItem):
            return [str(item.count_ends(poll.realtime)) for poll in item.test_info]
        if isinstance(item, StepItem):
            return [_yes(item.is_in_progress(poll.step, poll.realtime)) for poll in item.test_info]
        return [_yes(poll.realtime >= item.clue_time) for poll in item.test_info]

    return answer_ovo_bench(annotations, lambda item: "A", answer_polls)


def _yes(right: bool) -> str:
    return "Yes" if right else "No"


_BASE = ConstantAnswer()
#: constant answers by name
CONSTANT_ANSWERS: dict[str, ConstantAnswer] = {
    "yes_1": _BASE,
    **{f"mc_{letter}": replace(_BASE, choice=letter) for letter in LETTERS[:5]},
    **{f"rec_{count}": replace(_BASE, count=str(count)) for count in range(11)},
    "yes_2": replace(_BASE, count="2"),
    "no_2": ConstantAnswer("B", "2", "No", "No"),
    "all_no": replace(_BASE, step="No", clue="No"),
    "ssr_yes_crr_no": replace(_BASE, clue="No"),
    "ssr_no_crr_yes": replace(_BASE, step="No"),
    "letters_Y": replace(_BASE, step="Y", clue="Y"),
    "letters_N": replace(_BASE, step="N", clue="N"),
    "lower_yes": ConstantAnswer("a", "one", "yes", "yes"),
    "empty": ConstantAnswer("", "", "", ""),
    "null": ConstantAnswer(None, None, None, None),
    "all_letters": ConstantAnswer("ABCDE", "0123456789", "Yes or No", "Yes or No"),
    "refusal": ConstantAnswer("I cannot tell.", "I cannot tell.", "Not sure.", "Not sure."),
    "refusal_none": ConstantAnswer("None", "None", "None", "None"),
}


def _bind(answer: ConstantAnswer) -> Callable[[OvoBenchAnnotations], OvoBenchResults]:
    return lambda annotations: make_ovo_bench_constant(annotations, answer)


#: makers of results of constant answers, by name
OVO_BENCH_CONSTANTS: dict[str, Callable[[OvoBenchAnnotations], OvoBenchResults]] = {
    **{name: _bind(answer) for name, answer in CONSTANT_ANSWERS.items()},
    "majority_letter_per_task": answer_majority_letters,
}
