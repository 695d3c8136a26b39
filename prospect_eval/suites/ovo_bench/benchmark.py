"""OVO-Bench as a benchmark that `prospect_eval.suites.benchmark.open_benchmark` finds."""

from __future__ import annotations

from prospect_eval.suites.benchmark import Benchmark, BenchmarkReplay
from prospect_eval.suites.ovo_bench.annotations import OvoBenchAnnotations, read_ovo_bench_annotations
from prospect_eval.suites.ovo_bench.constants import OVO_BENCH_CONSTANTS
from prospect_eval.suites.ovo_bench.episodes import make_ovo_bench_episodes
from prospect_eval.suites.ovo_bench.official import (
    ovo_bench_array_values,
    ovo_bench_values_of_totals,
    score_ovo_bench,
)
from prospect_eval.suites.ovo_bench.problems import find_ovo_bench_problems
from prospect_eval.suites.ovo_bench.records import ovo_bench_constants_of_records, score_ovo_bench_records
from prospect_eval.suites.ovo_bench.results import OvoBenchResults, read_ovo_bench_results

BENCHMARK: Benchmark[OvoBenchAnnotations, OvoBenchResults] = Benchmark(
    name="ovo_bench",
    title="OVO-Bench",
    source="https://github.com/JoeLeelyf/OVO-Bench at c34093f9a072d93f9e1c6b923446dfba71f4528e",
    licence="MIT (file LICENSE); CC BY-NC-SA 4.0 (README)",
    headline=("total", "backward", "realtime", "forward"),
    read_annotations=read_ovo_bench_annotations,
    read_results=read_ovo_bench_results,
    score=score_ovo_bench,
    values_of_totals=ovo_bench_values_of_totals,
    find_problems=find_ovo_bench_problems,
    constants=OVO_BENCH_CONSTANTS,
    exploits=frozenset({"all_letters"}),
    array_values=ovo_bench_array_values,
    replay=BenchmarkReplay(
        make_episodes=make_ovo_bench_episodes,
        score_records=score_ovo_bench_records,
        constants=ovo_bench_constants_of_records,
        video_folders=("", "data", "data/src_videos", "src_videos", "videos"),
    ),
)
