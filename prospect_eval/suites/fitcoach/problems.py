"""Faults of FitCoach's sessions: times out of order or without a text, feedback nearer than the tolerance."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from prospect_eval.suites.benchmark import AnnotationProblem
from prospect_eval.suites.fitcoach.annotations import FitCoachAnnotations, ReferenceFeedback
from prospect_eval.suites.fitcoach.official import MATCH_S, match_feedback


def find_fitcoach_problems(annotations: FitCoachAnnotations) -> list[AnnotationProblem]:
    """All faults, in the order of the sessions; repeated ids come first."""
    problems = [
        AnnotationProblem(name, "duplicate id", "an earlier row has this id and counts")
        for name in annotations.repeated
    ]
    for session in annotations.sessions:
        problems += [AnnotationProblem(session.id, kind, text) for kind, text in _session_problems(session)]
    return problems


def _session_problems(session: ReferenceFeedback) -> Iterator[tuple[str, str]]:
    times, texts = session.feedback.times, session.feedback.texts
    if not times:
        yield "session without feedback", "no prediction can be right"
    if len(times) != len(texts):
        yield "times and texts differ in number", f"{len(times)} times for {len(texts)} texts, which are counted"
    empty = sum(not text.strip() for text in texts)
    if empty:
        yield "feedback without text", f"{empty} texts are empty"
    if list(times) != sorted(times):
        yield "times out of order", "a time comes before the one listed before it, which costs matches"
    outside = [time for time in times if time < 0 or (session.duration is not None and time > session.duration)]
    if outside:
        yield "feedback outside the session", f"{len(outside)} times, the first at {outside[0]:g} s"
    near = [later for earlier, later in pairwise(sorted(times)) if later - earlier < 2 * MATCH_S]
    if near:
        text = f"{len(near)} times are less than {2 * MATCH_S:g} s after the one before, the first at {near[0]:g} s"
        yield "feedback nearer than twice the tolerance", text
    if len(match_feedback(session.feedback, session.feedback)) < min(len(times), len(texts)):
        yield "the reference does not match itself", "a prediction equal to the reference does not score 1"
