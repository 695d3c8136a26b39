"""Official scores of StreamingBench's multiple choice.

Source: THUNLP-MT/StreamingBench, counter ``src/data/count.py``. The values are not checked against published ones.

- A response is right where its first character is the letter of the answer.
- The accuracy of a task type divides by the number of its questions with a response. The value of a part (``real``, ``omni``,
  ``sqa``) pools its task types; the counter writes that of ``sqa`` by task type alone.

Quirks, kept:

- " B" and "(B)" are wrong, "Because" is right where the answer is B.
- A question without the model's key leaves the total. So does a null or empty response in ``sqa``.

Deviation, where the published counter stops: a null or empty response in ``real`` and ``omni`` is wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

from prospect_eval.suites.benchmark import make_values_of_totals
from prospect_eval.suites.official_score import ItemScore, OfficialScore, make_official_score
from prospect_eval.suites.published_files import list_names
from prospect_eval.suites.streamingbench_choices.annotations import (
    PARTS,
    StreamingChoiceAnnotations,
    StreamingChoiceQuestion,
)
from prospect_eval.suites.streamingbench_choices.results import StreamingChoiceResults, StreamingChoiceRow

_RIGHT, _NUMBER = ".right", ".number"


def is_streaming_choice_right(response: str, answer: str) -> bool:
    """Whether the first character of a response is the letter of the answer."""
    return response[:1] == answer


def streaming_choice_array_values(totals: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Accuracies by part and by ``PART.TASK``, from the sums ``PART.TASK.right`` and ``PART.TASK.number``."""
    shape = np.broadcast_shapes(*(np.shape(total) for total in totals.values())) if totals else ()
    zeros = np.zeros(shape)
    names = [name.removesuffix(_NUMBER) for name in totals if name.endswith(_NUMBER)]
    values: dict[str, np.ndarray] = {}
    for part in PARTS:
        own = [name for name in names if name.startswith(f"{part}.")]
        right = sum((totals.get(name + _RIGHT, zeros) for name in own), zeros)
        number = sum((totals[name + _NUMBER] for name in own), zeros)
        values[part] = _divide(right, number)
        for name in own:
            values[name] = _divide(totals.get(name + _RIGHT, zeros), totals[name + _NUMBER])
    return values


def _divide(right: np.ndarray, number: np.ndarray) -> np.ndarray:
    """NaN where the number is 0."""
    safe = np.where(number > 0, number, 1.0)
    return np.asarray(np.where(number > 0, right / safe, np.nan))


streaming_choice_values_of_totals = make_values_of_totals(streaming_choice_array_values)


def score_streaming_choices(annotations: StreamingChoiceAnnotations, results: StreamingChoiceResults) -> OfficialScore:
    """The official numbers of one model.

    An item is a question. One without a row is a missing item. A null or empty response is a failed one: it counts as wrong, or
    in ``sqa`` not at all.
    """
    seen: Counter[str] = Counter()
    items = [_score_row(row, seen) for row in results.rows]
    given = {row.question.key for row in results.rows}
    missing = [*results.absent, *(q for q in annotations.questions if q.key not in given)]
    items += [_make_missing(question) for question in {question.key: question for question in missing}.values()]
    notes = [*results.counts.describe_refused(), *_describe_rows(annotations, results)]
    return make_official_score(items, streaming_choice_values_of_totals, notes)


def _score_row(row: StreamingChoiceRow, seen: Counter[str]) -> ItemScore:
    question = row.question
    seen[question.id] += 1
    name = question.id if seen[question.id] == 1 else f"{question.id}#{seen[question.id]}"
    if not row.response and question.part == "sqa":
        return ItemScore(id=name, video=question.video, task=question.task, totals={}, status="failed")
    before = f"{question.part}.{question.task}"
    right = bool(row.response) and is_streaming_choice_right(row.response or "", question.answer)
    return ItemScore(
        id=name,
        video=question.video,
        task=question.task,
        totals={before + _RIGHT: float(right), before + _NUMBER: 1.0},
        status="scored" if row.response else "failed",
    )


def _make_missing(question: StreamingChoiceQuestion) -> ItemScore:
    return ItemScore(id=question.id, video=question.video, task=question.task, totals={}, status="missing")


def _describe_rows(annotations: StreamingChoiceAnnotations, results: StreamingChoiceResults) -> Iterable[str]:
    empty = Counter(row.question.part for row in results.rows if not row.response)
    for part, number in empty.items():
        kept = "left out" if part == "sqa" else "counted as wrong; the published counter stops"
        yield f"null or empty responses in {part}, {kept}: {number}"
    unknown = [row.question.id for row in results.rows if row.question.key not in annotations.by_key]
    if unknown:
        yield f"questions that the annotations lack, scored as they stand: {len(unknown)} ({list_names(unknown)})"
