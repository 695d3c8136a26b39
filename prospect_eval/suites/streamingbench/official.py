"""Official scores of StreamingBench, Proactive Output.

Source: THUNLP-MT/StreamingBench at 89299232c4cc1cc3721951173c5f107b48cf6877, counter ``src/data/count.py``, polling loop
``src/benchmark/StreamingBenchProactive.py``.

- Only the last turn of ``dialog_history`` counts. The time is right where the turn is at most 2 s before or after the
  gold time. The answer is right where the time is right and the turn holds the gold output, in this case of letters.
- ``time_accuracy`` and ``answer_accuracy`` divide by the number of questions that have the model's key, by task type.

Quirks, kept:

- The turn counts for any role, and ``answered`` is not read.
- "40" is found inside "1407". An empty gold output is found in every text.
- A question without the model's key is left out of the total.
- The gold time and output are those of the result file.

Deviations, where the published scorer stops: a null under the model's key, an empty history, and a last turn without a
time are wrong in time and answer; a last turn without text is wrong in its answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

from prospect_eval.suites.benchmark import make_values_of_totals
from prospect_eval.suites.official_score import ItemScore, OfficialScore, make_official_score
from prospect_eval.suites.published_files import list_names
from prospect_eval.suites.streamingbench.annotations import (
    PROACTIVE_OUTPUT,
    ProactiveAnnotations,
    ProactiveOutputQuestion,
)
from prospect_eval.suites.streamingbench.results import LastTurn, ProactiveResults, ProactiveRow

#: seconds before and after the gold time, inclusive
TOLERANCE = 2
_TIME, _ANSWER, _TOTAL = "time_correct", "answer_correct", "total"


def is_time_right(turn: LastTurn, gold_time: float) -> bool:
    """Whether the last turn is at the gold time."""
    return -TOLERANCE <= turn.time - gold_time <= TOLERANCE


def is_answer_right(turn: LastTurn, gold_time: float, gold_output: str) -> bool:
    """Whether the last turn is at the gold time and holds the gold output."""
    return is_time_right(turn, gold_time) and turn.text is not None and gold_output in turn.text


def proactive_array_values(totals: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """``time_accuracy`` and ``answer_accuracy``; those of other task types have the type before the name."""
    shape = np.broadcast_shapes(*(np.shape(total) for total in totals.values())) if totals else ()
    values = {"time_accuracy": np.full(shape, np.nan), "answer_accuracy": np.full(shape, np.nan)}
    tasks = [name.removesuffix(_TOTAL) for name in totals if name.endswith(_TOTAL)]
    for before in tasks:
        total = totals[before + _TOTAL]
        for right, accuracy in ((_TIME, "time_accuracy"), (_ANSWER, "answer_accuracy")):
            counted = totals.get(before + right, np.zeros(shape))
            values[before + accuracy] = np.where(total > 0, counted / total, np.nan)
    return values


proactive_values_of_totals = make_values_of_totals(proactive_array_values)


def score_streamingbench(annotations: ProactiveAnnotations, results: ProactiveResults) -> OfficialScore:
    """The official numbers of one model.

    An item is a question. One without the model's key, or not in the files, is a missing item, which the published
    scorer leaves out; a history that cannot be read is a failed item, which counts as wrong.
    """
    names = _QuestionNames(annotations)
    items = [_score_row(names.find(row.question), row) for row in results.rows]
    items += [_make_missing(names.find(question), question) for question in results.absent]
    not_in_files = [question for question in annotations.questions if question.key not in names.seen]
    items += [_make_missing(question.id, question) for question in not_in_files]
    notes = [*results.counts.describe_refused(), *_describe_rows(annotations, results)]
    if not_in_files:
        ids = [question.id for question in not_in_files]
        notes.append(f"questions that the files lack, left out: {len(ids)} ({list_names(ids)})")
    if names.unknown:
        unknown = list_names(names.unknown)
        notes.append(f"questions that the annotations lack, scored as they stand: {len(names.unknown)} ({unknown})")
    if names.repeated:
        notes.append(f"questions of several rows, all scored: {len(names.repeated)} ({list_names(names.repeated)})")
    return make_official_score(items, proactive_values_of_totals, notes)


class _QuestionNames:
    """The annotation's id of each question of the result files; unknown and repeated questions get ids of their own."""

    def __init__(self, annotations: ProactiveAnnotations) -> None:
        self._known = annotations.by_key
        self.seen: Counter[tuple[str, str, int]] = Counter()
        self.unknown: list[str] = []
        self.repeated: list[str] = []

    def find(self, question: ProactiveOutputQuestion) -> str:
        known = self._known.get(question.key)
        self.seen[question.key] += 1
        number = self.seen[question.key]
        name = known.id if known else f"unknown {question.id}"
        if number > 1:
            self.repeated.append(name)
            return f"{name}#{number}"
        if known is None:
            self.unknown.append(question.id)
        return name


def _task_prefix(task: str) -> str:
    return "" if task == PROACTIVE_OUTPUT else f"{task}."


def _score_row(name: str, row: ProactiveRow) -> ItemScore:
    question, turn, before = row.question, row.turn, _task_prefix(row.question.task)
    time_right = turn is not None and is_time_right(turn, question.gold_time)
    answer_right = turn is not None and is_answer_right(turn, question.gold_time, question.gold_output)
    return ItemScore(
        id=name,
        video=question.video,
        task=question.task,
        totals={
            f"{before}{_TIME}": float(time_right),
            f"{before}{_ANSWER}": float(answer_right),
            f"{before}{_TOTAL}": 1.0,
        },
        status="failed" if turn is None or turn.text is None else "scored",
    )


def _make_missing(name: str, question: ProactiveOutputQuestion) -> ItemScore:
    return ItemScore(id=name, video=question.video, task=question.task, totals={}, status="missing")


def _describe_rows(annotations: ProactiveAnnotations, results: ProactiveResults) -> Iterable[str]:
    states = Counter(row.state for row in results.rows)
    for state in ("null", "empty history", "unreadable"):
        if states[state]:
            yield f"histories on which the published scorer stops, counted as wrong ({state}): {states[state]}"
    if results.absent:
        names = [question.id for question in results.absent]
        yield f"questions without the key {results.model}, left out: {len(names)} ({list_names(names)})"
    of_user = sum(row.turn is not None and row.turn.role == "user" for row in results.rows)
    if of_user:
        yield f"histories that end with a turn of the user, scored all the same: {of_user}"
    textless = sum(row.turn is not None and row.turn.text is None for row in results.rows)
    if textless:
        yield f"last turns without text, wrong in their answer: {textless}"
    other = [row.question.id for row in results.rows if _has_other_gold(annotations, row.question)]
    if other:
        yield f"questions whose gold is not the annotation's, scored as they stand: {len(other)} ({list_names(other)})"


def _has_other_gold(annotations: ProactiveAnnotations, question: ProactiveOutputQuestion) -> bool:
    known = annotations.by_key.get(question.key)
    if known is None:
        return False
    return (known.gold_time, known.gold_output) != (question.gold_time, question.gold_output)
