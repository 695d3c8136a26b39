"""The benchmark ProactiveVideoQA."""

from __future__ import annotations

from prospect_eval.suites.benchmark import Benchmark, BenchmarkReplay, RecordJudge
from prospect_eval.suites.proactivevideoqa.annotations import (
    PROACTIVE_TASKS,
    ProactiveVideoQAAnnotations,
    read_proactivevideoqa_annotations,
)
from prospect_eval.suites.proactivevideoqa.constants import PROACTIVEVIDEOQA_CONSTANTS
from prospect_eval.suites.proactivevideoqa.episodes import make_proactivevideoqa_episodes
from prospect_eval.suites.proactivevideoqa.official import proactivevideoqa_array_values, proactivevideoqa_values
from prospect_eval.suites.proactivevideoqa.problems import find_proactivevideoqa_problems
from prospect_eval.suites.proactivevideoqa.records import (
    judge_proactivevideoqa_records,
    proactivevideoqa_constants_of_records,
    score_proactivevideoqa_records,
)
from prospect_eval.suites.proactivevideoqa.results import ProactiveVideoQAResults, read_proactivevideoqa_results
from prospect_eval.suites.proactivevideoqa.scores import score_proactivevideoqa
from prospect_eval.suites.proactivevideoqa.times import list_proactivevideoqa_times

BENCHMARK: Benchmark[ProactiveVideoQAAnnotations, ProactiveVideoQAResults] = Benchmark(
    name="proactivevideoqa",
    title="ProactiveVideoQA (PAUC)",
    source=(
        "https://github.com/MCG-NJU/VideoChat3 at 189754e7a1f7a126bb6d08d1ee0ac4e51be8ead5,"
        " vlmevalkit-videochat3/vlmeval/dataset/proactive_videoqa.py"
    ),
    licence="Apache-2.0 (code); the annotations' licence is not known",
    headline=("omega=0.5", "omega=0", "omega=1"),
    read_annotations=read_proactivevideoqa_annotations,
    read_results=read_proactivevideoqa_results,
    score=score_proactivevideoqa,
    values_of_totals=proactivevideoqa_values,
    find_problems=find_proactivevideoqa_problems,
    constants=PROACTIVEVIDEOQA_CONSTANTS,
    array_values=proactivevideoqa_array_values,
    list_times=list_proactivevideoqa_times,
    value_range=(0.0, 100.0),
    replay=BenchmarkReplay(
        make_episodes=make_proactivevideoqa_episodes,
        score_records=score_proactivevideoqa_records,
        constants=proactivevideoqa_constants_of_records,
        judge=RecordJudge(judge_proactivevideoqa_records, score_proactivevideoqa_records),
        video_folders=("", "videos", "video", *PROACTIVE_TASKS, *(f"{task}/videos" for task in PROACTIVE_TASKS)),
    ),
)
