"""The official scores of EgoProactive's results."""

from __future__ import annotations

from prospect_eval.suites.egoproactive.annotations import EgoProactiveAnnotations
from prospect_eval.suites.egoproactive.official import score_egoproactive_sessions
from prospect_eval.suites.egoproactive.results import EgoProactiveResults
from prospect_eval.suites.official_score import OfficialScore


def score_egoproactive(annotations: EgoProactiveAnnotations, results: EgoProactiveResults) -> OfficialScore:
    """The official scores, with the notes of the reader."""
    score = score_egoproactive_sessions(annotations.sessions, results.predictions)
    return OfficialScore(score.values, score.items, (*results.notes, *results.counts.describe_refused(), *score.notes))
