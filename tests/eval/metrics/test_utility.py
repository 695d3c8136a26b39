"""Utility of speaking against the cost of an unhelpful utterance, by hand."""

from __future__ import annotations

import pytest

from prospect_eval.metrics.utility import GRID
from prospect_eval.scoring.score import score_records
from tests.helpers.predictions import TOOLS, episode, predict, say, score


def make_record(id_="e", video="v"):
    """A minute with 3 reference turns: 2 correct matches, 1 with other words, and 2 utterances far
    from all.
    """
    reference = episode(
        say(5.0, "put it away"), say(10.0, "well done"), say(15.0, "stop"), frames=120, id_=id_, video=video
    )
    return predict(reference, [(10, "put it away"), (20, "well done"), (30, "other words"), (80, "a b"), (100, "c d")])


def test_utility_metrics_by_hand():
    got = score(make_record())
    assert got["timely_correct_per_minute"]["value"] == 2.0
    assert got["unhelpful_per_minute"]["value"] == 3.0
    assert got["utility@c=0.2"]["value"] == pytest.approx(2 - 0.2 * 3)
    assert got["utility@c=1"]["value"] == pytest.approx(2 - 3)


def test_utility_correct_text_at_wrong_time_is_unhelpful():
    reference = episode(say(5.0, "put it away"), frames=120)
    got = score(predict(reference, [(60, "put it away")]))
    assert got["utility@c=1"]["value"] == -1.0


def test_utility_curve_is_linear():
    table = score_records([make_record(), make_record("f", "w")], TOOLS)
    curve = table["utility"]["curves"]["this run"]
    assert table["utility"]["costs"] == list(GRID)
    assert curve["value"] == pytest.approx([2 - 3 * cost for cost in GRID])
    for name, cost in (("utility@c=0.2", 0.2), ("utility@c=1", 1.0)):
        entry = table["metrics"][name]
        assert curve["value"][GRID.index(cost)] == pytest.approx(entry["value"])
        assert curve["ci95"][GRID.index(cost)] == pytest.approx(entry["ci95"])


def test_utility_curve_has_baselines():
    table = score_records([make_record()], TOOLS)
    curves = table["utility"]["curves"]
    assert set(curves) == {"this run", *table["baselines"]}
    assert curves["silent"]["value"] == [0.0] * len(GRID)
    assert curves["oracle"]["value"] == pytest.approx([3.0] * len(GRID))
    for name, baseline in table["baselines"].items():
        assert curves[name]["value"][GRID.index(1.0)] == pytest.approx(baseline["utility@c=1"]["value"]), name
