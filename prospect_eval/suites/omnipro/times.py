"""Times of OmniPro predictions: the triggers and the emissions of each sample."""

from __future__ import annotations

from prospect_eval.suites.benchmark import ItemTimes
from prospect_eval.suites.omnipro.annotations import OmniProAnnotations
from prospect_eval.suites.omnipro.results import OmniProResults


def list_omnipro_times(annotations: OmniProAnnotations, results: OmniProResults) -> list[ItemTimes]:
    """The times of each row; triggers and emissions without a readable time are left out."""
    found = []
    for sample in results.samples:
        due = tuple(trigger.time for trigger in sample.triggers if trigger.time is not None)
        given = tuple(emission.time for emission in sample.emissions if emission.time is not None)
        found.append(ItemTimes(sample.id, sample.video, due, given))
    return found
