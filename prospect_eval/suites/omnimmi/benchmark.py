"""The benchmark OmniMMI: its tasks PA, PT and SG."""

from __future__ import annotations

from prospect_eval.suites.benchmark import Benchmark, BenchmarkReplay, RecordJudge
from prospect_eval.suites.omnimmi.annotations import OmniMmiAnnotations, read_omnimmi_annotations
from prospect_eval.suites.omnimmi.constants import OMNIMMI_CONSTANTS
from prospect_eval.suites.omnimmi.episodes import make_omnimmi_episodes
from prospect_eval.suites.omnimmi.official import omnimmi_array_values, omnimmi_values
from prospect_eval.suites.omnimmi.problems import find_omnimmi_problems
from prospect_eval.suites.omnimmi.records import (
    judge_omnimmi_records,
    omnimmi_constants_of_records,
    score_judged_omnimmi_records,
    score_omnimmi_records,
)
from prospect_eval.suites.omnimmi.results import OmniMmiResults, read_omnimmi_results
from prospect_eval.suites.omnimmi.scores import score_omnimmi
from prospect_eval.suites.omnimmi.times import list_omnimmi_times

BENCHMARK: Benchmark[OmniMmiAnnotations, OmniMmiResults] = Benchmark(
    name="omnimmi",
    title="OmniMMI (PA, PT, SG)",
    source="https://github.com/OmniMMI/OmniMMI at 036d2ca0015435f91d5c09707538c92f8d641fd4, evaluations/evaluate.py",
    licence="MIT",
    headline=("pa_accuracy", "pa_iou", "pt_accuracy", "sg_accuracy"),
    read_annotations=read_omnimmi_annotations,
    read_results=read_omnimmi_results,
    score=score_omnimmi,
    values_of_totals=omnimmi_values,
    find_problems=find_omnimmi_problems,
    constants=OMNIMMI_CONSTANTS,
    array_values=omnimmi_array_values,
    list_times=list_omnimmi_times,
    value_ranges={"sg_score": (0.0, 5.0)},
    replay=BenchmarkReplay(
        make_episodes=make_omnimmi_episodes,
        score_records=score_omnimmi_records,
        constants=omnimmi_constants_of_records,
        judge=RecordJudge(judge_omnimmi_records, score_judged_omnimmi_records),
        video_folders=("", "videos", "clips", "omnimmi/videos", "omnimmi/clips"),
    ),
)
