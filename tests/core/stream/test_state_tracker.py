"""The state tracker: debounced jumps, and one committed change of a kind per frame."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prospect_core.stream.state_tracker import JUMP_SECONDS, StateTracker
from prospect_core.timeline import STEP_STATES, DialogState

N, P, C = STEP_STATES


def seen(*states, sure=()):
    """Return probabilities of the given states, each with probability ``sure`` (default 0.9)."""
    rows = []
    for k, state in enumerate(states):
        p = sure[k] if sure else 0.9
        rows.append([p if state == other else (1 - p) / 2 for other in STEP_STATES])
    return np.array(rows)


def tracker(*states, fps=2):
    return StateTracker(DialogState(tuple(f"S{k}" for k in range(1, len(states) + 1)), states), fps)


@pytest.mark.parametrize(("fps", "frame"), [(1, 2), (2, 3), (8, 12), (30, 45)])
def test_state_tracker_lasting_jump_is_committed(fps, frame):
    stream = tracker(N, fps=fps)
    written = [stream.follow(k, seen(C))[0] for k in range(frame + 2)]
    assert written == [[]] * frame + [[("S1", "start"), ("S1", "complete")], []]
    assert stream.state.completions == (("S1", frame / fps),)


def test_state_tracker_interrupted_jump_restarts():
    stream = tracker(N)
    # on frame 2 no update was due, on frame 5 the state was not_started
    for frame, state in [(0, C), (1, C), (2, None), (3, C), (4, C), (5, N), (6, C), (7, C), (8, C)]:
        if state is None:
            stream.nothing_due()
        else:
            assert stream.follow(frame, seen(state)) == ([], [])
    assert stream.follow(9, seen(C))[0] == [("S1", "start"), ("S1", "complete")]


def test_state_tracker_jump_lasts_over_dropped_frames():
    """A live stream that is too slow skips frames, and starts are missed there."""
    stream = tracker(N)
    assert [bool(stream.follow(frame, seen(C))[0]) for frame in (0, 2, 4)] == [False, False, True]


def test_state_tracker_start_during_held_jump_is_committed():
    stream = tracker(N)
    assert stream.follow(0, seen(C)) == ([], [])
    assert stream.follow(1, seen(P))[0] == [("S1", "start")]
    assert stream.follow(2, seen(C))[0] == [("S1", "complete")]


def test_state_tracker_two_candidates_commits_more_probable():
    """At the completion of one step, a step with a similar name was also predicted as completed and
    committed.
    """
    stream = tracker(P, P, N)
    assert stream.follow(7, seen(C, C, C, sure=(0.6, 0.8, 0.99)))[0] == [("S2", "complete")]
    # with this update in the context, the other states are predicted correctly
    assert stream.follow(8, seen(P, C, N)) == ([], [])
    stream = tracker(N, N)
    assert stream.follow(0, seen(P, P, sure=(0.7, 0.6)))[0] == [("S1", "start")]
    assert stream.follow(1, seen(P, P, sure=(0.7, 0.6)))[0] == [("S2", "start")]


def test_state_tracker_several_kinds_are_committed_together():
    stream = tracker(P, N, C, C)
    made, illegal = stream.follow(3, seen(C, P, P, N))
    assert made == [("S1", "complete"), ("S2", "start"), ("S3", "reopen")]
    assert illegal == [("S4", "not_started")]
    assert stream.state.states == (C, P, P, C)


@given(st.data())
def test_state_tracker_reaches_every_legal_state(data):
    """From any tracked state, every legally reachable state is reached, one legal change after
    another.
    """
    count = data.draw(st.integers(0, 5))
    states = st.lists(st.sampled_from(STEP_STATES), min_size=count, max_size=count)
    stream = tracker(*data.draw(states))
    truth = data.draw(states)
    before_that, long_enough = data.draw(st.lists(states, max_size=6)), int(JUMP_SECONDS * 2) + 2 * count + 2
    for frame, wish in enumerate([*before_that, *[truth] * long_enough]):
        before = stream.state
        made, illegal = stream.follow(frame, seen(*wish) if count else np.zeros((0, 3)))
        for step, change in made:
            before = before.apply(step, change, frame / 2)
        assert before == stream.state
        assert len({(step, change) for step, change in made}) == len(made)
        assert {step for step, _ in illegal}.isdisjoint(step for step, _ in made)
    for now, wanted in zip(stream.state.states, truth, strict=True):
        assert now == wanted or (wanted == N and now != N)
