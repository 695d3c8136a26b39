"""Mistake reports: one per crossing of the threshold, with the step in progress."""

from __future__ import annotations

import pytest

from prospect_core.records import PredictedMistake, PredictedTransition
from prospect_core.stream.mistake_reports import MistakeReporter
from prospect_core.timeline import DialogState

IDS = ("S1", "S2", "S3")
NOTHING = DialogState(IDS, ("not_started",) * 3)


def reports(fps, probabilities, first=0):
    reporter = MistakeReporter(NOTHING, fps, 0.5)
    found = [reporter.report(frame, p) for frame, p in enumerate(probabilities, first)]
    return [item.frame for item in found if item]


@pytest.mark.parametrize(
    ("fps", "probabilities", "expected"),
    [
        # the threshold itself is reached; one report for the whole run
        (1, [0.1, 0.5, 0.9, 0.9, 0.4], [1]),
        (1, [0.9, 0.9], [0]),
        # at 1 frame per second a second report needs two frames below the threshold
        (1, [0.9, 0.1, 0.9, 0.1, 0.1, 0.9], [0, 5]),
        # at 2 frames per second three frames, without interruption
        (2, [0.9, 0.1, 0.1, 0.9, 0.1, 0.1, 0.1, 0.9], [0, 7]),
        # at one frame in four seconds a single one
        (0.25, [0.9, 0.9, 0.1, 0.9, 0.9], [0, 3]),
        (1, [0.1] * 5, []),
    ],
)
def test_mistake_reporter_reports_rising_edges(fps, probabilities, expected):
    assert reports(fps, probabilities) == expected


def test_mistake_reporter_counts_skipped_frames_as_time():
    reporter = MistakeReporter(NOTHING, 1, 0.5)
    assert reporter.report(0, 0.9) == PredictedMistake(0)
    assert reporter.report(1, 0.1) is None
    # a live stream that is slower than its source has skipped frames 2 to 8
    assert reporter.report(9, 0.9) == PredictedMistake(9)


def test_mistake_reporter_names_latest_started_step():
    reporter = MistakeReporter(DialogState(IDS, ("not_started", "in_progress", "not_started")), 10, 0.5)

    def ask(frame, *changes):
        """Ask at frames that are far apart, each after a frame below the threshold."""
        reporter.note_transitions(PredictedTransition(frame, step, change) for step, change in changes)
        reporter.report(frame - 50, 0.0)
        return reporter.report(frame, 1.0).step

    assert ask(100) == "S2"
    assert ask(200, ("S3", "start"), ("S1", "start")) == "S1"
    assert ask(300, ("S1", "complete")) == "S3"
    assert ask(400, ("S1", "reopen")) == "S1"
    assert ask(500, ("S1", "complete"), ("S2", "complete"), ("S3", "complete")) == ""
