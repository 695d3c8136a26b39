"""StreamingBench, Proactive Output, as a benchmark that `prospect_eval.suites.benchmark.open_benchmark` finds."""

from __future__ import annotations

from prospect_eval.suites.benchmark import Benchmark, BenchmarkReplay
from prospect_eval.suites.streamingbench.annotations import ProactiveAnnotations, read_proactive_annotations
from prospect_eval.suites.streamingbench.episodes import make_streamingbench_episodes
from prospect_eval.suites.streamingbench.official import (
    proactive_array_values,
    proactive_values_of_totals,
    score_streamingbench,
)
from prospect_eval.suites.streamingbench.polling import STREAMINGBENCH_CONSTANTS
from prospect_eval.suites.streamingbench.problems import find_streamingbench_problems
from prospect_eval.suites.streamingbench.records import (
    score_streamingbench_records,
    streamingbench_constants_of_records,
)
from prospect_eval.suites.streamingbench.results import ProactiveResults, read_proactive_results
from prospect_eval.suites.streamingbench.times import list_streamingbench_times

BENCHMARK: Benchmark[ProactiveAnnotations, ProactiveResults] = Benchmark(
    name="streamingbench",
    title="StreamingBench, Proactive Output",
    source="https://github.com/THUNLP-MT/StreamingBench at 89299232c4cc1cc3721951173c5f107b48cf6877",
    licence="MIT",
    headline=("time_accuracy", "answer_accuracy"),
    read_annotations=read_proactive_annotations,
    read_results=read_proactive_results,
    score=score_streamingbench,
    values_of_totals=proactive_values_of_totals,
    find_problems=find_streamingbench_problems,
    constants=STREAMINGBENCH_CONSTANTS,
    # all but silence print the gold output, which the official prompt reveals
    exploits=frozenset(STREAMINGBENCH_CONSTANTS) - {"never"},
    array_values=proactive_array_values,
    list_times=list_streamingbench_times,
    replay=BenchmarkReplay(
        make_episodes=make_streamingbench_episodes,
        score_records=score_streamingbench_records,
        constants=streamingbench_constants_of_records,
        video_folders=("", "data", "src/data", "data/proactive", "src/data/proactive"),
    ),
)
