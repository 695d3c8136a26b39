"""Answers of FitCoach that look at no picture: silence, and one text at a fixed rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.fitcoach.annotations import FitCoachAnnotations, ReferenceFeedback
from prospect_eval.suites.fitcoach.official import FeedbackList
from prospect_eval.suites.fitcoach.results import FitCoachResults

PERIODS = (2, 3, 4, 5, 6, 8, 10, 15, 20, 30)
TEXT = "Keep going."
#: maximum number of texts, also for a file that names an endless session
MOST_TEXTS = 10_000


def speak_periodically(session: ReferenceFeedback, period: float) -> FeedbackList:
    """One text every ``period`` seconds up to the end of the session, or where it is not known to the last reference."""
    end = session.duration if session.duration is not None else max(session.feedback.times, default=0.0)
    number = int(min(max(0.0, end) // period, MOST_TEXTS))
    times = tuple(k * period for k in range(1, number + 1))
    return FeedbackList(times, (TEXT,) * len(times))


def _make_results(
    annotations: FitCoachAnnotations, speak: Callable[[ReferenceFeedback], FeedbackList]
) -> FitCoachResults:
    feedback: dict[str, FeedbackList | None] = {session.id: speak(session) for session in annotations.sessions}
    return FitCoachResults(feedback, ReadCounts({"row": len(feedback)}))


def _bind_period(period: int) -> Callable[[FitCoachAnnotations], FitCoachResults]:
    return lambda annotations: _make_results(annotations, lambda session: speak_periodically(session, period))


def _silent(annotations: FitCoachAnnotations) -> FitCoachResults:
    """Nothing is said."""
    return _make_results(annotations, lambda session: FeedbackList((), ()))


#: makers of results, by name
FITCOACH_CONSTANTS: Mapping[str, Callable[[FitCoachAnnotations], FitCoachResults]] = {
    "silent": _silent,
    **{f"every_{period}s": _bind_period(period) for period in PERIODS},
}
