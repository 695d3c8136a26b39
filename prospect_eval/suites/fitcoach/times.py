"""Times of FitCoach predictions: the feedback of the reference and of the model in each session."""

from __future__ import annotations

from prospect_eval.suites.benchmark import ItemTimes
from prospect_eval.suites.fitcoach.annotations import FitCoachAnnotations
from prospect_eval.suites.fitcoach.results import FitCoachResults


def list_fitcoach_times(annotations: FitCoachAnnotations, results: FitCoachResults) -> list[ItemTimes]:
    """The times of each session with a row; a row that cannot be read is silent."""
    found = []
    for session in annotations.sessions:
        if session.id in results.feedback:
            feedback = results.feedback[session.id]
            predicted = () if feedback is None else feedback.times
            found.append(ItemTimes(session.id, session.video, session.feedback.times, predicted))
    return found
