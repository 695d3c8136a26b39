"""Answers of EgoProactive that look at no picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.egoproactive.annotations import EgoProactiveAnnotations
from prospect_eval.suites.egoproactive.official import INTERRUPT_TAG, SILENT_TAG, SessionPrediction
from prospect_eval.suites.egoproactive.results import EgoProactiveResults


def _constant(answer_of_chunk: Callable[[int], str]) -> Callable[[EgoProactiveAnnotations], EgoProactiveResults]:
    """Results whose answers depend only on the number of the chunk."""

    def make(annotations: EgoProactiveAnnotations) -> EgoProactiveResults:
        predictions = tuple(
            SessionPrediction(session.video_path, tuple(map(answer_of_chunk, range(len(session.answers)))))
            for session in annotations.sessions
        )
        return EgoProactiveResults(predictions, ReadCounts({"row": len(predictions)}))

    return make


#: makers of results, by name
EGOPROACTIVE_CONSTANTS: Mapping[str, Callable[[EgoProactiveAnnotations], EgoProactiveResults]] = {
    "always silent": _constant(lambda chunk: SILENT_TAG),
    "always interrupt": _constant(lambda chunk: INTERRUPT_TAG),
    "interrupt at the first chunk": _constant(lambda chunk: INTERRUPT_TAG if chunk == 0 else SILENT_TAG),
    "interrupt at every third chunk": _constant(lambda chunk: SILENT_TAG if chunk % 3 else INTERRUPT_TAG),
}
