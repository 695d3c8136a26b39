"""Times of OmniMMI's proactive alerting (PA): the start of each annotated span, and the alerts."""

from __future__ import annotations

from prospect_eval.suites.benchmark import ItemTimes
from prospect_eval.suites.omnimmi.annotations import OmniMmiAnnotations
from prospect_eval.suites.omnimmi.official import AlertPrediction
from prospect_eval.suites.omnimmi.results import OmniMmiResults


def list_omnimmi_times(annotations: OmniMmiAnnotations, results: OmniMmiResults) -> list[ItemTimes]:
    """The times of each PA item with a prediction; one that cannot be read is silent."""
    found = []
    for item in annotations.alerts:
        if item.id in results.alerts:
            predicted = _list_alert_times(results.alerts[item.id])
            found.append(ItemTimes(item.id, item.video, (float(item.start),), predicted))
    return found


def _list_alert_times(alerts: AlertPrediction) -> tuple[float, ...]:
    if alerts is None:
        return ()
    return alerts if isinstance(alerts, tuple) else (float(alerts),)
