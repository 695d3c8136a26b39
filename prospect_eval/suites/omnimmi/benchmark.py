"""The benchmark OmniMMI: its tasks PA, PT and SG."""

from __future__ import annotations

from collections.abc import Callable

from prospect_eval.suites.benchmark import Benchmark, ReadCounts
from prospect_eval.suites.official_score import OfficialScore, make_official_score
from prospect_eval.suites.omnimmi.annotations import AlertItem, OmniMmiAnnotations, read_omnimmi_annotations
from prospect_eval.suites.omnimmi.official import (
    AlertPrediction,
    omnimmi_array_values,
    omnimmi_values,
    score_omnimmi_alerts,
    score_omnimmi_grounding,
    score_omnimmi_turn_taking,
)
from prospect_eval.suites.omnimmi.problems import find_omnimmi_problems
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
    constants={
        "silent": _silent,
        "alert at half of the clip": _constant_alerts(lambda length: (length / 2,)),
        "alert at the end of the clip": _constant_alerts(lambda length: (length,)),
        "alerts at the start and the end of the clip": _constant_alerts(lambda length: (0.0, length)),
        "alert at 30 s": _constant_alerts(_at(30.0)),
        "alert at 60 s": _constant_alerts(_at(60.0)),
        "alert at 90 s": _constant_alerts(_at(90.0)),
        "alert at 120 s": _constant_alerts(_at(120.0)),
        "alert at 130 s": _constant_alerts(_at(130.0)),
        "alert at 140 s": _constant_alerts(_at(140.0)),
        "alerts every second": _constant_alerts(_every(1, 1)),
        "alerts every 5 s": _constant_alerts(_every(5, 5)),
        "alerts every second from 75 s": _constant_alerts(_every(1, 75)),
    },
    array_values=omnimmi_array_values,
    value_ranges={"sg_score": (0.0, 5.0)},
)
