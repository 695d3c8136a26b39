"""Correctness of the words: answers to the user's questions, and slots of matched turns.

*Answer accuracy*: the reply to a question is the first utterance after it, within 5 s and before
the next question. A reply is correct if it contains an accepted value as whole words and no other
value of this kind of question in the split. Other values that the reference's reply contains are
allowed. Of overlapping values the longest counts ("red cup" does not contain "cup"). A missing
reply is wrong. The range is 0..1. The chance level is the score of the best constant answer.

*Content accuracy*: the share of the slots of matched references (step, object, place, count,
yes/no) for which the predicted text contains the same values as the reference text, out of all
values of this slot in the episode. Sentence embeddings do not measure this: "three left" and "two
left" have a cosine of .90. Slots whose value is not in the reference text are left out. ``_w`` is
the product with the Jaccard index of the matching, over the episodes that have slots.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np

from prospect_core.timeline import Event
from prospect_eval.metrics.base import Metric, Scored, ScoringResources, ratio
from prospect_eval.metrics.families import CONTENT

_metric = partial(Metric, family=CONTENT)

ANSWER_WITHIN_S = 5
#: subject of each kind of question
KINDS = {"present": "present", "past": "past", "remainder": "rest of the task"}


@lru_cache(maxsize=1 << 14)
def _pattern(value: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-]){re.escape(value)}(?![\w-])", re.IGNORECASE)


def text_holds_answer_value(text: str, value: str) -> bool:
    """Return whether a text contains a value as whole words, ignoring case."""
    return _pattern(value).search(text) is not None


@lru_cache(maxsize=1 << 8)
def _any_of(values: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = sorted(values, key=lambda value: (-len(value), value))
    return re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, longest_first))})(?![\w-])", re.IGNORECASE)


def find_answer_values(text: str, values: tuple[str, ...]) -> set[str]:
    """Find values in a text.

    Args:
        text: The text.
        values: The values to find as whole words, ignoring case.

    Returns:
        The found values in lower case. Of overlapping values only the longest.
    """
    if not values:
        return set()
    return {match.group().lower() for match in _any_of(values).finditer(text)}


@dataclass(frozen=True)
class ExpectedAnswer:
    """A question with its replies.

    Attributes:
        question: The user's question.
        reply: The predicted reply; empty if there is none.
        reference: The reference's reply; empty if there is none.
    """

    question: Event
    reply: str
    reference: str

    def is_right(self, values: tuple[str, ...]) -> bool:
        """Return whether the predicted reply is correct.

        Args:
            values: All values of this kind of question.

        Returns:
            Whether the reply contains an accepted value and no other value, except those in the
            reference's reply.
        """
        accepted = {value.lower() for value in self.question.accepted}
        values = tuple(sorted(accepted | set(values)))
        said = find_answer_values(self.reply, values)
        allowed = accepted | find_answer_values(self.reference, values)
        return bool(said & accepted) and said <= allowed


def _answers(scored: Scored) -> list[ExpectedAnswer]:
    """Return the questions of an episode with their replies.

    A reply belongs to the last question before it.
    """
    episode = scored.record.episode
    questions = [(frame, event) for frame, event in episode.user_turns() if event.question]
    out = []
    for number, (frame, event) in enumerate(questions, 1):
        last = frame + ANSWER_WITHIN_S * episode.fps
        if number < len(questions):
            last = min(last, questions[number][0])
        reply, reference = (
            next((text for at, text in side if frame < at <= last), "")
            for side in (scored.predictions, scored.references)
        )
        out.append(ExpectedAnswer(event, reply, reference))
    return out


def answer_accuracy_counts(kind: str) -> Callable[[Scored], np.ndarray | str]:
    """Return a function that counts (correct answers, questions) of one kind.

    Args:
        kind: One of `KINDS`.
    """

    def counts(scored: Scored) -> np.ndarray | str:
        answers = scored.once("answers", lambda: _answers(scored))
        mine = [answer for answer in answers if answer.question.question == kind]
        if not mine:
            return f"the user asks no question about the {KINDS[kind]}"
        values = scored.corpus.answers.get(kind, ())
        return np.array([sum(answer.is_right(values) for answer in mine), len(mine)])

    return counts


def list_accepted_answers(scored: Scored) -> list[tuple[str, frozenset[str]]]:
    """Return (kind, accepted values in lower case) of each question."""
    return [
        (event.question, frozenset(value.lower() for value in event.accepted))
        for _, event in scored.record.episode.user_turns()
        if event.question
    ]


def answer_chance_level(questions: Iterable[tuple[str, frozenset[str]]], kind: str) -> float | None:
    """Return the score of the best constant answer.

    Args:
        questions: (kind, accepted values) of each question.
        kind: The kind of question.

    Returns:
        Share of the questions of this kind, 0..1; None without questions.
    """
    mine = [values for which, values in questions if which == kind]
    best = Counter(value for values in mine for value in values)
    return max(best.values(), default=0) / len(mine) if mine else None


def _slots(scored: Scored) -> tuple[list[list[tuple[str, str]]], dict[str, tuple[str, ...]]]:
    """Return slots of the reference turns and the values of each slot.

    Returns:
        (name, value in words) of the slots of each turn, and all values of each slot in the
        episode.
    """
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


def answer_content_counts(scored: Scored) -> np.ndarray | str:
    """Count (correct slots, slots) over the matched pairs."""
    turns, values = scored.once("slots", lambda: _slots(scored))
    if not values:
        return "the data has no slots"
    if scored.failed:
        spoken = zip(scored.references, turns, scored.counts_reference, strict=True)
        asked = sum(
            len({key for key, value in of if text_holds_answer_value(text, value)})
            for (_, text), of, counts in spoken
            if counts
        )
        return np.array([0, asked])
    right = asked = 0
    predictions, references = scored.predictions, scored.references
    for p, r, _ in scored.pairs:
        predicted, reference = predictions[p][1], references[r][1]
        for key in {key for key, value in turns[r] if text_holds_answer_value(reference, value)}:
            asked += 1
            right += _found(predicted, values[key]) == _found(reference, values[key])
    return np.array([right, asked])


def _found(text: str, values: Sequence[str]) -> set[str]:
    return {value for value in values if text_holds_answer_value(text, value)}


def answer_metrics(resources: ScoringResources) -> list[Metric]:
    """Return the metrics of the family.

    Args:
        resources: Resources for scoring.
    """
    from prospect_eval.metrics.dialogue import MATCHED_SIGNATURE
    from prospect_eval.metrics.text import jaccard_weighted_text_counts, jaccard_weighted_text_value

    signature = {**MATCHED_SIGNATURE, **resources.settings.match.signature, "sim": resources.similarity_signature}
    answer_signature = {"within": f"{ANSWER_WITHIN_S}s", "values": resources.answers_signature}
    answers = [
        _metric(
            f"answer_accuracy@{kind}",
            answer_accuracy_counts(kind),
            ratio,
            answer_signature,
            definition=f"Share of the user's questions about the {about} whose reply holds the right value and no other.",
            failure_mode="Always naming the most frequent value scores `chance` without looking; a right reply that also"
            " names another value of its kind is wrong.",
            headline=kind == "past",
        )
        for kind, about in KINDS.items()
    ]
    return [
        _metric(
            "content_accuracy",
            answer_content_counts,
            ratio,
            signature,
            turns="pairs",
            definition="Share of the slots (step, object, place, count, yes/no) of matched reference turns that the utterance"
            " fills with the right value.",
            failure_mode="Ignores turns without a match, so saying little costs nothing, and every word that is not a slot"
            " value; read it together with `matched_f1`.",
            headline=True,
        ),
        _metric(
            "content_accuracy_w",
            jaccard_weighted_text_counts(answer_content_counts),
            jaccard_weighted_text_value(ratio, 2),
            signature,
            turns="all",
            definition="`content_accuracy` times the Jaccard index of the matching, over the episodes that have slots.",
            failure_mode="Mixes the timing of the utterances with their content: a low value does not show which of the two"
            " is at fault.",
        ),
        *answers,
    ]
