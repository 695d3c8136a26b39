"""Data of an episode for the report's timeline: mistakes of the reference and of the model."""

from __future__ import annotations

from dataclasses import replace

from prospect_core.records import PredictedMistake
from prospect_core.timeline.mistakes import Mistake
from prospect_eval.metrics import Scored
from prospect_eval.report.episodes import report_episode_data
from tests.helpers.predictions import TOOLS, episode, predict, say


def data_of(mistakes, predicted):
    reference = replace(episode(say(2.0)), mistakes=mistakes)
    record = replace(predict(reference, [(4, "Go on.")]), mistakes=predicted)
    (scored,) = Scored.over([record], TOOLS)
    return report_episode_data(scored)


def test_mistakes_have_spans_marks_and_hits():
    mistakes = (
        Mistake("m1", "Order Error", "S2", (5.0, 8.0), "too early"),
        Mistake("m2", "Technique Error", "S1", (12.0, 14.0)),
        Mistake("m3", "Missing Step", "S2"),
    )
    found = data_of(mistakes, (PredictedMistake(12, "S2", "Order Error"), PredictedMistake(30)))
    assert found["mistakes"] == [
        [5.0, 8.0, "Order Error: S2: too early", True],
        [12.0, 14.0, "Technique Error: S1", False],
        # without a time: at the end of the episode, 40 frames at 2 frames per second
        [20.0, 20.0, "Missing Step: S2", False],
    ]
    assert found["predicted_mistakes"] == [[12, "Order Error: S2", True], [30, "mistake", False]]


def test_episode_without_mistakes_has_no_mistake_rows():
    found = data_of((), ())
    assert "mistakes" not in found
    assert "predicted_mistakes" not in found


def test_predicted_mistake_without_reference_is_a_false_alarm():
    found = data_of((), (PredictedMistake(8, "S1"),))
    assert "mistakes" not in found
    assert found["predicted_mistakes"] == [[8, "S1", False]]
