"""The benchmark OmniMMI: its tasks PA, PT and SG."""

from __future__ import annotations

from prospect_eval.suites.benchmark import Benchmark, BenchmarkReplay
from prospect_eval.suites.omnimmi.annotations import OmniMmiAnnotations, read_omnimmi_annotations
from prospect_eval.suites.omnimmi.constants import OMNIMMI_CONSTANTS
from prospect_eval.suites.omnimmi.episodes import make_omnimmi_episodes
from prospect_eval.suites.omnimmi.official import omnimmi_array_values, omnimmi_values
from prospect_eval.suites.omnimmi.problems import find_omnimmi_problems
from prospect_eval.suites.omnimmi.records import omnimmi_constants_of_records, score_omnimmi_records
from prospect_eval.suites.omnimmi.results import OmniMmiResults, read_omnimmi_results

#: seconds of a clip whose name does not say
CLIP_SECONDS = 150.0


def score_omnimmi(annotations: OmniMmiAnnotations, results: OmniMmiResults) -> OfficialScore:
    """The official scores of the tasks that the results hold predictions of."""
    parts: list[OfficialScore] = []
    notes = [*results.notes, *results.counts.describe_refused()]
    if results.alerts:
        parts.append(score_omnimmi_alerts(annotations.alerts, results.alerts))
    if results.replies:
        parts.append(score_omnimmi_turn_taking(annotations.turn_taking, results.replies))
    if results.verdicts:
        parts.append(score_omnimmi_grounding(annotations.grounding, results.verdicts))
    elif results.answers:
        notes.append("SG: the answers have no verdicts; give an LLM judge, or the LLM judge's results.json")
    items = [item for part in parts for item in part.items]
    notes += [note for part in parts for note in part.notes]
    return make_official_score(items, omnimmi_values, notes)


def _constant_alerts(
    alerts_of_clip: Callable[[float], AlertPrediction],
) -> Callable[[OmniMmiAnnotations], OmniMmiResults]:
    """PA results whose alerts depend only on the length of the clip."""

    def make(annotations: OmniMmiAnnotations) -> OmniMmiResults:
        alerts = {item.id: alerts_of_clip(_clip_seconds(item)) for item in annotations.alerts}
        return OmniMmiResults(alerts=alerts, counts=ReadCounts({"pa": len(alerts)}))

    return make


def _clip_seconds(item: AlertItem) -> float:
    return CLIP_SECONDS if item.clip_seconds is None else item.clip_seconds


def _every(period: int, first: int) -> Callable[[float], AlertPrediction]:
    """Alerts at ``first`` and each ``period`` seconds after it, up to the end of the clip."""
    return lambda length: tuple(float(second) for second in range(first, int(length) + 1, period))


def _silent(annotations: OmniMmiAnnotations) -> OmniMmiResults:
    """No alert, and an empty reply."""
    alerts: dict[str, AlertPrediction] = {item.id: () for item in annotations.alerts}
    replies: dict[str, str | None] = {item.id: "" for item in annotations.turn_taking}
    return OmniMmiResults(alerts=alerts, replies=replies, counts=ReadCounts({"pa": len(alerts), "pt": len(replies)}))


def _at(second: float) -> Callable[[float], AlertPrediction]:
    return lambda length: (second,)


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
    value_ranges={"sg_score": (0.0, 5.0)},
    replay=BenchmarkReplay(
        make_episodes=make_omnimmi_episodes,
        score_records=score_omnimmi_records,
        constants=omnimmi_constants_of_records,
        video_folders=("", "videos", "clips", "omnimmi/videos", "omnimmi/clips"),
    ),
)
