"""The table of damage and metrics holds, on the world and on random episodes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prospect_core.timeline import Episode, Event, Step, Task
from prospect_eval.metrics import Scored, all_metrics
from prospect_eval.metrics.perturbations import PERTURBATIONS, TABLE
from prospect_eval.metrics.resources import make_resources
from prospect_eval.models.baselines.trivial import baseline
from prospect_eval.scoring.sufficient_statistics import compute
from tests.helpers.predictions import TOOLS
from tests.helpers.tiers import slow

#: none, then more and more; in frames well below half the smallest gap between events
GRADES = (0, 1, 2)


def hold(name, oracle, resources):
    """The row of the table for this damage, done to perfect records."""
    expected = TABLE[name]
    wanted = {*expected.falls, *expected.stays, *expected.rises}
    metrics = [m for m in all_metrics(resources) if m.name in wanted]
    assert {m.name for m in metrics} == wanted
    values = []
    for grade in GRADES:
        damaged = [PERTURBATIONS[name](record, grade) for record in oracle]
        assert all(record.problems() == [] for record in damaged)
        table, _ = compute(metrics, Scored.over(damaged, resources))
        values.append({metric: entry["value"] for metric, entry in table.items()})
    none, little, more = values
    for metric in expected.falls:
        assert none[metric] > little[metric], (metric, values)
        # turning words further does not make them worse
        assert name in ("shuffle_text", "swap_slots") or little[metric] >= more[metric] - 1e-9, (metric, values)
    for metric in expected.rises:
        assert none[metric] < little[metric] <= more[metric] + 1e-9, (metric, values)
    for metric in expected.stays:
        assert none[metric] == pytest.approx(little[metric], abs=1e-9), metric
        assert none[metric] == pytest.approx(more[metric], abs=1e-9), metric


#: damage that changes many texts, which are all embedded; the property test below holds for it too
SLOW = ("swap_slots", "duplicate")


@pytest.fixture(scope="module")
def oracle(world):
    return [baseline("oracle", [])(episode) for episode in world.episodes("test")]


@pytest.mark.parametrize("name", [slow(name) if name in SLOW else name for name in TABLE])
def test_damage_shows_where_it_must_and_nowhere_else(oracle, name):
    hold(name, oracle, make_resources())


THINGS = ("mug", "bowl", "plate", "lamp", "jug", "box", "pan", "knife", "fork", "spoon")


@st.composite
def dialogues(draw):
    """Turns about different things and a step after the other, six frames or more between any two events."""
    turns = draw(st.integers(4, len(THINGS)))
    things = draw(st.permutations(THINGS))[:turns]
    gaps = draw(st.lists(st.integers(6, 20), min_size=2 * turns, max_size=2 * turns))
    steps = draw(st.integers(1, turns // 2))
    events, frame = [], 0
    for k, thing in enumerate(things):
        frame += gaps[2 * k]
        step, change = f"S{k // 2 + 1}", ("start", "complete")[k % 2]
        if k // 2 < steps:
            events.append(Event(f"d{k}", frame / 2, "transition", step=step, change=change))
        frame += gaps[2 * k + 1]
        text = f"alpha{k} beta{k} gamma{k} {thing}"
        events.append(Event(f"a{k}", frame / 2, "assistant", text, slots={"object": thing}))
    task = Task("t", tuple(Step(f"S{k + 1}", f"step {k + 1}") for k in range(steps)))
    frames = frame + draw(st.integers(8, 30))
    return Episode("e", "v", 2, 0, frames, task, tuple(events), dataset="x").validate()


@pytest.mark.parametrize("name", TABLE)
@settings(max_examples=15, deadline=None)
@given(episode=dialogues())
def test_the_table_of_damage_holds_for_any_dialogue(name, episode):
    hold(name, [baseline("oracle", [])(episode)], TOOLS)
