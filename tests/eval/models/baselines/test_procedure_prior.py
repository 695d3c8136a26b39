"""Priors of procedures: means by hand, steps by name, and fallbacks for unseen goals and steps."""

from __future__ import annotations

import numpy as np
import pytest

from prospect_core.timeline import Step, Task
from prospect_eval.models.baselines.procedure_prior import (
    ProcedurePrior,
    describe_procedure,
    make_procedure_priors,
    procedure_step_keys,
)
from tests.helpers.tea_recordings import OTHER_TEA, TEA, record_steps, tea_recordings


@pytest.fixture
def prior():
    return ProcedurePrior([describe_procedure(episode) for episode in tea_recordings()])


def test_task_prior_has_means_of_recordings(prior):
    tea = prior.of_task(TEA)
    assert [step.done_share for step in tea.steps] == [1, 1, 0.5]
    # ranks (k + 1/2) / n of 2 and of 3 steps
    assert [step.rank for step in tea.steps] == pytest.approx([(1 / 4 + 1 / 6) / 2, (3 / 4 + 1 / 2) / 2, 5 / 6])
    # the gap after the last step of a recording is its duration
    assert [step.runs.tolist() for step in tea.steps] == [[[20, 30], [40, 30]], [[10, 10], [30, 50]], [[10, 10]]]
    assert [step.duration_s for step in tea.steps] == [30, 20, 10]
    assert [step.gap_s for step in tea.steps] == [30, 30, 10]
    assert tea.first_starts_s.tolist() == [10, 20]
    assert tea.bigrams.tolist() == [[2, 0, 0], [0, 2, 0], [0, 0, 1], [0, 0, 0]]


def test_task_prior_counts_mistakes_with_time(prior):
    tea = prior.of_task(TEA)
    assert [step.mistake_rate for step in tea.steps] == [1, 0.5, 0]
    # a step without mistakes has the most frequent tag of all steps
    assert [step.mistake_tag for step in tea.steps] == ["Timing Error", "Order Error", "Timing Error"]


def test_task_prior_matches_steps_by_name(prior):
    tea, other = prior.of_task(TEA), prior.of_task(OTHER_TEA)
    assert [step.rank for step in other.steps] == [step.rank for step in reversed(tea.steps)]
    assert other.order == [2, 1, 0]


def test_task_prior_unseen_goal_uses_same_step_elsewhere(prior):
    soup = prior.of_task(Task("Make soup", (Step("S1", "pour the tea"), Step("S2", "cut onions"))))
    assert soup.steps[0].runs.tolist() == [[10, 10], [30, 50]]
    # an unseen step: all executions, the mean share of steps done (2/3 and 1), its place in the list
    assert sorted(soup.steps[1].runs[:, 0]) == [10, 10, 20, 30, 40]
    assert soup.steps[1].done_share == pytest.approx((2 / 3 + 1) / 2)
    assert soup.steps[1].rank == 0.75


def test_task_prior_same_goal_precedes_other_goals():
    soup = Task("Make soup", (Step("S1", "boil the water"),))
    episodes = [*tea_recordings(), record_steps("soup", soup, [("S1", 0, 90)])]
    prior = ProcedurePrior([describe_procedure(episode) for episode in episodes])
    assert prior.of_task(soup).steps[0].runs.tolist() == [[90, 90]]
    assert prior.of_task(TEA).steps[0].duration_s == 30


def test_task_prior_nothing_done_is_empty():
    idle = [describe_procedure(record_steps("idle", TEA, []))]
    for facts in ([], idle):
        assert ProcedurePrior(facts).of_task(TEA).steps == ()


def test_describe_procedure_repeated_and_open_steps():
    """Boiled twice; the pouring goes on at the end of the episode at 60 s."""
    facts = describe_procedure(record_steps("r", TEA, [("S1", 5, 10), ("S1", 20, 30), ("S2", 25, 99)]).window(0, 60))
    assert facts.order == ("boil the water", "boil the water", "pour the tea")
    assert facts.runs == {"boil the water": [(5, 15), (10, 5)], "pour the tea": [(35, 35)]}
    assert facts.ranks == {"boil the water": 0.25, "pour the tea": 0.75}
    assert facts.first_start_s == 5


def test_procedure_step_keys_equal_names_are_numbered():
    task = Task("t", (Step("S1", "Stir"), Step("S2", "pour"), Step("S3", "stir ")))
    assert procedure_step_keys(task) == ("stir", "pour", "stir #2")


def test_procedure_priors_without_training_leave_own_video_out():
    first, second = tea_recordings()
    priors = make_procedure_priors((), [first, second])
    assert priors.learn_for(first).of_task(TEA).steps[0].duration_s == 40
    assert priors.learn_for(second).of_task(TEA).steps[0].duration_s == 20
    assert np.array_equal(priors.learn_for(first).of_task(TEA).first_starts_s, [20])


def test_procedure_priors_with_training_ignore_evaluated_episodes():
    first, second = tea_recordings()
    priors = make_procedure_priors([first], [second])
    assert priors.learn_for(second).of_task(TEA).steps[0].duration_s == 20
