"""Mistake reports of a stream: one report each time the mistake probability reaches its threshold.

A probability that wavers around the threshold would report the same mistake again and again. A
further report therefore needs `QUIET_SECONDS` below the threshold, on all frames in between.
"""

from __future__ import annotations

from collections.abc import Iterable

from prospect_core.records import PredictedMistake, PredictedTransition
from prospect_core.timeline import DialogState

#: as long as the debounce of the state tracker
QUIET_SECONDS = 1.5


class MistakeReporter:
    """Reports mistakes of one stream.

    Args:
        state: Initial state.
        fps: Frames per second of the stream.
        threshold: Probability from which a mistake is reported.
    """

    def __init__(self, state: DialogState, fps: float, threshold: float) -> None:
        self.fps, self.threshold = fps, threshold
        #: steps in progress, the latest started last; those of the initial state in order of the task
        self._open = [step for step in state.step_ids if state[step] == "in_progress"]
        self._ready = True
        #: first frame of the current run below the threshold after a report
        self._quiet_from: int | None = None

    def note_transitions(self, transitions: Iterable[PredictedTransition]) -> None:
        """Follow the tracked state; call it before `report` on the frame of the transitions."""
        for item in transitions:
            if item.change == "complete":
                self._open.remove(item.step)
            else:
                self._open.append(item.step)

    def report(self, frame: int, probability: float) -> PredictedMistake | None:
        """Return the report on a frame, if any; frames come in order.

        The report names the step in progress, of several the one that started last; none if no step
        is in progress.

        Args:
            frame: Video frame.
            probability: Mistake probability, 0 to 1.
        """
        if probability < self.threshold:
            if not self._ready and self._quiet_from is None:
                self._quiet_from = frame
            return None
        quiet = self._quiet_from is not None and frame - self._quiet_from >= QUIET_SECONDS * self.fps
        self._quiet_from = None
        if not (self._ready or quiet):
            return None
        self._ready = False
        return PredictedMistake(frame, self._open[-1] if self._open else "")
