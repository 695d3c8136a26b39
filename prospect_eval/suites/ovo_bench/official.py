"""Official offline scores of OVO-Bench.

Source: JoeLeelyf/OVO-Bench at c34093f9a072d93f9e1c6b923446dfba71f4528e, ``utils/OVOBenchScore.py``.

- Multiple choice: 1 if the gold letter occurs anywhere in the response, in this case of letters; else 0.
- REC: all decimal digits of the response, joined to one string, equal the gold count written as text.
- SSR and CRR: 1 if the response is exactly "Y" (type 1) or "N" (type 0), or else if "Yes" (type 1) or "No" (type 0)
  occurs in it, in this case of letters.
- A null response scores 0.
- Task: mean over its rows (multiple choice) or polls (forward). Category: plain mean of the tasks that have rows. Total:
  plain mean of the three categories. All values are fractions of 1.

Quirks, kept:

- "Yes or No" is right in every poll of SSR and CRR, "ABCDE" in every multiple-choice row. "Not sure." and "None" hold
  "No", so a refusal counts as "No".
- "1-2" reads 12, "3.0" reads 30, and "02" is not 2.
- The gold letter, count and type are those of the prediction file. Repeated and unknown ids all count.
- A task without rows is left out of the mean of its category.

Deviations, where the published scorer stops: in a category without any row the category and the total are undefined. The
reader of the results unwraps one-element lists and reads numbers as their text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from prospect_eval.suites.benchmark import make_values_of_totals
from prospect_eval.suites.official_score import ItemScore, ItemStatus, OfficialScore, make_official_score
from prospect_eval.suites.ovo_bench.annotations import CATEGORIES, CATEGORY_OF_TASK, ChoiceItem, OvoBenchAnnotations
from prospect_eval.suites.ovo_bench.results import OvoBenchResults, ResultFacts, find_result_facts
from prospect_eval.suites.published_files import list_names

#: a text, a list of texts as two published prediction sets have it, or null
Response = str | Sequence[str] | None


def score_choice(response: Response, letter: str) -> int:
    """Score of a multiple-choice response; a list scores by membership."""
    if response is None:
        return 0
    return int(letter in response)


def score_count(response: Response, count: int) -> int:
    """Score of a REC response; anything but a text or null is a `TypeError`."""
    if response is None:
        return 0
    if not isinstance(response, str):
        raise TypeError(f"a response to REC is a text or null, not {type(response).__name__}")
    # \d also finds digits of other scripts, which then never equal the count
    digits = "".join(re.findall(r"\d+", response))
    return int(digits == str(count))


def score_yes_no(response: Response, type_: int) -> int:
    """Score of an SSR or CRR response; ``type_`` is 1 where "Yes" is right, 0 where "No" is."""
    if response is None:
        return 0
    if (response == "N" and type_ == 0) or (response == "Y" and type_ == 1):
        return 1
    return int(("No" if type_ == 0 else "Yes") in response)


def score_poll(task: str, response: Response, gold: int) -> int:
    """Score of a response to a poll of a forward task."""
    return score_count(response, gold) if task == "REC" else score_yes_no(response, gold)


def ovo_bench_array_values(totals: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Values by task, by category, and ``total``, from the sums ``CATEGORY.TASK.right`` and ``CATEGORY.TASK.number``."""
    shape = np.broadcast_shapes(*(np.shape(total) for total in totals.values())) if totals else ()
    values = {task: np.full(shape, np.nan) for task in CATEGORY_OF_TASK}
    categories = {}
    for category in CATEGORIES:
        tasks = _list_tasks(category, totals)
        accuracies = np.full((len(tasks), *shape), np.nan)
        for index, task in enumerate(tasks):
            number = totals[f"{category}.{task}.number"]
            right = totals.get(f"{category}.{task}.right", np.zeros(shape))
            accuracies[index] = np.where(number > 0, right / number, np.nan)
            # a task that two lists of the file hold is one value for each list; the last one is shown
            values[task] = accuracies[index]
        present = np.isfinite(accuracies)
        categories[category] = np.where(present, accuracies, 0.0).sum(0) / present.sum(0)
    total = sum(categories.values(), np.zeros(shape)) / len(categories)
    return {**values, **categories, "total": total}


def _list_tasks(category: str, totals: Iterable[str]) -> list[str]:
    """Tasks of a category that have rows, in the order of the sums."""
    before, after = f"{category}.", ".number"
    keys = [key for key in totals if key.startswith(before) and key.endswith(after)]
    return [key[len(before) : -len(after)] for key in keys]


ovo_bench_values_of_totals = make_values_of_totals(ovo_bench_array_values)


def score_ovo_bench(annotations: OvoBenchAnnotations, results: OvoBenchResults) -> OfficialScore:
    """The official numbers of the rows of one model.

    An item is a multiple-choice row or a poll of a forward row. A null response is a failed item, which scores 0. An
    annotated item or poll without a response is a missing item, which the published scorer leaves out. The video is the
    annotation's where the id is known.
    """
    facts = find_result_facts(annotations, results)
    items = list(_score_choices(annotations, results))
    items += _score_forward(annotations, results)
    items += _list_missing_items(annotations, {item.id for item in items})
    notes = [*results.notes, *results.counts.describe_refused(), *_describe_facts(facts)]
    return make_official_score(items, ovo_bench_values_of_totals, notes)


def _score_choices(annotations: OvoBenchAnnotations, results: OvoBenchResults) -> Iterable[ItemScore]:
    videos = {str(item.id): item.video for item in annotations.items}
    seen: Counter[str] = Counter()
    for row in results.choices:
        yield ItemScore(
            id=_next_name(seen, row.id),
            video=videos.get(row.id, row.video),
            task=row.task,
            totals=_make_totals(row.category, row.task, score_choice(row.response, row.ground_truth)),
            status=_find_status(row.response),
        )


def _score_forward(annotations: OvoBenchAnnotations, results: OvoBenchResults) -> Iterable[ItemScore]:
    videos = {str(item.id): item.video for item in annotations.items}
    seen: Counter[str] = Counter()
    for row in results.forward:
        name = _next_name(seen, row.id)
        for index, poll in enumerate(row.polls):
            yield ItemScore(
                id=_poll_name(name, index),
                video=videos.get(row.id, row.video),
                task=row.task,
                totals=_make_totals("forward", row.task, score_poll(row.task, poll.response, poll.gold)),
                status=_find_status(poll.response),
            )


def _make_totals(category: str, task: str, right: int) -> dict[str, float]:
    return {f"{category}.{task}.right": float(right), f"{category}.{task}.number": 1.0}


def _find_status(response: str | None) -> ItemStatus:
    return "failed" if response is None else "scored"


def _next_name(seen: Counter[str], name: str) -> str:
    """The id, or for a repeated one the id with its ordinal."""
    seen[name] += 1
    return name if seen[name] == 1 else f"{name}#{seen[name]}"


def _poll_name(name: str, index: int) -> str:
    return f"{name}.{index}"


def _list_missing_items(annotations: OvoBenchAnnotations, scored: set[str]) -> Iterable[ItemScore]:
    for item in annotations.items:
        name = str(item.id)
        names = [name] if isinstance(item, ChoiceItem) else [_poll_name(name, i) for i in range(len(item.test_info))]
        for part in names:
            if part not in scored:
                yield ItemScore(id=part, video=item.video, task=item.task, totals={}, status="missing")


def _describe_facts(facts: ResultFacts) -> Iterable[str]:
    for category, number in facts.rows.items():
        if not number:
            yield f"{category} has no row: it and the total are undefined; the published scorer stops"
    for task, names in facts.absent_ids.items():
        yield f"ids without a row, left out of {task}: {len(names)} ({list_names(names)})"
    if facts.null_responses:
        yield f"null responses, which score 0: {facts.null_responses}"
    if facts.repeated_ids:
        yield f"ids of several rows, all scored: {len(facts.repeated_ids)} ({list_names(facts.repeated_ids)})"
    if facts.unknown_ids:
        yield f"ids that the annotations lack, scored as they stand: {len(facts.unknown_ids)} ({list_names(facts.unknown_ids)})"
    if facts.other_ground_truths:
        others = [truth.id for truth in facts.other_ground_truths]
        yield f"rows scored against another letter than the annotation's: {len(others)} ({list_names(others)})"
    if facts.other_golds:
        others = list(facts.other_golds)
        yield f"forward rows scored against other numbers than the annotation's: {len(others)} ({list_names(others)})"
    if facts.other_videos:
        yield f"rows that name another video than the annotation, joined by id: {len(facts.other_videos)}"
