"""Official scores of OVO-Timing.

Source: MCG-NJU/VideoChat3 at 189754e7a1f7a126bb6d08d1ee0ac4e51be8ead5,
``vlmevalkit-videochat3/vlmeval/dataset/ovo_timing.py``.

- A sample: for each gold time in the order of the list, the first detection in the order of the list that is still free
  and at most 2.0 s away is matched. Recall is matched by gold times, precision matched by detections; each is 0 where
  its denominator is 0.
- A task: mean recall and mean precision over its samples, and F1 of these two means.
- Final: plain mean over CRR, REC and SSR of recall, of precision and of F1. A task without samples counts as 0.

Quirks, kept:

- A silent sample has precision 0, which enters the mean.
- The first fit is not the best matching: gold 10, 12 with detections 12, 9 gives one match, with 9, 12 two.
- The tolerance is compared in binary: 4.4 against 2.4 is out, 12.1 against 10.1 is in.
- Gold of REC and SSR is the annotated start plus 2 s, so a response at the start counts.

Deviation, where the published scorer stops: a prediction with an event without a time, or with a time that is no number,
is silence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from prospect_eval.suites.benchmark import make_values_of_totals
from prospect_eval.suites.official_score import ItemScore, ItemStatus, OfficialScore, make_official_score
from prospect_eval.suites.ovo_timing.annotations import TASKS, TimingAnnotations
from prospect_eval.suites.ovo_timing.results import PredictionState, TimingResults, TimingRow
from prospect_eval.suites.published_files import find_repeated, list_names

#: seconds, inclusive
TOLERANCE = 2.0
_STATUS: dict[PredictionState, ItemStatus] = {
    "read": "scored",
    "null": "missing",
    "silent text": "failed",
    "unreadable": "failed",
}


def count_first_fit_matches(gold: Sequence[float], detections: Sequence[float]) -> int:
    """Number of gold times that find a free detection, both in the order of their lists."""
    free = list(detections)
    matched = 0
    for time in gold:
        for index, detection in enumerate(free):
            if abs(detection - time) <= TOLERANCE:
                del free[index]
                matched += 1
                break
    return matched


def score_timing_sample(gold: Sequence[float], detections: Sequence[float]) -> tuple[float, float]:
    """Recall and precision of a sample."""
    matched = count_first_fit_matches(gold, detections)
    recall = matched / len(gold) if gold else 0.0
    precision = matched / len(detections) if detections else 0.0
    return recall, precision


def timing_array_values(totals: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Values by task and ``average_*``, from the sums ``TASK.recall``, ``TASK.precision`` and ``TASK.samples``."""
    shape = np.broadcast_shapes(*(np.shape(total) for total in totals.values())) if totals else ()
    zeros = np.zeros(shape)
    values: dict[str, np.ndarray] = {}
    for task in TASKS:
        samples = totals.get(f"{task}.samples", zeros)
        recall = _divide(totals.get(f"{task}.recall", zeros), samples)
        precision = _divide(totals.get(f"{task}.precision", zeros), samples)
        values[f"{task}.recall_at_2s"] = recall
        values[f"{task}.precision_at_2s"] = precision
        values[f"{task}.f1_at_2s"] = _divide(2 * precision * recall, precision + recall)
    for name in ("recall_at_2s", "precision_at_2s", "f1_at_2s"):
        values[f"average_{name}"] = sum((values[f"{task}.{name}"] for task in TASKS), zeros) / len(TASKS)
    return values


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """0 where the denominator is 0."""
    safe = np.where(denominator > 0, denominator, 1.0)
    return np.asarray(np.where(denominator > 0, numerator / safe, 0.0))


timing_values_of_totals = make_values_of_totals(timing_array_values)


def score_ovo_timing(annotations: TimingAnnotations, results: TimingResults) -> OfficialScore:
    """The official numbers of one set of predictions.

    An item is a sample. A null prediction is a missing item and unreadable text a failed one; both are silence, which
    enters the means. A sample without a row is a missing item that the published scorer leaves out.
    """
    seen: Counter[str] = Counter()
    items = [_score_row(annotations, row, seen) for row in results.rows]
    given = {row.id for row in results.rows}
    absent = [sample for sample in annotations.samples if str(sample.sample_id) not in given]
    for sample in absent:
        items.append(
            ItemScore(id=str(sample.sample_id), video=sample.cluster, task=sample.task, totals={}, status="missing")
        )
    notes = [*results.notes, *results.counts.describe_refused(), *_describe_rows(annotations, results)]
    if absent:
        names = [sample.sample_id for sample in absent]
        notes.append(f"samples without a row, left out of the means: {len(names)} ({list_names(names)})")
    return make_official_score(items, timing_values_of_totals, notes)


def _score_row(annotations: TimingAnnotations, row: TimingRow, seen: Counter[str]) -> ItemScore:
    sample = annotations.by_id.get(row.id)
    recall, precision = score_timing_sample(row.gt_timestamp, row.detections)
    seen[row.id] += 1
    return ItemScore(
        id=row.id if seen[row.id] == 1 else f"{row.id}#{seen[row.id]}",
        video=sample.cluster if sample else f"sample {row.id}",
        task=row.task,
        totals={
            f"{row.task}.recall": recall,
            f"{row.task}.precision": precision,
            f"{row.task}.samples": 1.0,
        },
        status=_STATUS[row.state],
    )


def _describe_rows(annotations: TimingAnnotations, results: TimingResults) -> Iterable[str]:
    states = Counter(row.state for row in results.rows)
    if states["null"]:
        yield f"null predictions, counted as silence: {states['null']}"
    if states["silent text"]:
        yield f"predictions that are no JSON object, counted as silence: {states['silent text']}"
    if states["unreadable"]:
        yield f"predictions on which the published scorer stops, counted as silence: {states['unreadable']}"
    silent = sum(not row.detections for row in results.rows)
    if silent:
        yield f"silent samples, each with precision 0: {silent}"
    unknown = [row.id for row in results.rows if row.id not in annotations.by_id]
    if unknown:
        yield f"ids that the annotations lack, scored as they stand: {len(unknown)} ({list_names(unknown)})"
    repeated = find_repeated(row.id for row in results.rows)
    if repeated:
        yield f"ids of several rows, all scored: {len(repeated)} ({list_names(repeated)})"
    other = [row.id for row in results.rows if _has_other_gold(annotations, row)]
    if other:
        yield f"rows scored against other times than the annotation's: {len(other)} ({list_names(other)})"


def _has_other_gold(annotations: TimingAnnotations, row: TimingRow) -> bool:
    sample = annotations.by_id.get(row.id)
    return sample is not None and (sample.task, sample.gt_timestamp) != (row.task, row.gt_timestamp)
