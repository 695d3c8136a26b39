"""Whether what is said is right, word for word: answers to the user's questions, and the slots of matched turns.

    python -c "from prospect_eval.metrics.answers import says; print(says('There are TWO left.', 'two'))"

*Answer accuracy*: the first reply within 5 s of a question holds one of its accepted values as a whole word; no reply is
wrong. 0..1; chance is printed beside it (the best constant answer's score).
*Content accuracy* (embeddings do not see content: "three left" and "two left" have a cosine of .90): over matched pairs,
the share of the reference's slots (step, object, place, count, yes/no) for which the predicted text holds the same
values as the reference text, out of all values that this slot takes in the episode. A slot whose value is not spelt out
in the reference text is not asked for. ``_w`` is weighted by the Jaccard index of the matching.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial

import numpy as np

from prospect_eval.metrics.base import Metric, Scored, ratio
from prospect_eval.metrics.families import CONTENT
from prospect_eval.settings import STANDARD, MatchSettings

_metric = partial(Metric, family=CONTENT)

ANSWER_WITHIN_S = 5
KINDS = ("present", "past", "remainder")


@lru_cache(maxsize=1 << 14)
def _pattern(value: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-]){re.escape(value)}(?![\w-])", re.IGNORECASE)


def says(text: str, value: str) -> bool:
    """Whether ``value`` stands in the text as whole words, in any case."""
    return _pattern(value).search(text) is not None


def answered(kind: str) -> Callable[[Scored], np.ndarray | str]:
    """(right answers, questions) of one kind."""

    def counts(scored: Scored) -> np.ndarray | str:
        episode = scored.record.episode
        questions = [(frame, event) for frame, event in episode.user_turns() if event.question == kind]
        if not questions:
            return f"no question on the {kind}"
        right = 0
        for frame, event in questions:
            limit = frame + ANSWER_WITHIN_S * episode.fps
            reply = next((text for f, text in scored.predictions if frame < f <= limit), "")
            right += any(says(reply, value) for value in event.accepted)
        return np.array([right, len(questions)])

    return counts


def accepted(scored: Scored) -> list[tuple[str, frozenset[str]]]:
    """(kind, accepted values in lower case) of each question."""
    return [
        (event.question, frozenset(value.lower() for value in event.accepted))
        for _, event in scored.record.episode.user_turns()
        if event.question
    ]


def chance(questions: Iterable[tuple[str, frozenset[str]]], kind: str) -> float | None:
    """Share of the questions of a kind that the best constant answer gets right; None without questions."""
    mine = [values for which, values in questions if which == kind]
    best = Counter(value for values in mine for value in values)
    return max(best.values(), default=0) / len(mine) if mine else None


def _slots(scored: Scored) -> tuple[list[list[tuple[str, str]]], dict[str, tuple[str, ...]]]:
    """Slots (name, value in words) of each reference turn, and all values that each slot takes."""
    names = {step.id: step.name for step in scored.record.episode.task.steps}
    turns = [
        [(key, names.get(value, value)) for event in turn.events for key, value in event.slots.items() if value]
        for turn in scored.turns
    ]
    values: dict[str, set[str]] = {}
    for turn in turns:
        for key, value in turn:
            values.setdefault(key, set()).add(value)
    return turns, {key: tuple(sorted(found)) for key, found in values.items()}


def content_counts(scored: Scored) -> np.ndarray | str:
    """(slots told right, slots asked for) over the matched pairs."""
    turns, values = scored.once("slots", lambda: _slots(scored))
    if not values:
        return "the data carries no slots"
    if scored.failed:
        spoken = zip(scored.references, turns, scored.counts_reference, strict=True)
        asked = sum(len({key for key, value in of if says(text, value)}) for (_, text), of, counts in spoken if counts)
        return np.array([0, asked])
    right = asked = 0
    predictions, references = scored.predictions, scored.references
    for p, r, _ in scored.pairs:
        predicted, reference = predictions[p][1], references[r][1]
        for key in {key for key, value in turns[r] if says(reference, value)}:
            asked += 1
            right += _found(predicted, values[key]) == _found(reference, values[key])
    return np.array([right, asked])


def _found(text: str, values: Sequence[str]) -> set[str]:
    return {value for value in values if says(text, value)}


def metrics(similarity_signature: str, match: MatchSettings = STANDARD.match) -> list[Metric]:
    """The family's metrics with the similarity and the matching parameters in use."""
    from prospect_eval.metrics.dialogue import MATCHED_SIGNATURE
    from prospect_eval.metrics.text import weighted, weighted_value

    signature = {**MATCHED_SIGNATURE, **match.signature, "sim": similarity_signature}
    return [
        _metric("content_accuracy", content_counts, ratio, signature, turns="pairs"),
        _metric("content_accuracy_w", weighted(content_counts), weighted_value(ratio, 2), signature, turns="all"),
        *(
            _metric(f"answer_accuracy@{kind}", answered(kind), ratio, {"within": f"{ANSWER_WITHIN_S}s"})
            for kind in KINDS
        ),
    ]
