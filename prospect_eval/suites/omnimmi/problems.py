"""Faults of the OmniMMI annotations: spans without length or outside the clip, repeated and contradicting questions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from prospect_eval.suites.benchmark import AnnotationProblem
from prospect_eval.suites.omnimmi.annotations import AlertItem, GroundingItem, OmniMmiAnnotations, TurnTakingItem
from prospect_eval.suites.result_rows import quote_json


def find_omnimmi_problems(annotations: OmniMmiAnnotations) -> list[AnnotationProblem]:
    """Everything wrong with the annotations, in order of the tasks and their items."""
    problems: list[AnnotationProblem] = []
    asked: dict[tuple[str, str], AlertItem] = {}
    for alert in annotations.alerts:
        problems += [AnnotationProblem(alert.id, kind, text) for kind, text in _alert_problems(alert)]
        earlier = asked.setdefault((alert.video, alert.question.strip().lower()), alert)
        if earlier is not alert:
            same = (earlier.start, earlier.end) == (alert.start, alert.end)
            kind = "duplicate question" if same else "contradicting spans"
            text = f"the question is that of {earlier.id}, with the span {earlier.start:g} .. {earlier.end:g} s"
            problems.append(AnnotationProblem(alert.id, kind, text))
    for item in annotations.turn_taking:
        problems += [AnnotationProblem(item.id, kind, text) for kind, text in _turn_taking_problems(item)]
    for grounding in annotations.grounding:
        problems += [AnnotationProblem(grounding.id, kind, text) for kind, text in _grounding_problems(grounding)]
    return problems


def _alert_problems(item: AlertItem) -> Iterator[tuple[str, str]]:
    if item.start >= item.end:
        yield "span without length", f"the span runs from {item.start:g} to {item.end:g} s"
    length = item.clip_seconds
    if item.start < 0 or (length is not None and item.end > length):
        yield "span outside the clip", f"the span ends at {item.end:g} s of a clip of {length or 0:g} s"
    if not item.question.strip():
        yield "question without text", "the question is empty"


def _turn_taking_problems(item: TurnTakingItem) -> Iterator[tuple[str, str]]:
    human, assistant = item.turns[-1]
    if assistant is not None:
        yield "answer to the last turn", f"the last turn is answered with {quote_json(assistant)}"
    if "?" in human:
        yield "last turn is a question", f"the last turn, to which silence is right, is {quote_json(human)}"
    for turn, (_, reply) in enumerate(item.turns[:-1]):
        if reply is None or not reply.strip():
            yield "turn without an answer", f"turn {turn} has no answer of the assistant"


def _grounding_problems(item: GroundingItem) -> Iterator[tuple[str, str]]:
    given: dict[tuple[str, tuple[float, float] | None], str] = {}
    for number, turn in enumerate(item.turns):
        if not turn.answer.strip():
            yield "null answer", f"turn {number} has no answer"
        elif _holds_words(turn.question, turn.answer):
            yield (
                "answer in its question",
                f"turn {number} asks {quote_json(turn.question)} for {quote_json(turn.answer)}",
            )
        if turn.span is None:
            yield "turn without a span", f"turn {number} has no readable timestamp"
        elif turn.span[0] >= turn.span[1]:
            yield "span without length", f"turn {number} runs from {turn.span[0]:g} to {turn.span[1]:g} s"
        earlier = given.setdefault((turn.question.strip().lower(), turn.span), turn.answer)
        if earlier != turn.answer:
            yield "contradicting answers", f"turn {number} has another answer than one with its question and span"
    for number, (first, second) in enumerate(pairwise(item.turns), 1):
        if first.span and second.span and second.span[0] < first.span[1]:
            yield "spans overlap", f"turn {number} starts at {second.span[0]:g} s, before the one before it ends"
        same = (first.question, first.answer.lower()) == (second.question, second.answer.lower())
        if same:
            yield "state does not change", f"turns {number - 1} and {number} have the same question and answer"


def _holds_words(question: str, answer: str) -> bool:
    """Whether the answer's words stand in the question, one after the other."""
    wanted = re.findall(r"\w+", answer.lower())
    words = re.findall(r"\w+", question.lower())
    return bool(wanted) and f" {' '.join(wanted)} " in f" {' '.join(words)} "
