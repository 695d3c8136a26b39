"""The benchmark QEVD-FIT-COACH."""

from __future__ import annotations

from prospect_eval.suites.benchmark import Benchmark
from prospect_eval.suites.fitcoach.annotations import FitCoachAnnotations, read_fitcoach_annotations
from prospect_eval.suites.fitcoach.constants import FITCOACH_CONSTANTS
from prospect_eval.suites.fitcoach.official import fitcoach_array_values, fitcoach_values
from prospect_eval.suites.fitcoach.problems import find_fitcoach_problems
from prospect_eval.suites.fitcoach.results import FitCoachResults, read_fitcoach_results
from prospect_eval.suites.fitcoach.scores import score_fitcoach
from prospect_eval.suites.fitcoach.times import list_fitcoach_times

BENCHMARK: Benchmark[FitCoachAnnotations, FitCoachResults] = Benchmark(
    name="fitcoach",
    title="QEVD-FIT-COACH (temporal F-score)",
    source="https://github.com/Qualcomm-AI-research/FitCoach at a573ee0b98938b81c1b3e19f94c5fab5d1856f26",
    licence="BSD 3-Clause terms of Qualcomm (code); the data are behind a form",
    headline=("t_f_score", "temporal_precision", "temporal_recall"),
    read_annotations=read_fitcoach_annotations,
    read_results=read_fitcoach_results,
    score=score_fitcoach,
    values_of_totals=fitcoach_values,
    find_problems=find_fitcoach_problems,
    constants=FITCOACH_CONSTANTS,
    array_values=fitcoach_array_values,
    list_times=list_fitcoach_times,
)
