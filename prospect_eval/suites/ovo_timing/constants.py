"""Answers to OVO-Timing that look at no picture: silence, one response, and responses at a fixed rate."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.episode_window import LONGEST_S
from prospect_eval.suites.ovo_timing.annotations import TimingAnnotations, TimingSample
from prospect_eval.suites.ovo_timing.results import TimingResults, TimingRow

#: detections of a sample, from the sample
_Detections = Callable[[TimingSample], Sequence[float]]
PERIODS = (1, 2, 3, 4, 5, 8, 10, 20)


def answer_ovo_timing(annotations: TimingAnnotations, detections: _Detections) -> TimingResults:
    """Results of a function that responds without looking at the video."""
    rows = [
        TimingRow(
            id=str(sample.sample_id),
            task=sample.task,
            gt_timestamp=sample.gt_timestamp,
            detections=tuple(detections(sample)),
        )
        for sample in annotations.samples
    ]
    return TimingResults(tuple(rows), ReadCounts.of(row.task for row in rows))


def detect_periodically(sample: TimingSample, period: float) -> list[float]:
    """Times every ``period`` seconds after the start of the stream, up to its end or for a day."""
    length = min(sample.stream_end - sample.stream_start, LONGEST_S)
    count = int(length // period)
    return [sample.stream_start + k * period for k in range(1, count + 1)]


def _bind(detections: _Detections) -> Callable[[TimingAnnotations], TimingResults]:
    return lambda annotations: answer_ovo_timing(annotations, detections)


def _bind_period(period: int) -> Callable[[TimingAnnotations], TimingResults]:
    return _bind(lambda sample: detect_periodically(sample, period))


#: makers of results of answers that look at no picture, by name
OVO_TIMING_CONSTANTS: dict[str, Callable[[TimingAnnotations], TimingResults]] = {
    "silent": _bind(lambda sample: ()),
    "start_plus_1": _bind(lambda sample: (sample.stream_start + 1,)),
    "end": _bind(lambda sample: (sample.stream_end,)),
    **{f"every_{period}s": _bind_period(period) for period in PERIODS},
}
