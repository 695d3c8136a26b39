"""Dropped frames and delays in the data of a report's timelines."""

from __future__ import annotations

from prospect_core.records import EpisodeRecord, Knobs
from prospect_eval.metrics import Scored
from prospect_eval.metrics.resources import make_scoring_resources
from prospect_eval.report.episodes import report_episode_data
from tests.helpers.clocked_streams import ScriptedStream, clocked, short_video, simulated


def _data(knobs: Knobs) -> dict[str, object]:
    record: EpisodeRecord
    episode = short_video(12, said={3.1: "Stop."})
    record, _ = clocked(ScriptedStream({2: "Put it there now please."}), episode, knobs)
    return report_episode_data(Scored(record, make_scoring_resources()))


def test_report_data_under_clock_has_dropped_frames_and_delays():
    """The step on frame 2 ends at 2.5 s. Of five words at 150 a minute, 0.6 s allow one whole word."""
    data = _data(simulated(frame=1250))
    assert data["dropped"] == [[1, 1], [3, 4], [6, 6], [8, 9], [11, 11]]
    assert data["delays"] == [[2, 2.5, 3.1, 1, 5, "Put it there now please."]]


def test_report_data_of_replay_has_no_clock_data():
    assert {"dropped", "delays"}.isdisjoint(_data(Knobs()))
