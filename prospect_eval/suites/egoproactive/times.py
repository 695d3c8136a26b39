"""Times of EgoProactive predictions: the starts of the chunks with an interrupt, in the reference and in the answers."""

from __future__ import annotations

from collections.abc import Sequence

from prospect_eval.suites.benchmark import ItemTimes
from prospect_eval.suites.egoproactive.annotations import EgoProactiveAnnotations
from prospect_eval.suites.egoproactive.official import read_chunk_class
from prospect_eval.suites.egoproactive.results import EgoProactiveResults


def list_egoproactive_times(annotations: EgoProactiveAnnotations, results: EgoProactiveResults) -> list[ItemTimes]:
    """The times of each session with a row; a chunk without an answer is silent."""
    found = []
    for session, prediction in zip(annotations.sessions, results.predictions, strict=True):
        if prediction is None:
            continue
        starts = [start for start, _ in session.intervals]
        reference = _list_interrupt_starts(starts, session.answers)
        predicted = _list_interrupt_starts(starts, prediction.answers or ())
        found.append(ItemTimes(session.id, session.video_path or session.id, reference, predicted))
    return found


def _list_interrupt_starts(starts: Sequence[float], answers: Sequence[str | None]) -> tuple[float, ...]:
    return tuple(
        start
        for start, answer in zip(starts, answers, strict=False)
        if answer is not None and read_chunk_class(answer) == "interrupt"
    )
