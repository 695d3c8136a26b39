"""Choice of the mistake threshold from the stored probabilities of validation data.

Reports of mistakes do not enter the context of a stream, so the stored probabilities give exactly
the reports of every threshold.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prospect_core.records import EpisodeRecord
from prospect_core.stream.mistake_reports import MistakeReporter


def mistake_report_frames(record: EpisodeRecord, threshold: float) -> list[int]:
    """Return the frames on which the stored probabilities report a mistake at a threshold."""
    episode = record.episode
    reporter = MistakeReporter(episode.initial_state, episode.fps, threshold)
    frames = enumerate(record.mistake_prob, episode.start_frame)
    return [frame for frame, probability in frames if reporter.report(frame, probability) is not None]


def count_mistake_hits(record: EpisodeRecord, threshold: float) -> tuple[int, int, int]:
    """Compare reports with the mistakes of the reference.

    A report is right on a frame of a mistake that no earlier report has found.

    Args:
        record: A record with mistake probabilities.
        threshold: The threshold.

    Returns:
        (right reports, reports, mistakes with a time).
    """
    spans = [record.episode.span_frames(item.span) for item in record.episode.mistakes if item.span is not None]
    total, right = len(spans), 0
    reported = mistake_report_frames(record, threshold)
    for frame in reported:
        # of overlapping mistakes, the one that ends first
        found = min((span for span in spans if frame in span), key=lambda span: span[-1], default=None)
        if found is not None:
            spans.remove(found)
            right += 1
    return right, len(reported), total


def choose_mistake_threshold(
    records: Sequence[EpisodeRecord], grid: Sequence[float]
) -> tuple[float, float] | tuple[None, None]:
    """Choose the threshold with the best F1 of reports, the middle one in a tie.

    Args:
        records: Prediction records of validation data.
        grid: The thresholds.

    Returns:
        (threshold, its F1); (None, None) without mistake probabilities or timed mistakes.
    """
    known = [record for record in records if record.mistake_prob]
    if not any(item.span is not None for record in known for item in record.episode.mistakes):
        return None, None
    counts = np.array([[count_mistake_hits(record, threshold) for record in known] for threshold in grid]).sum(1)
    values = 2 * counts[:, 0] / (counts[:, 1] + counts[:, 2])
    best = np.flatnonzero(values >= values.max() - 1e-12)
    return grid[int(best[len(best) // 2])], float(values.max())
