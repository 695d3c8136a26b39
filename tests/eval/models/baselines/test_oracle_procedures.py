"""The oracle's mistakes and next steps, by hand."""

from __future__ import annotations

from prospect_core.records import PredictedMistake, PredictedNextStep
from prospect_core.timeline import Mistake
from prospect_eval.models.baselines.oracle_procedures import (
    oracle_baseline_mistake_prob,
    oracle_baseline_mistakes,
    oracle_baseline_next_steps,
)
from tests.helpers.procedures import procedure


def test_oracle_baseline_mistakes_one_for_each_tag():
    mistakes = (
        Mistake("m1", "Technique Error", "S1", (5.5, 8.0)),
        Mistake("m2", "Technique Error", "S1", (5.5, 8.0)),
        Mistake("m3", "Order Error", "S1", (5.5, 8.0)),
        Mistake("m4", "Other", "B1", (7.0, 9.0)),
        Mistake("m5", "Missing Step", "S3"),
    )
    episode = procedure(mistakes=mistakes, frames=12)
    assert oracle_baseline_mistakes(episode) == (
        PredictedMistake(6, "S1", "Technique Error"),
        PredictedMistake(6, "S1", "Order Error"),
        PredictedMistake(7, "", "Other"),
    )
    assert oracle_baseline_mistake_prob(episode) == (0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0)


def test_oracle_baseline_mistake_prob_without_time_is_empty():
    assert oracle_baseline_mistake_prob(procedure(mistakes=[Mistake("m", "Missing Step", "S3")])) == ()


def test_oracle_baseline_next_steps_change_with_each_start():
    episode = procedure(("S4", 0.0, 2.0), ("S1", 3.0, 5.0), ("S2", 3.0, 6.0), ("S1", 8.0, 9.0), ("S3", 10.0, 12.0))
    assert oracle_baseline_next_steps(episode) == (PredictedNextStep(0, "S1"), PredictedNextStep(3, "S3"))


def test_oracle_baseline_next_steps_nothing_starts_is_empty():
    assert oracle_baseline_next_steps(procedure()) == ()
