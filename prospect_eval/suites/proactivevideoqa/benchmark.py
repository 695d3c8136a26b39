"""The benchmark ProactiveVideoQA."""

from __future__ import annotations

from prospect_eval.suites.benchmark import Benchmark, BenchmarkReplay
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
    proactivevideoqa_constants_of_records,
    score_proactivevideoqa_records,
)
from prospect_eval.suites.proactivevideoqa.results import ProactiveVideoQAResults, read_proactivevideoqa_results


def score_proactivevideoqa(annotations: ProactiveVideoQAAnnotations, results: ProactiveVideoQAResults) -> OfficialScore:
    """PAUC by the verdicts of the results; no value where there are replies to judge and no verdict of any."""
    notes = [*results.notes, *results.counts.describe_refused()]
    requests = make_judge_requests(annotations.questions, results.replies)
    score = score_proactivevideoqa_replies(annotations.questions, results.replies, results.verdicts)
    if requests and not any(request.id in results.verdicts for request in requests):
        unjudged = [replace(item, totals={}) for item in score.items]
        notes.append(f"none of {len(requests)} replies has a verdict; give an LLM judge, or the LLM judge's replies")
        return make_official_score(unjudged, proactivevideoqa_values, notes)
    unused = len(results.verdicts.keys() - {request.id for request in requests})
    if unused:
        notes.append(f"{unused} verdicts belong to no reply of these predictions")
    return OfficialScore(score.values, score.items, (*notes, *score.notes))


def _silent(annotations: ProactiveVideoQAAnnotations) -> ProactiveVideoQAResults:
    """Nothing is said; every other constant answer needs an LLM judge."""
    return ProactiveVideoQAResults(
        replies={question.id: () for question in annotations.questions},
        counts=ReadCounts({"row": len(annotations.questions)}),
    )


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
    value_range=(0.0, 100.0),
    replay=BenchmarkReplay(
        make_episodes=make_proactivevideoqa_episodes,
        score_records=score_proactivevideoqa_records,
        constants=proactivevideoqa_constants_of_records,
        video_folders=("", "videos", "video", *PROACTIVE_TASKS, *(f"{task}/videos" for task in PROACTIVE_TASKS)),
    ),
)
