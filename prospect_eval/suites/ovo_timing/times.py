"""Times of OVO-Timing predictions: the gold times of each row, and its detections."""

from __future__ import annotations

from prospect_eval.suites.benchmark import ItemTimes
from prospect_eval.suites.ovo_timing.annotations import TimingAnnotations
from prospect_eval.suites.ovo_timing.results import TimingResults


def list_ovo_timing_times(annotations: TimingAnnotations, results: TimingResults) -> list[ItemTimes]:
    """The times of each row; a row that cannot be read is silent."""
    found = []
    for row in results.rows:
        sample = annotations.by_id.get(row.id)
        video = sample.cluster if sample else f"sample {row.id}"
        found.append(ItemTimes(row.id, video, row.gt_timestamp, row.detections))
    return found
