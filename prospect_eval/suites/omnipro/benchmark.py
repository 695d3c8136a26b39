"""The benchmark OmniPro, online mode."""

from __future__ import annotations

from prospect_eval.suites.benchmark import Benchmark
from prospect_eval.suites.omnipro.annotations import OmniProAnnotations, read_omnipro_annotations
from prospect_eval.suites.omnipro.constants import OMNIPRO_CONSTANTS
from prospect_eval.suites.omnipro.official import omnipro_array_values, omnipro_values
from prospect_eval.suites.omnipro.problems import find_omnipro_problems
from prospect_eval.suites.omnipro.results import OmniProResults, read_omnipro_results
from prospect_eval.suites.omnipro.scores import score_omnipro
from prospect_eval.suites.omnipro.times import list_omnipro_times

BENCHMARK: Benchmark[OmniProAnnotations, OmniProResults] = Benchmark(
    name="omnipro",
    title="OmniPro, online",
    source="https://github.com/RuixiangZhao/OmniPro at 13aa8e5ca44c82d85668078b41ad88b436888f7c",
    licence="MIT (code), CC BY-NC (annotations)",
    headline=("macro_joint_f1", "macro_time_f1", "macro_content_accuracy", "joint_f1"),
    read_annotations=read_omnipro_annotations,
    read_results=read_omnipro_results,
    score=score_omnipro,
    values_of_totals=omnipro_values,
    find_problems=find_omnipro_problems,
    constants=OMNIPRO_CONSTANTS,
    array_values=omnipro_array_values,
    list_times=list_omnipro_times,
)
