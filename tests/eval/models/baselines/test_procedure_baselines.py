"""Blind schedules of procedures and observers without memory: by hand, legal, repeatable, blind."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prospect_core.timeline import Mistake, Step, Task
from prospect_core.util.errors import UserError
from prospect_eval.metrics.base import Scored
from prospect_eval.metrics.states import state_head_jga_counts, state_jga_counts
from prospect_eval.models.baselines.procedure_baselines import PROCEDURE_BASELINES, make_procedure_baseline
from prospect_eval.models.baselines.procedure_prior import make_procedure_priors
from prospect_eval.models.baselines.recent_observer import recent_observer, recent_observer_beliefs
from prospect_eval.models.baselines.semi_markov import simulate_semi_markov_courses
from tests.helpers.predictions import TOOLS
from tests.helpers.random_episodes import episodes
from tests.helpers.tea_recordings import OTHER_TEA, TEA, record_steps, tea_recordings

BLIND = [name for name, about in PROCEDURE_BASELINES.items() if about.sees == "nothing"]


def predict(name, episode, training=None):
    priors = make_procedure_priors(tea_recordings() if training is None else training, [episode])
    record = make_procedure_baseline(name, priors)(episode)
    assert record.problems() == []
    assert record.model == f"baseline:{name}"
    return record


def changes(record):
    return [(item.frame, item.step, item.change) for item in record.transitions]


def next_steps(record):
    return [(item.frame, item.step) for item in record.next_steps]


def mistakes(record):
    return [(item.frame, item.step, item.tag) for item in record.mistakes]


def test_mean_schedule_follows_means_of_recordings():
    """First start 15 s; boiling lasts 30 s, pouring 20 s, drinking 10 s; each gap is 30 s."""
    record = predict("mean_schedule", record_steps("e", TEA, []))
    assert changes(record) == [
        (15, "S1", "start"), (45, "S1", "complete"), (45, "S2", "start"), (65, "S2", "complete"),
        (75, "S3", "start"), (85, "S3", "complete"),
    ]  # fmt: skip
    assert next_steps(record) == [(0, "S1"), (15, "S2"), (45, "S3")]
    assert mistakes(record) == [(30, "S1", "Timing Error"), (55, "S2", "Order Error")]
    expected = [0.0] * 15 + [1.0] * 30 + [0.5] * 20 + [0.0] * 55
    assert list(record.mistake_prob) == expected


def test_mean_schedule_frames_follow_rate_and_order_of_steps():
    record = predict("mean_schedule", record_steps("e", OTHER_TEA, [], fps=2, frames=100))
    assert changes(record) == [(30, "C", "start"), (90, "C", "complete"), (90, "B", "start")]
    assert next_steps(record) == [(0, "C"), (30, "B")]


def test_mean_schedule_rare_step_is_skipped():
    first, second = tea_recordings()
    record = predict("mean_schedule", record_steps("e", TEA, []), [first, replace(first, id="third"), second])
    assert [step for _, step, change in changes(record) if change == "start"] == ["S1", "S2"]


def test_mean_schedule_started_steps_are_skipped():
    clip = record_steps("e", TEA, [("S1", 0, 20)], frames=200).window(60, 200)
    assert [step for _, step, change in changes(predict("mean_schedule", clip)) if change == "start"] == ["S2", "S3"]


def test_mean_schedule_without_mistakes_has_no_probabilities():
    training = [replace(episode, mistakes=()) for episode in tea_recordings()]
    record = predict("mean_schedule", record_steps("e", TEA, []), training)
    assert (record.mistakes, record.mistake_prob) == ((), ())


def test_always_mistake_reports_start_of_every_step():
    record = predict("always_mistake", record_steps("e", TEA, []))
    assert mistakes(record) == [(15, "S1", "Timing Error"), (45, "S2", "Order Error"), (75, "S3", "Timing Error")]
    assert set(record.mistake_prob) == {1.0}
    assert record.transitions == ()


def test_graph_walk_follows_order_edges():
    """B and C need A; D needs both. A step starts after its predecessors are completed."""
    edges = (("A", "B"), ("A", "C"), ("B", "D"), ("C", "D"))
    task = Task("t", tuple(Step(step, step) for step in "DCBA"), order_edges=edges)
    training = [record_steps("r", task, [("A", 0, 9), ("B", 5, 20), ("C", 8, 40), ("D", 60, 70)])]
    orders = set()
    for number in range(60):
        found = changes(predict("graph_walk", record_steps(f"e{number}", task, [], frames=900), training))
        times = {(step, change): frame for frame, step, change in found}
        for before, after in edges:
            assert times[before, "complete"] <= times[after, "start"]
        orders.add("".join(step for _, step, change in found if change == "start"))
    assert orders == {"ABCD", "ACBD"}


def test_graph_walk_without_edges_reaches_every_order():
    orders = set()
    for number in range(80):
        record = predict("graph_walk", record_steps(f"e{number}", TEA, [], frames=900))
        orders.add(tuple(step for _, step, change in changes(record) if change == "start"))
        assert next_steps(record)[0] == (0, next(iter(changes(record)))[1])
    assert len(orders) == 6


def test_semi_markov_single_recording_is_repeated():
    """All courses are equal, so the states are those of the recording."""
    recording = record_steps("r", TEA, [("S2", 7, 20), ("S1", 15, 31), ("S3", 40, 60)])
    record = predict("semi_markov_schedule", record_steps("e", TEA, []), [recording])
    assert changes(record) == recording.transitions()
    assert next_steps(record) == [(0, "S2"), (7, "S1"), (15, "S3")]
    assert set(np.unique(record.state_probs)) == {0.0, 1.0}


def test_semi_markov_state_probabilities_are_shares_of_courses():
    """A step starts at 0 s and lasts 10 or 30 s, and is done in two of three recordings."""
    task = Task("t", (Step("S1", "stir"),))
    training = [record_steps(f"r{end}", task, [("S1", 0, end)]) for end in (10, 30)]
    training.append(record_steps("idle", task, []))
    probabilities = np.array(predict("semi_markov_schedule", record_steps("e", task, []), training).state_probs)
    assert probabilities.sum(-1) == pytest.approx(1)
    # of 400 courses, the standard deviation of a share is at most 0.025
    for frame, expected in [(5, [1 / 3, 2 / 3, 0]), (15, [1 / 3, 1 / 3, 1 / 3]), (50, [1 / 3, 0, 2 / 3])]:
        assert probabilities[frame, 0] == pytest.approx(expected, abs=0.1)


def test_semi_markov_reports_likely_mistake():
    training = [record_steps("r", TEA, [("S1", 10, 30)], mistakes=[Mistake("M", "Timing Error", "S1", (10, 30))])]
    record = predict("semi_markov_schedule", record_steps("e", TEA, []), training)
    assert mistakes(record) == [(20, "S1", "Timing Error")]
    assert [frame for frame, p in enumerate(record.mistake_prob) if p == 1] == list(range(10, 30))


def test_semi_markov_courses_respect_initial_state():
    recording = record_steps("r", TEA, [("S1", 0, 10), ("S2", 20, 31), ("S3", 40, 60)])
    prior = make_procedure_priors([recording], []).learn_for(recording).of_task(TEA)
    courses = simulate_semi_markov_courses(prior, ("completed", "in_progress", "not_started"), seed=1, count=5)
    assert courses.starts_s.tolist() == [[-1, -1, 0]] * 5
    assert courses.ends_s.tolist() == [[-1, 11, 20]] * 5


def test_semi_markov_long_episode_takes_less_than_a_second():
    task = Task("t", tuple(Step(f"S{k}", f"step {k}") for k in range(20)))
    training = [
        record_steps(f"r{n}", task, [(f"S{k}", 80 * k + 3 * n, 80 * k + 60) for k in range(20)], frames=1800)
        for n in range(10)
    ]
    begin = time.process_time()
    predict("semi_markov_schedule", record_steps("e", task, [], frames=1800), training)
    assert time.process_time() - begin < 2  # 0.2 s where nothing else runs


def test_recent_observer_forgets_after_its_seconds():
    """Boiled at 10..30 and 33..34 s, seen for 5 s after each end."""
    episode = record_steps("e", TEA, [("S1", 10, 30), ("S1", 33, 34), ("S2", 115, 118)])
    believed = recent_observer_beliefs(episode, 5)
    assert believed[:, 0].tolist() == [0] * 10 + [1] * 20 + [2] * 3 + [1] + [2] * 5 + [0] * 81
    assert believed[:, 1].tolist() == [0] * 115 + [1] * 3 + [2] * 2
    assert not believed[:, 2].any()


def test_recent_observer_belief_forgets_and_tracker_remembers():
    episode = record_steps("e", TEA, [("S1", 10, 30)])
    scored = Scored(recent_observer("recent_observer_10s", 10)(episode), TOOLS)
    # the belief is right before 40 s: 40 of 120 frames
    assert state_head_jga_counts(scored)[0] == pytest.approx(40 / 120)
    assert state_jga_counts(scored)[0] == 1


def test_recent_observer_does_not_see_completion_before_clip():
    clip = record_steps("e", TEA, [("S1", 0, 20), ("S2", 10, 90)]).window(60, 120)
    believed = recent_observer_beliefs(clip, 60)
    assert not believed[:, 0].any()
    assert believed[:, 1].tolist() == [1] * 30 + [2] * 30


def test_make_procedure_baseline_unknown_name_raises():
    with pytest.raises(UserError, match="mean_schedule"):
        make_procedure_baseline("mean_schedul", make_procedure_priors((), ()))


@pytest.mark.parametrize("name", PROCEDURE_BASELINES)
def test_procedure_baseline_is_repeatable(name):
    episode = record_steps("e", TEA, [("S1", 10, 30)])
    assert predict(name, episode) == predict(name, episode)


@pytest.mark.parametrize("name", PROCEDURE_BASELINES)
def test_procedure_baseline_nothing_to_learn_predicts_nothing(name):
    record = predict(name, record_steps("e", TEA, []), [])
    assert (record.transitions, record.next_steps, record.mistakes) == ((), (), ())


@pytest.mark.parametrize("name", BLIND)
@pytest.mark.parametrize("has_training", [True, False])
def test_blind_baseline_ignores_reference_of_episode(name, has_training):
    others = tea_recordings()
    one = record_steps("e", TEA, [("S1", 10, 30), ("S2", 40, 60)], mistakes=[Mistake("M", "Other", "S2", (40, 60))])
    two = record_steps("e", TEA, [("S3", 3, 90)])
    records = []
    for episode in (one, two):
        priors = make_procedure_priors(others if has_training else (), [episode, *others])
        records.append(replace(make_procedure_baseline(name, priors)(episode), episode=one))
    assert records[0] == records[1]


@given(st.lists(episodes(), min_size=1, max_size=4), st.booleans(), st.data())
@settings(max_examples=60, deadline=None)
def test_procedure_baselines_random_episode_makes_legal_record(drawn, has_training, data):
    others = [replace(episode, id=f"e{k}", video=f"v{k}") for k, episode in enumerate(drawn)]
    episode = others[0]
    if data.draw(st.booleans()):
        start = data.draw(st.integers(episode.start_frame, episode.end_frame - 1))
        episode = episode.window(start, data.draw(st.integers(start + 1, episode.end_frame)))
    priors = make_procedure_priors(others[1:] if has_training else (), [episode, *others[1:]])
    for name in PROCEDURE_BASELINES:
        assert make_procedure_baseline(name, priors)(episode).problems() == []
