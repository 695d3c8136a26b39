"""Damage of known size done to the oracle: the metrics that must notice do, the others do not move."""

from __future__ import annotations

import pytest

from prospect_eval.baselines import baseline
from prospect_eval.damage import DAMAGES, TABLE
from prospect_eval.metrics import Scored, all_metrics
from prospect_eval.score import compute
from prospect_eval.tools import make_tools

#: at most three frames: half the smallest gap of what is said in the world
GRADES = (0, 1, 2)


@pytest.fixture(scope="module")
def oracle(world):
    return [baseline("oracle", [])(episode) for episode in world.episodes("test")]


@pytest.mark.parametrize("name", TABLE)
def test_damage_shows_where_it_must_and_nowhere_else(oracle, name):
    expected = TABLE[name]
    tools = make_tools()
    wanted = {*expected.falls, *expected.stays, *expected.rises}
    metrics = [m for m in all_metrics(tools) if m.name in wanted]
    assert {m.name for m in metrics} == wanted
    values = []
    for grade in GRADES:
        damaged = [DAMAGES[name](record, grade) for record in oracle]
        assert all(record.problems() == [] for record in damaged)
        table = compute(metrics, Scored.over(damaged, tools))
        values.append({metric: entry["value"] for metric, entry in table.items()})
    none, little, more = values
    for metric in expected.falls:
        assert none[metric] > little[metric] >= more[metric] - 1e-9 or name == "shuffle_text", (metric, values)
        assert none[metric] > little[metric], (metric, none[metric], little[metric])
    for metric in expected.rises:
        assert none[metric] < little[metric] <= more[metric] + 1e-9, (metric, values)
    for metric in expected.stays:
        assert none[metric] == pytest.approx(little[metric], abs=1e-9), metric
        assert none[metric] == pytest.approx(more[metric], abs=1e-9), metric
