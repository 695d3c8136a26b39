"""The table of the perturbation test holds on the workbench and on random episodes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prospect_core.timeline import Episode, Event, Step, Task
from prospect_core.util.json_io import read_json
from prospect_eval.analysis.selfcheck import GRADES, _check, _status
from prospect_eval.metrics.perturbations import PERTURBATIONS, TABLE
from prospect_eval.metrics.resources import make_scoring_resources
from prospect_eval.models.baselines.trivial import make_trivial_baseline
from tests.helpers.commands import evaluate
from tests.helpers.predictions import TOOLS
from tests.helpers.tiers import slow


def hold(name, oracle, resources):
    """Check the table's row of this perturbation on perfect records."""
    assert all(PERTURBATIONS[name](record, grade).problems() == [] for record in oracle for grade in GRADES)
    checks = _check(name, oracle, resources)
    assert [check for check in checks if check.status == "violated"] == []


#: perturbations that change many texts, which must all be embedded; the property test below covers
#: them too
SLOW = ("swap_slots", "duplicate")


@pytest.fixture(scope="module")
def oracle(world):
    return [make_trivial_baseline("oracle", [])(episode) for episode in world.episodes("test")]


@pytest.mark.parametrize("name", [slow(name) if name in SLOW else name for name in TABLE])
def test_perturbations_world_matches_table(oracle, name):
    hold(name, oracle, make_scoring_resources())


THINGS = ("mug", "bowl", "plate", "lamp", "jug", "box", "pan", "knife", "fork", "spoon")


@st.composite
def dialogues(draw):
    """Turns about different things and consecutive steps, with at least six frames between any two
    events.
    """
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
def test_perturbations_random_dialogue_matches_table(name, episode):
    hold(name, [make_trivial_baseline("oracle", [])(episode)], TOOLS)


def test_selfcheck_status_by_hand():
    assert _status("delay", "falls", (1.0, 0.8, 0.5), True) == "ok"
    assert _status("delay", "falls", (1.0, 0.8, 0.9), True) == "violated"
    assert _status("shuffle_text", "falls", (1.0, 0.8, 0.9), True) == "ok"
    assert _status("delay", "falls", (1.0, 1.0, 0.5), True) == "violated"
    assert _status("drop", "rises", (0.0, 0.1, 0.1), True) == "ok"
    assert _status("drop", "stays", (1.0, 1.0, 0.99), True) == "violated"
    assert _status("drop", "stays", (1.0, None, 1.0), True) == "not applicable"
    assert _status("swap_slots", "falls", (1.0, 1.0, 1.0), False) == "not applicable"


def test_selfcheck_command_reports_every_expectation(short_world, tmp_path, capsys):
    code = evaluate("selfcheck", "--data", short_world.root, "--limit", 2, "--json", tmp_path / "checks.json")
    checks = read_json(tmp_path / "checks.json")
    wanted = sum(len({*row.falls, *row.rises, *row.stays}) for row in TABLE.values())
    assert len(checks) == wanted
    assert code == 0
    statuses = [check["status"] for check in checks]
    assert "violated" not in statuses
    assert statuses.count("ok") > wanted / 2


def test_selfcheck_command_detects_metric_without_reaction(short_world, monkeypatch, capsys):
    monkeypatch.setitem(PERTURBATIONS, "drop", lambda record, grade: PERTURBATIONS["delay"](record, grade))
    assert evaluate("selfcheck", "--data", short_world.root, "--limit", 1) == 3
    assert "violated" in capsys.readouterr().out
