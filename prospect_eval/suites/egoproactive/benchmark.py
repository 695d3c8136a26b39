"""The benchmark EgoProactive."""

from __future__ import annotations

from prospect_eval.suites.benchmark import Benchmark, BenchmarkReplay
from prospect_eval.suites.egoproactive.annotations import EgoProactiveAnnotations, read_egoproactive_annotations
from prospect_eval.suites.egoproactive.constants import EGOPROACTIVE_CONSTANTS
from prospect_eval.suites.egoproactive.episodes import make_egoproactive_episodes
from prospect_eval.suites.egoproactive.official import egoproactive_array_values, egoproactive_values
from prospect_eval.suites.egoproactive.problems import find_egoproactive_problems
from prospect_eval.suites.egoproactive.records import (
    egoproactive_constants_of_records,
    score_egoproactive_records,
)
from prospect_eval.suites.egoproactive.results import EgoProactiveResults, read_egoproactive_results
from prospect_eval.suites.egoproactive.scores import score_egoproactive
from prospect_eval.suites.egoproactive.times import list_egoproactive_times

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
    constants=EGOPROACTIVE_CONSTANTS,
    array_values=egoproactive_array_values,
    list_times=list_egoproactive_times,
    replay=BenchmarkReplay(
        make_episodes=make_egoproactive_episodes,
        score_records=score_egoproactive_records,
        constants=egoproactive_constants_of_records,
        video_folders=("", "val", "videos", "egoproactive/val"),
    ),
)
