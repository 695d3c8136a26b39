"""OVO-Timing as a benchmark that `prospect_eval.suites.benchmark.open_benchmark` finds."""

from __future__ import annotations

from prospect_eval.suites.benchmark import Benchmark, BenchmarkReplay
from prospect_eval.suites.ovo_timing.annotations import TimingAnnotations, read_timing_annotations
from prospect_eval.suites.ovo_timing.constants import OVO_TIMING_CONSTANTS
from prospect_eval.suites.ovo_timing.episodes import make_ovo_timing_episodes
from prospect_eval.suites.ovo_timing.official import (
    score_ovo_timing,
    timing_array_values,
    timing_values_of_totals,
)
from prospect_eval.suites.ovo_timing.problems import find_ovo_timing_problems
from prospect_eval.suites.ovo_timing.records import ovo_timing_constants_of_records, score_ovo_timing_records
from prospect_eval.suites.ovo_timing.results import TimingResults, read_timing_results
from prospect_eval.suites.ovo_timing.times import list_ovo_timing_times

BENCHMARK: Benchmark[TimingAnnotations, TimingResults] = Benchmark(
    name="ovo_timing",
    title="OVO-Timing",
    source="https://github.com/MCG-NJU/VideoChat3 at 189754e7a1f7a126bb6d08d1ee0ac4e51be8ead5",
    licence="Apache-2.0 (code); annotations follow from OVO-Bench: MIT (file LICENSE), CC BY-NC-SA 4.0 (README)",
    headline=("average_f1_at_2s", "average_recall_at_2s", "average_precision_at_2s"),
    read_annotations=read_timing_annotations,
    read_results=read_timing_results,
    score=score_ovo_timing,
    values_of_totals=timing_values_of_totals,
    find_problems=find_ovo_timing_problems,
    constants=OVO_TIMING_CONSTANTS,
    array_values=timing_array_values,
    list_times=list_ovo_timing_times,
    replay=BenchmarkReplay(
        make_episodes=make_ovo_timing_episodes,
        score_records=score_ovo_timing_records,
        constants=ovo_timing_constants_of_records,
        video_folders=("", "data", "data/src_videos", "src_videos", "videos"),
    ),
)
