"""StreamingBench, multiple choice, as a benchmark that `prospect_eval.suites.benchmark.open_benchmark` finds."""

from __future__ import annotations

from prospect_eval.suites.benchmark import Benchmark, BenchmarkReplay
from prospect_eval.suites.streamingbench_choices.annotations import (
    StreamingChoiceAnnotations,
    read_streaming_choice_annotations,
)
from prospect_eval.suites.streamingbench_choices.constants import STREAMING_CHOICE_CONSTANTS
from prospect_eval.suites.streamingbench_choices.episodes import make_streaming_choice_episodes
from prospect_eval.suites.streamingbench_choices.official import (
    score_streaming_choices,
    streaming_choice_array_values,
    streaming_choice_values_of_totals,
)
from prospect_eval.suites.streamingbench_choices.problems import find_streaming_choice_problems
from prospect_eval.suites.streamingbench_choices.records import (
    score_streaming_choice_records,
    streaming_choice_constants_of_records,
)
from prospect_eval.suites.streamingbench_choices.results import (
    StreamingChoiceResults,
    read_streaming_choice_results,
)

BENCHMARK: Benchmark[StreamingChoiceAnnotations, StreamingChoiceResults] = Benchmark(
    name="streamingbench_choices",
    title="StreamingBench, multiple choice",
    source="https://github.com/THUNLP-MT/StreamingBench, src/data/count.py",
    licence="MIT",
    headline=("real", "omni", "sqa"),
    read_annotations=read_streaming_choice_annotations,
    read_results=read_streaming_choice_results,
    score=score_streaming_choices,
    values_of_totals=streaming_choice_values_of_totals,
    find_problems=find_streaming_choice_problems,
    constants=STREAMING_CHOICE_CONSTANTS,
    array_values=streaming_choice_array_values,
    replay=BenchmarkReplay(
        make_episodes=make_streaming_choice_episodes,
        score_records=score_streaming_choice_records,
        constants=streaming_choice_constants_of_records,
        video_folders=("", "data", "src/data", "data/real", "data/omni", "data/sqa"),
    ),
)
