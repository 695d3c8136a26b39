"""Faults of the annotations of StreamingBench, Proactive Output."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator
from difflib import SequenceMatcher

from prospect_eval.suites.benchmark import AnnotationProblem
from prospect_eval.suites.streamingbench.annotations import ProactiveAnnotations, ProactiveOutputQuestion
from prospect_eval.suites.streamingbench.polling import find_requested_output

#: similarity from which on a difference in letters is a spelling mistake
SPELLING_SIMILARITY = 0.9


def find_streamingbench_problems(annotations: ProactiveAnnotations) -> list[AnnotationProblem]:
    """All faults, in the order of the questions."""
    found: list[AnnotationProblem] = []
    for question in annotations.questions:
        found += _find_output_problems(question)
        found += _find_time_problems(question)
    found += _find_repeated_questions(annotations.questions)
    order = {question.id: index for index, question in enumerate(annotations.questions)}
    return sorted(found, key=lambda problem: order[problem.id])


def compare_outputs(requested: str, gold: str) -> str:
    """How the output that a question asks for differs from the gold one.

    Returns:
        ``equal``, ``only a full stop or case``, ``spelling`` (the same digits, and nearly the same letters) or
        ``contradicts``.
    """
    if requested == gold:
        return "equal"
    if _plain(requested) == _plain(gold):
        return "only a full stop or case"
    similar = SequenceMatcher(None, _plain(requested), _plain(gold)).ratio() >= SPELLING_SIMILARITY
    return "spelling" if similar and _digits(requested) == _digits(gold) else "contradicts"


def _plain(text: str) -> str:
    return text.strip().rstrip(".").casefold()


def _digits(text: str) -> str:
    return "".join(letter for letter in text if letter.isdigit())


def _find_output_problems(question: ProactiveOutputQuestion) -> Iterator[AnnotationProblem]:
    gold = question.gold_output
    requested = find_requested_output(question.question)
    if requested is None:
        yield AnnotationProblem(question.id, "the question quotes no output", f"the gold output is {gold!r}")
        return
    kind = compare_outputs(requested, gold)
    if kind != "equal":
        verdict = "right" if gold in requested else "wrong"
        text = f"the question asks for {requested!r}, the gold output is {gold!r}; {requested!r} is scored {verdict}"
        yield AnnotationProblem(question.id, kind, text)
    if gold in question.question:
        yield AnnotationProblem(question.id, "the question holds the gold output", f"the question holds {gold!r}")


def _find_time_problems(question: ProactiveOutputQuestion) -> Iterator[AnnotationProblem]:
    ask, gold = question.ask_time, question.gold_time
    if gold <= ask:
        text = f"the question is asked at {ask} s, the gold time is {gold} s"
        yield AnnotationProblem(question.id, "gold time is not after the ask time", text)
    if question.window is None:
        return
    start, end = question.window
    outside = [f"{name} time {time} s" for name, time in (("ask", ask), ("gold", gold)) if not start <= time <= end]
    if outside:
        text = f"outside {start} to {end} s: {', '.join(outside)}"
        yield AnnotationProblem(question.id, "a time lies outside the entry's window", text)


def _find_repeated_questions(questions: tuple[ProactiveOutputQuestion, ...]) -> Iterator[AnnotationProblem]:
    same: dict[Hashable, list[ProactiveOutputQuestion]] = defaultdict(list)
    for question in questions:
        same[question.video, question.gold_time, question.gold_output].append(question)
    for group in same.values():
        for question in group[1:]:
            text = f"the same video, gold time and gold output as question {group[0].id}"
            yield AnnotationProblem(question.id, "the question repeats an earlier one", text)
