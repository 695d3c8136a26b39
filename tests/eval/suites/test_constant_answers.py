"""Rank of a constant answer among models."""

from __future__ import annotations

from prospect_eval.suites.constant_answers import rank_constant_answer
from prospect_eval.suites.official_score import OfficialScore


def score_of(value):
    return OfficialScore({"forward": value}, ())


def test_rank_constant_answer_splits_models_at_its_value():
    models = {"high": score_of(0.6), "same": score_of(0.5), "low": score_of(0.4), "none": score_of(None)}
    rank = rank_constant_answer(score_of(0.5), models, "forward")
    assert (rank.below, rank.not_below, rank.undefined) == (("low",), ("same", "high"), ("none",))
    assert rank.describe() == "forward of the constant answer is above that of 1 of 3 models"


def test_rank_constant_answer_undefined_constant_has_no_rank():
    rank = rank_constant_answer(score_of(None), {"a": score_of(0.6)}, "forward")
    assert (rank.constant, rank.models, rank.undefined) == (None, 0, ("a",))


def test_rank_constant_answer_missing_model_value_is_undefined():
    rank = rank_constant_answer(score_of(0.5), {"a": OfficialScore({}, ())}, "forward")
    assert rank.undefined == ("a",)
