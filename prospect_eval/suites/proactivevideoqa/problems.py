"""Faults of the ProactiveVideoQA annotations: spans without length or outside the video, repeated ids, null answers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from prospect_eval.suites.benchmark import AnnotationProblem
from prospect_eval.suites.proactivevideoqa.annotations import (
    ProactiveQuestion,
    ProactiveVideoQAAnnotations,
    ReferenceTurn,
)
from prospect_eval.suites.result_rows import quote_json


def find_proactivevideoqa_problems(annotations: ProactiveVideoQAAnnotations) -> list[AnnotationProblem]:
    """Everything wrong with the annotations, in order of the questions; repeated ids come first."""
    problems = [
        AnnotationProblem(question_id, "duplicate question id", "a later row with this id replaces an earlier one")
        for question_id in annotations.replaced
    ]
    for question in annotations.questions:
        problems += [AnnotationProblem(question.id, kind, text) for kind, text in _question_problems(question)]
    return problems


def _question_problems(question: ProactiveQuestion) -> Iterator[tuple[str, str]]:
    if not question.turns:
        yield "question without answers", "the list of answers is empty"
    asked = question.user_turns[0].content.lower().strip() if question.user_turns else ""
    if not asked:
        yield "question without text", "the conversation has no first turn with a text"
    for number, turn in enumerate(question.turns):
        yield from _turn_problems(question, number, turn, asked)
    for number, (first, second) in enumerate(pairwise(question.turns), 1):
        if second.reply[0] < first.reply[0]:
            yield "turns out of order", f"turn {number} starts before the one before it"
        elif second.reply[0] <= first.reply[1]:
            yield "reply spans overlap", f"a reply at {second.reply[0]:g} s counts for turns {number - 1} and {number}"


def _turn_problems(
    question: ProactiveQuestion, number: int, turn: ReferenceTurn, asked: str
) -> Iterator[tuple[str, str]]:
    content = turn.content.strip()
    if not content:
        yield "null answer", f"turn {number} has no text"
    elif content.lower() in asked:
        yield "answer in its question", f"the question holds the answer {quote_json(content)} of turn {number}"
    start, end = turn.reply
    if start >= end:
        yield "reply span without length", f"turn {number} takes replies from {start:g} to {end:g} s"
    if start < 0 or (question.duration is not None and start > question.duration):
        yield "reply span outside the video", f"turn {number} takes replies from {start:g} s on"
    if turn.related[0] < start or turn.related[1] > end:
        text = f"turn {number} is about {turn.related[0]:g} .. {turn.related[1]:g} s"
        yield "related span outside the reply span", text
