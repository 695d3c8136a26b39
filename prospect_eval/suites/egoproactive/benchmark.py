"""The benchmark EgoProactive."""

from __future__ import annotations

from collections.abc import Callable

from prospect_eval.suites.benchmark import Benchmark, ReadCounts
from prospect_eval.suites.egoproactive.annotations import EgoProactiveAnnotations, read_egoproactive_annotations
from prospect_eval.suites.egoproactive.official import (
    INTERRUPT_TAG,
    SILENT_TAG,
    SessionPrediction,
    egoproactive_array_values,
    egoproactive_values,
    score_egoproactive_sessions,
)
from prospect_eval.suites.egoproactive.problems import find_egoproactive_problems
from prospect_eval.suites.egoproactive.results import EgoProactiveResults, read_egoproactive_results
from prospect_eval.suites.official_score import OfficialScore


def score_egoproactive(annotations: EgoProactiveAnnotations, results: EgoProactiveResults) -> OfficialScore:
    """The official scores, with the notes of the reader."""
    score = score_egoproactive_sessions(annotations.sessions, results.predictions)
    return OfficialScore(score.values, score.items, (*results.notes, *results.counts.describe_refused(), *score.notes))


def _constant(answer_of_chunk: Callable[[int], str]) -> Callable[[EgoProactiveAnnotations], EgoProactiveResults]:
    """Results whose answers depend only on the number of the chunk."""

    def make(annotations: EgoProactiveAnnotations) -> EgoProactiveResults:
        predictions = tuple(
            SessionPrediction(session.video_path, tuple(map(answer_of_chunk, range(len(session.answers)))))
            for session in annotations.sessions
        )
        return EgoProactiveResults(predictions, ReadCounts({"row": len(predictions)}))

    return make


BENCHMARK: Benchmark[EgoProactiveAnnotations, EgoProactiveResults] = Benchmark(
    name="egoproactive",
    title="EgoProactive (Wearable AI 2026)",
    source=(
        "https://huggingface.co/datasets/facebook/wearable-ai, starter_kit/run_evaluation.py, as mirrored in"
        " https://github.com/Sri427/wearable-ai-proactive at 20c9a63a6a83955c7cf86bf7311e2008c46fb938"
    ),
    licence="CC-BY-NC-4.0",
    headline=("macro_f1", "gmean_f1"),
    read_annotations=read_egoproactive_annotations,
    read_results=read_egoproactive_results,
    score=score_egoproactive,
    values_of_totals=egoproactive_values,
    find_problems=find_egoproactive_problems,
    constants={
        "always silent": _constant(lambda chunk: SILENT_TAG),
        "always interrupt": _constant(lambda chunk: INTERRUPT_TAG),
        "interrupt at the first chunk": _constant(lambda chunk: INTERRUPT_TAG if chunk == 0 else SILENT_TAG),
        "interrupt at every third chunk": _constant(lambda chunk: SILENT_TAG if chunk % 3 else INTERRUPT_TAG),
    },
    array_values=egoproactive_array_values,
)
