"""Limited observers of the workbench: the one that sees everything knows the state exactly, the
others do not.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from prospect_core.util.errors import UserError
from prospect_core.workbench import symbolic_observers
from prospect_core.workbench.generate import generate_workbench_video
from prospect_core.workbench.symbolic_observers import Sight, UsualStates, Witness, symbolic_observer_beliefs
from prospect_core.workbench.world.tasks import Assignment, StepAction, Thing
from prospect_eval.cli.commands import prospect_eval
from prospect_eval.metrics.answers import answer_accuracy_counts
from prospect_eval.metrics.base import Scored
from prospect_eval.metrics.states import state_head_jga_counts, state_jga_counts
from prospect_eval.models.baselines.limited_observers import LIMITED_OBSERVERS, limited_observer
from prospect_eval.models.baselines.trivial import make_trivial_baseline
from tests.helpers.predictions import TOOLS
from tests.helpers.tiers import slow

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def small_table(monkeypatch):
    """A table from few videos: enough to guess from, and fast."""
    symbolic_observers.symbolic_observer_usual_states.cache_clear()
    monkeypatch.setattr(symbolic_observers, "TABLE_VIDEOS", 6)
    yield
    symbolic_observers.symbolic_observer_usual_states.cache_clear()


@pytest.mark.parametrize("split", ["test", slow("test_hard"), slow("test_ood")])
def test_limited_observer_all_equals_annotation(split):
    """The evidence of every transition is in the frames up to its decision frame, and nothing else
    is needed.
    """
    for number in range(6):
        episodes, plan = generate_workbench_video(3, split, number)
        believed = symbolic_observer_beliefs(plan, episodes[0].end_frame, 2, None)
        for frame, belief in enumerate(believed):
            state = episodes[0].state_at(frame)
            assert belief.states == state.states, (number, frame)
            assert [f"S{k + 1}" for k in belief.order] == [step for step, _ in state.completions]


@pytest.mark.slow
def test_limited_observer_all_answers_frame_does_not():
    right = {name: np.zeros((3, 2)) for name in LIMITED_OBSERVERS}
    goals = {name: [] for name in LIMITED_OBSERVERS}
    kinds = ("present", "past", "remainder")
    for name in LIMITED_OBSERVERS:
        predict = limited_observer(name)
        for number in range(8):
            for episode in generate_workbench_video(0, "test", number)[0][1:]:
                scored = Scored(predict(episode), TOOLS)
                assert not scored.record.problems()
                goals[name].append((state_jga_counts(scored)[0], state_head_jga_counts(scored)[0]))
                for k, kind in enumerate(kinds):
                    counts = answer_accuracy_counts(kind)(scored)
                    right[name][k] += 0 if isinstance(counts, str) else counts
    share = {name: table[:, 0] / table[:, 1] for name, table in right.items()}
    assert (share["observer_all"] == 1).all()
    assert np.all(goals["observer_all"] == np.ones((16, 2)))
    assert share["observer_frame"][1] < 0.9
    assert share["observer_frame"][2] < 0.6
    assert np.max(np.mean(goals["observer_frame"], 0)) < 0.5
    assert np.max(np.mean(goals["observer_10s"], 0)) < 0.85


def test_witness_infers_states_by_hand():
    """Lifted from the drawer, put down, wiped too briefly, wiped, carried to the wrong place and to
    the correct one.
    """
    task = Assignment(
        "tidy",
        (StepAction("fetch", 0), StepAction("wipe", 0), StepAction("put", 0, "box")),
        (Thing("red", "ball"),),
        (Thing("blue", "cone"),),
    )
    on, off = frozenset({0}), frozenset()

    def seen(things=on, up=True, held=None, touched=None, over=""):
        return Sight(things, off, True, up, held, touched, over)

    rub = seen(up=False, held="cloth", touched=0)
    story = [
        (seen(off, up=False, over="drawer"), ("not_started",) * 3),
        (seen(held=0, over="drawer"), ("in_progress", "not_started", "not_started")),
        (seen(up=False), ("in_progress", "not_started", "not_started")),
        (seen(), ("completed", "not_started", "not_started")),
        *[(rub, ("completed", "in_progress", "not_started"))] * 5,
        (seen(held="cloth"), ("completed", "in_progress", "not_started")),
        *[(rub, ("completed", "in_progress", "not_started"))] * 6,
        (seen(held="cloth"), ("completed", "completed", "not_started")),
        (seen(held=1), ("completed", "completed", "not_started")),
        (seen(), ("completed", "completed", "not_started")),
        (seen(held=0), ("completed", "completed", "in_progress")),
        (seen(off, over="bin"), ("completed", "completed", "in_progress")),
        (seen(off, up=False, over="bin"), ("completed", "completed", "in_progress")),
        (seen(held=0, over="bin"), ("completed", "completed", "in_progress")),
        (seen(off, over="box"), ("completed", "completed", "completed")),
        (seen(held=0, over="box"), ("completed", "completed", "in_progress")),
    ]
    witness = Witness(task, ["not_started"] * 3)
    for number, (now, want) in enumerate(story):
        witness.watch(now)
        assert tuple(witness.states) == want, number
    assert witness.order == [0, 1]


def test_usual_states_guess_most_frequent():
    episodes, plan = generate_workbench_video(0, "train", 0)
    table = UsualStates()
    table.learn(plan, episodes[0].end_frame, 2)
    now = symbolic_observers.symbolic_observer_sight(plan, 0.0)
    keys = table._keys(plan.assignment, 0, now)
    for key, states in zip(keys, (["in_progress"] * 9, ["completed"] * 12 + ["not_started"] * 3), strict=False):
        table.counts[key] = Counter(states)
    assert table.guess(plan.assignment, 0, now) == "completed"  # nine observations are too few
    table.counts[keys[0]]["in_progress"] += 1
    assert table.guess(plan.assignment, 0, now) == "in_progress"
    assert UsualStates().guess(plan.assignment, 0, now) == "not_started"


@pytest.mark.slow
def test_limited_observer_other_dataset_raises(world, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        prospect_eval(["run", "--ckpt", "baseline:observer_all", "--data", str(world.root), "--split", "test", "--output", str(tmp_path / "run")])  # fmt: skip
    assert stop.value.code == 0
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text())["metrics"]
    for name in ("dst_jga", "dst_head_jga", "transition_f1@1s", "answer_accuracy@present"):
        assert scores[name]["value"] == 1.0, name
    capsys.readouterr()
    episode = next(world.episodes("test"))
    with pytest.raises(UserError, match="not a workbench episode of this version"):
        limited_observer("observer_frame")(replace(episode, dataset="kitchen"))
    with pytest.raises(UserError, match="unknown"):
        make_trivial_baseline("observer_frame", [])
    with pytest.raises(SystemExit) as stop:
        prospect_eval(
            ["run", "--ckpt", "baseline:observer_al", "--data", str(world.root), "--output", str(tmp_path / "other")]
        )
    assert stop.value.code == 2
    assert "did you mean 'observer_all'" in capsys.readouterr().err
