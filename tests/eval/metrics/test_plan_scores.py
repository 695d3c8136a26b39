"""Violations of the task graph, expected next steps and skipped steps, by hand."""

from __future__ import annotations

import pytest

from prospect_core.records import PredictedNextStep
from prospect_core.timeline import DialogState, Task
from prospect_eval.metrics.plan_scores import choose_plan_step, find_order_violations
from tests.helpers.predictions import predict
from tests.helpers.procedures import SOUP, procedure, procedure_values

UNORDERED = Task("cook soup", SOUP.steps)


def test_find_order_violations_by_hand():
    episode = procedure()
    moves = [
        (1, "S2", "start"),  # S1 has not started
        (2, "S4", "start"),  # needs nothing
        (3, "S1", "start"),
        (4, "S1", "complete"),
        (5, "S2", "complete"),
        (6, "S3", "start"),
        (7, "S1", "reopen"),  # needs nothing itself
        (8, "S3", "complete"),
        (9, "S3", "reopen"),  # S1 is in progress again: not a direct predecessor
    ]
    assert find_order_violations(episode, moves) == [(1, "S2", "violation"), (9, "S3", "violation")]


@pytest.mark.parametrize("first", [0, 1])
def test_find_order_violations_order_within_frame_is_irrelevant(first):
    episode = procedure()
    together = [(4, "S1", "complete"), (4, "S2", "start")]
    moves = [(1, "S1", "start"), together[first], together[1 - first]]
    assert find_order_violations(episode, moves) == []


def test_order_violation_f1_by_hand():
    # the person boils at 5 s and serves at 50 s without ever chopping
    episode = procedure(("S2", 5.0, 10.0), ("S3", 50.0, 55.0), frames=100)
    near = predict(episode, (), [(35, "S2", "start"), (40, "S4", "start"), (85, "S3", "start")])
    # 30 s and 35 s late
    assert procedure_values(near)["order_violation_f1"] == pytest.approx(2 * 1 / (2 + 2))
    assert procedure_values(near)["order_violations_per_episode"] == 2.0


def test_order_violation_f1_other_step_is_no_hit():
    episode = procedure(("S2", 5.0, 10.0))
    assert procedure_values(predict(episode, (), [(5, "S3", "start")]))["order_violation_f1"] == 0.0


def test_order_violation_f1_without_edges_is_undefined():
    values = procedure_values(predict(procedure(("S2", 5.0, 10.0), task=UNORDERED)))
    assert values["order_violation_f1"] is None
    assert values["order_violations_per_episode"] is None


def test_choose_plan_step_waits_for_predecessors():
    episode = procedure()
    state = DialogState.initial(SOUP)
    assert choose_plan_step(episode, state) == "S4"
    state = state.apply("S4", "start", 1.0)
    assert choose_plan_step(episode, state) == "S1"
    state = state.apply("S1", "start", 2.0)
    assert choose_plan_step(episode, state) is None
    state = state.apply("S1", "complete", 3.0)
    assert choose_plan_step(episode, state) == "S2"


def test_next_step_accuracy_entries_by_hand():
    episode = procedure(("S1", 3.0, 5.0), ("S2", 6.0, 9.0), ("S3", 12.0, 14.0), ("S4", 20.0, 22.0))
    entries = (
        PredictedNextStep(3, "S1"),  # on the frame of the start: too late
        PredictedNextStep(4, "S2"),
        PredictedNextStep(11, "S3"),
        PredictedNextStep(19, "S1"),
    )
    assert procedure_values(predict(episode, next_steps=entries))["next_step_accuracy"] == pytest.approx(2 / 4)


def test_next_step_accuracy_plan_display_by_hand():
    episode = procedure(("S1", 3.0, 5.0), ("S2", 6.0, 9.0), ("S4", 12.0, 14.0), ("S3", 20.0, 22.0))
    moves = [(3, "S1", "start"), (5, "S1", "complete"), (6, "S2", "start"), (9, "S2", "complete")]
    # S1: expects S4, listed first. S2: expects S2. S4: expects S3. S3: expects S3
    assert procedure_values(predict(episode, (), moves))["next_step_accuracy"] == pytest.approx(2 / 4)


def test_next_step_accuracy_transition_on_start_frame_is_too_late():
    """The plan shows S2 only after S1 is completed, in a state of an earlier frame."""
    episode = procedure(("S2", 6.0, 9.0), task=Task("t", SOUP.steps[1:4:2], order_edges=(("S1", "S2"),)))
    early, late = ([(1, "S1", "start"), (frame, "S1", "complete")] for frame in (5, 6))
    assert procedure_values(predict(episode, (), early))["next_step_accuracy"] == 1.0
    assert procedure_values(predict(episode, (), late))["next_step_accuracy"] == 0.0


def test_next_step_accuracy_steps_on_one_frame_count_once():
    episode = procedure(("S1", 3.0, 5.0), ("S4", 3.0, 9.0))
    record = predict(episode, next_steps=(PredictedNextStep(0, "S4"),))
    assert procedure_values(record)["next_step_accuracy"] == 1.0


def test_next_step_accuracy_first_frame_and_reopened_steps_are_left_out():
    episode = procedure(("S4", 0.0, 2.0), ("S4", 6.0, 8.0))
    assert procedure_values(predict(episode))["next_step_accuracy"] is None


def test_next_step_accuracy_failed_episode_is_zero():
    # without the failure, the display of the plan would be right
    episode = procedure(("S4", 3.0, 5.0))
    assert procedure_values(predict(episode))["next_step_accuracy"] == 1.0
    assert procedure_values(predict(episode, status="failed", error="x"))["next_step_accuracy"] == 0.0


def test_skipped_step_f1_by_hand():
    episode = procedure(("S1", 1.0, 2.0), ("S2", 3.0, 4.0))
    # skipped are S3 and S4; the tracker misses S2 and invents S4
    record = predict(episode, (), [(1, "S1", "start"), (7, "S4", "start")])
    assert procedure_values(record)["skipped_step_f1"] == pytest.approx(2 * 1 / (2 + 2))


def test_skipped_step_f1_nothing_skipped_is_undefined():
    episode = procedure(("S1", 1.0, 2.0), task=Task("t", SOUP.steps[3:]))
    assert procedure_values(predict(episode, (), [(30, "S1", "start")]))["skipped_step_f1"] is None
    assert procedure_values(predict(episode))["skipped_step_f1"] == 0.0
