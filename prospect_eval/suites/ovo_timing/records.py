"""Records of OVO-Timing as results in its own form, and their official numbers.

A detection is an utterance after the question, at the time of its frame.
"""

from __future__ import annotations

from collections.abc import Sequence

from prospect_core.records import EpisodeRecord
from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.official_score import OfficialScore
from prospect_eval.suites.ovo_timing.annotations import TimingAnnotations, TimingSample
from prospect_eval.suites.ovo_timing.constants import OVO_TIMING_CONSTANTS
from prospect_eval.suites.ovo_timing.episodes import SAMPLE
from prospect_eval.suites.ovo_timing.official import score_ovo_timing
from prospect_eval.suites.ovo_timing.results import TimingResults, TimingRow
from prospect_eval.suites.record_texts import find_frame_time, list_texts_after_question


def score_ovo_timing_records(annotations: TimingAnnotations, records: Sequence[EpisodeRecord]) -> OfficialScore:
    """The official numbers of records, over the samples that they hold; a failed record is silence and a failed item."""
    held = select_held_samples(annotations, records)
    return score_ovo_timing(held, read_ovo_timing_records(held, records))


def ovo_timing_constants_of_records(
    annotations: TimingAnnotations, records: Sequence[EpisodeRecord]
) -> dict[str, OfficialScore]:
    """The official numbers of each constant answer over the samples that the records hold."""
    held = select_held_samples(annotations, records)
    return {name: score_ovo_timing(held, make(held)) for name, make in OVO_TIMING_CONSTANTS.items()}


def select_held_samples(annotations: TimingAnnotations, records: Sequence[EpisodeRecord]) -> TimingAnnotations:
    """The samples of the records."""
    held = {record.episode.meta[SAMPLE] for record in records}
    samples = tuple(sample for sample in annotations.samples if str(sample.sample_id) in held)
    return TimingAnnotations(samples, ReadCounts({}))


def read_ovo_timing_records(held: TimingAnnotations, records: Sequence[EpisodeRecord]) -> TimingResults:
    """The results of records that hold these samples."""
    by_sample = {record.episode.meta[SAMPLE]: record for record in records}
    rows = tuple(_read_row(sample, by_sample[str(sample.sample_id)]) for sample in held.samples)
    return TimingResults(rows, ReadCounts.of(row.task for row in rows))


def _read_row(sample: TimingSample, record: EpisodeRecord) -> TimingRow:
    ok = record.status == "ok"
    frames = [frame for frame, _ in list_texts_after_question(record)] if ok else []
    return TimingRow(
        id=str(sample.sample_id),
        task=sample.task,
        gt_timestamp=sample.gt_timestamp,
        detections=tuple(find_frame_time(record, frame) for frame in frames),
        state="read" if ok else "unreadable",
    )
