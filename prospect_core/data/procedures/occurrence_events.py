"""Length of an episode in frames and the transitions of its occurrences inside that length."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from prospect_core.timeline import Event, StepOccurrence, make_occurrence_transitions
from prospect_core.timeline.frame_times import exact_fraction, frame_ceil

#: decision frames per second of step annotations
PROCEDURE_FPS = 1.0


def count_procedure_frames(seconds: float, fps: float) -> int:
    """Return the number of frames of a video of a length in seconds, at least one."""
    return max(1, frame_ceil(seconds, fps))


def make_clamped_transitions(occurrences: Iterable[StepOccurrence], frames: int, fps: float) -> tuple[Event, ...]:
    """Return the transitions of occurrences; times after the episode become its end.

    Args:
        occurrences: Occurrences of steps, whose times can be after the episode.
        frames: Number of frames of the episode, from the start of the video.
        fps: Frames per second.
    """
    end = float(frames / exact_fraction(fps))
    return tuple(
        replace(event, time=end) if event.time > end else event for event in make_occurrence_transitions(occurrences)
    )


def sort_step_occurrences(occurrences: Iterable[StepOccurrence]) -> tuple[StepOccurrence, ...]:
    """Sort occurrences by start; those with one start stay in the order given."""
    return tuple(sorted(occurrences, key=lambda item: exact_fraction(item.start)))
