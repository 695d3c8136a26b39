"""The official scores of FitCoach predictions over the annotated sessions."""

from __future__ import annotations

from dataclasses import replace

from prospect_eval.suites.fitcoach.annotations import FitCoachAnnotations
from prospect_eval.suites.fitcoach.official import (
    FeedbackList,
    FeedbackSession,
    fitcoach_values,
    score_fitcoach_sessions,
)
from prospect_eval.suites.fitcoach.results import FitCoachResults
from prospect_eval.suites.official_score import ItemScore, OfficialScore, make_official_score

_SILENCE = FeedbackList((), ())


def score_fitcoach(annotations: FitCoachAnnotations, results: FitCoachResults) -> OfficialScore:
    """The official scores; a session without a row is a missing item, an unreadable row a failed one, and both are silence."""
    sessions = [
        FeedbackSession(session.id, session.video, session.feedback, results.feedback.get(session.id) or _SILENCE)
        for session in annotations.sessions
    ]
    found = score_fitcoach_sessions(sessions)
    items = [_mark_status(item, results) for item in found.items]
    notes = [*results.notes, *results.counts.describe_refused(), *_describe_quirks(sessions)]
    for status, name in (("missing", "sessions without a row"), ("failed", "rows without lists of times and texts")):
        if number := sum(item.status == status for item in items):
            notes.append(f"{name}, counted as silence: {number}")
    return make_official_score(items, fitcoach_values, notes)


def _mark_status(item: ItemScore, results: FitCoachResults) -> ItemScore:
    if item.id not in results.feedback:
        return replace(item, status="missing")
    return item if results.feedback[item.id] is not None else replace(item, status="failed")


def _describe_quirks(sessions: list[FeedbackSession]) -> list[str]:
    notes: list[str] = []
    empty = sum(text == "" for session in sessions for text in session.predicted.texts)
    if empty:
        notes.append(f"predictions without text, which count and are never matched for recall: {empty}")
    uneven = sum(len(session.predicted.times) != len(session.predicted.texts) for session in sessions)
    if uneven:
        notes.append(f"sessions whose numbers of predicted times and texts differ; the texts are counted: {uneven}")
    unsorted = sum(list(session.predicted.times) != sorted(session.predicted.times) for session in sessions)
    if unsorted:
        notes.append(f"sessions with predicted times out of order, which lose matches: {unsorted}")
    return notes
