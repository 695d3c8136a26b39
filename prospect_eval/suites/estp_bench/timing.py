"""The timing part of ESTP-F1 after third parties' notes. It is not official: the published scorer could not be reached.

The code of the benchmark (zhangyl4/EyeWO at 580c428bfa289c5c155e2a0cce8651a49eee6c5e) imports its scorer from a folder
that the repository does not hold. By the notes, spans are rounded up to the frame grid of 2 frames a second. A span is
hit if a reply lies in [start - 1 s, end + 2 s]; a reply in no such window is a false alarm; several replies in one window
cost nothing. F1 = 2 hits / (2 hits + missed spans + false alarms). The quality of the answers, which the paper's ESTP-F1
weighs too, is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prospect_core.timeline import frame_ceil

EARLY_S, LATE_S = 1.0, 2.0
#: frames per second of the grid that spans are rounded up to
GRID_FPS = 2.0


@dataclass(frozen=True)
class SpanHits:
    """Numbers of hit spans, missed spans and false alarms."""

    hits: int
    misses: int
    false_alarms: int

    @property
    def f1(self) -> float | None:
        """2 hits / (2 hits + misses + false alarms); None without a span and without a reply."""
        total = 2 * self.hits + self.misses + self.false_alarms
        return 2 * self.hits / total if total else None


def round_up_to_grid(seconds: float, fps: float = GRID_FPS) -> float:
    """The first time on the frame grid at or after this one."""
    return frame_ceil(seconds, fps) / fps


def count_span_hits(
    reply_times: Sequence[float],
    spans: Sequence[tuple[float, float]],
    early: float = EARLY_S,
    late: float = LATE_S,
) -> SpanHits:
    """Hits of reply times in windows around spans.

    Args:
        reply_times: Times of the replies in seconds.
        spans: (start, end) of each reference turn in seconds, on the frame grid.
        early: Seconds before the start that still count.
        late: Seconds after the end that still count.
    """
    windows = [(start - early, end + late) for start, end in spans]
    hits = sum(any(begin <= time <= end for time in reply_times) for begin, end in windows)
    alarms = sum(not any(begin <= time <= end for begin, end in windows) for time in reply_times)
    return SpanHits(hits=hits, misses=len(spans) - hits, false_alarms=alarms)
