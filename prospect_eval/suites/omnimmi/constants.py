"""Answers of OmniMMI that look at no picture; answers of SG need an LLM judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.omnimmi.annotations import AlertItem, OmniMmiAnnotations
from prospect_eval.suites.omnimmi.official import AlertPrediction
from prospect_eval.suites.omnimmi.results import OmniMmiResults

#: seconds of a clip whose name does not say
CLIP_SECONDS = 150.0


def _constant_alerts(
    alerts_of_clip: Callable[[float], AlertPrediction],
) -> Callable[[OmniMmiAnnotations], OmniMmiResults]:
    """PA results whose alerts depend only on the length of the clip."""

    def make(annotations: OmniMmiAnnotations) -> OmniMmiResults:
        alerts = {item.id: alerts_of_clip(find_clip_seconds(item)) for item in annotations.alerts}
        return OmniMmiResults(alerts=alerts, counts=ReadCounts({"pa": len(alerts)}))

    return make


def find_clip_seconds(item: AlertItem) -> float:
    """The length of the clip in seconds."""
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


#: makers of results, by name
OMNIMMI_CONSTANTS: Mapping[str, Callable[[OmniMmiAnnotations], OmniMmiResults]] = {
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
}
