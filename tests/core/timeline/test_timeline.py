"""Time and state: exact decision frames, legal states, windows."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prospect_core.timeline import (
    DialogState,
    Episode,
    Event,
    Step,
    Task,
    TimelineError,
    frame_ceil,
    frame_floor,
)
from tests.helpers.random_episodes import episodes

TASK = Task("tea", (Step("S1", "boil"), Step("S2", "pour")))


def make(*events, frames=20, fps=2, **more):
    return Episode("e", "v", fps, 0, frames, TASK, tuple(events), **more)


def transition(id_, time, step, change):
    return Event(id_, time, "transition", step=step, change=change)


@pytest.mark.parametrize(
    ("time", "fps", "floor", "ceil"),
    [
        (0.7, 10, 7, 7),
        (1.1, 10, 11, 11),
        (0.0, 2, 0, 0),
        (7.9, 2, 15, 16),
        (0.1 + 0.2, 10, 3, 4),
        (3600, 29.97, 107892, 107892),
    ],
)
def test_frame_floor_and_ceil_are_exact(time, fps, floor, ceil):
    assert (frame_floor(time, fps), frame_ceil(time, fps)) == (floor, ceil)


def test_episode_decision_frames_by_hand():
    episode = make(
        Event("u", 1.2, "user", "hello"),
        Event("a", 1.3, "assistant", "hi"),
        transition("d", 3.2, "S1", "start"),
        transition("c", 4.0, "S1", "complete"),
        Event("b", 4.0, "assistant", "good"),
        Event("f", 9.9, "assistant", "bye"),
    ).validate()
    # the reply's time is on the user's frame 2, so it is decided on frame 3; 3.2 s is first visible
    # on frame 7
    assert [(d.event.id, d.frame) for d in episode.decisions()] == [
        ("u", 2), ("a", 3), ("d", 7), ("c", 8), ("b", 8), ("f", 19),
    ]  # fmt: skip


def test_episode_two_turns_on_frame_are_one_utterance():
    episode = make(Event("a", 1.0, "assistant", "Good."), Event("b", 1.2, "assistant", "Next."))
    (utterance,) = episode.utterances()
    assert (utterance.frame, utterance.text, utterance.ids) == (2, "Good. Next.", ("a", "b"))


def test_episode_decisions_follow_user_turn():
    episode = make(Event("u", 5.0, "user", "x"), transition("d", 5.0, "S1", "start"), Event("a", 5.0, "assistant", "y"))
    assert [d.frame for d in episode.validate().decisions()] == [10, 11, 11]


def test_episode_user_turn_after_last_frame_raises():
    assert "after the last frame" in make(Event("u", 10.0, "user", "x")).problems()[0]


def test_episode_reply_after_last_frame_raises():
    episode = make(Event("u", 9.5, "user", "x"), Event("a", 9.6, "assistant", "y"))
    assert "after the last frame" in episode.problems()[0]


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (transition("d", 3.0, "S1", "complete"), "S1->complete at 3 s is illegal: S1 is not_started"),
        (transition("d", 3.0, "S9", "start"), "names step 'S9'"),
        (transition("d", 33.0, "S1", "start"), "lies outside the episode's 0..10 s"),
        (Event("a", 1.0, "assistant", "  "), "has no text"),
        (Event("a", 1.0, "assistant", "x", step="S1"), "must not name a step"),
        (Event("a", 1.0, "assistant", "x", frame=20), "names frame 20"),
    ],
)
def test_episode_illegal_annotation_raises(event, message):
    (problem,) = make(event).problems()
    assert message in problem
    with pytest.raises(TimelineError, match=r"^e: "):
        make(event).validate()


def test_episode_unordered_or_repeated_raises():
    a, b = Event("a", 2.0, "assistant", "x"), Event("a", 1.0, "assistant", "y")
    problems = make(a, b).problems()
    assert any("event id 'a' appears twice" in p for p in problems)
    assert any("not ordered" in p for p in problems)
    assert not any("not ordered" in p for p in make(a, b, file_order=True).problems())


def test_episode_without_steps_is_legal():
    episode = Episode("e", "v", 2, 0, 5, Task("watch"), (Event("a", 1.0, "assistant", "hi"),)).validate()
    assert episode.state_at(4) == DialogState((), ())


def test_dialog_state_completions_keep_order_and_time():
    episode = make(
        transition("1", 1.0, "S2", "start"), transition("2", 2.0, "S2", "complete"), transition("3", 3.0, "S1", "start"),
        transition("4", 4.0, "S1", "complete"), transition("5", 5.0, "S2", "reopen"),
    ).validate()  # fmt: skip
    assert episode.state_at(8).completions == (("S2", 2.0), ("S1", 4.0))
    assert episode.state_at(10).completions == (("S1", 4.0),)
    assert episode.state_at(10)["S2"] == "in_progress"


def test_dialog_state_changes_to_splits_jump():
    state = DialogState(("S1", "S2", "S3"), ("not_started", "completed", "in_progress"))
    assert state.changes_to(["completed", "not_started", "in_progress"]) == [
        ("S1", "completed", ("start", "complete")),
        ("S2", "not_started", ()),
    ]


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("not_started", "in_progress", ("start",)),
        ("not_started", "completed", ("start", "complete")),
        ("in_progress", "completed", ("complete",)),
        ("completed", "in_progress", ("reopen",)),
        ("in_progress", "not_started", ()),
        ("completed", "not_started", ()),
    ],
)
def test_dialog_state_changes_to_any_state(old, new, changes):
    state = DialogState(("S1", "S2"), (old, "completed"))
    assert state.changes_to((new, "completed")) == [("S1", new, changes)]
    assert state.changes_to((old, "completed")) == []
    assert state.path_to((new, "completed")) == [("S1", change) for change in changes]
    assert state.path_to((old, "completed")) == []
    # the changes lead to the target state
    for step, change in state.path_to((new, "completed")):
        state = state.apply(step, change, 1.0)
    assert state["S1"] == (new if changes else old)


def test_dialog_state_path_is_legal():
    state = DialogState(("S1", "S2", "S3"), ("not_started", "completed", "in_progress"))
    assert state.path_to(("completed", "not_started", "completed")) == [
        ("S1", "start"), ("S1", "complete"), ("S3", "complete"),
    ]  # fmt: skip
    for ask in (state.changes_to, state.path_to):
        with pytest.raises(ValueError, match="zip"):
            ask(("completed",))


def test_episode_responsive_at_first_frame():
    """A user turn on frame 0 is answered from frame 1 on, and only by the first reply."""
    episode = make(Event("u", 0.0, "user", "x"), Event("v", 4.0, "user", "y"), frames=60)
    assert episode.responsive([0, 1, 2]) == {1}
    assert episode.responsive([10]) == {10}
    assert episode.responsive([11, 12]) == {11}
    assert episode.responsive([8, 9]) == {8, 9}
    assert episode.responsive(iter([9, 8])) == {8, 9}


def test_episode_responsive_is_first_within_five_seconds():
    episode = make(Event("u", 2.0, "user", "x"), frames=60)
    assert episode.responsive([2, 5, 6]) == {5}
    assert episode.responsive([4]) == set()
    assert episode.responsive([14]) == {14}
    assert episode.responsive([15]) == set()


@given(episodes())
@settings(max_examples=150, deadline=None)
def test_episode_random_events_are_kept_in_order(episode):
    decisions = episode.decisions()
    assert [d.event.id for d in decisions] == [e.id for e in episode.events]
    blocked = -1
    for before, after in zip([None, *decisions], decisions, strict=False):
        assert episode.start_frame <= after.frame < episode.end_frame
        assert after.frame > blocked
        if before is not None:
            assert after.frame >= before.frame
        if after.event.kind == "user":
            blocked = after.frame
    for d in decisions:
        if d.event.kind == "transition" and d.frame < episode.end_frame - 1:
            assert d.frame >= frame_ceil(d.event.time, episode.fps)


@given(episodes(), st.data())
@settings(max_examples=100, deadline=None)
def test_episode_state_at_equals_replay(episode, data):
    cut = data.draw(st.integers(episode.start_frame, episode.end_frame - 1))
    window = episode.window(cut, episode.end_frame).validate()
    state = episode.initial_state
    for d in episode.decisions():
        if d.event.kind == "transition" and d.frame < cut:
            state = state.apply(d.event.step, d.event.change, d.frame / episode.fps)
    assert window.initial_state.states == state.states
    assert [s for s, _ in window.initial_state.completions] == [s for s, _ in state.completions]
    for frame in range(cut, episode.end_frame):
        assert window.state_at(frame) == episode.state_at(frame)


@given(episodes(), st.data())
@settings(max_examples=100, deadline=None)
def test_episode_windows_have_each_event_once(episode, data):
    cuts = sorted(data.draw(st.sets(st.integers(episode.start_frame + 1, episode.end_frame - 1), max_size=4)))
    edges = [episode.start_frame, *cuts, episode.end_frame]
    clips = [episode.window(a, b).validate() for a, b in pairwise(edges)]
    together = [(d.event.id, d.frame) for clip in clips for d in clip.decisions()]
    assert together == [(d.event.id, d.frame) for d in episode.decisions()]
    assert [poll for clip in clips for poll in clip.polls] == list(episode.polls)
    assert [clip.poll_frame(poll) for clip in clips for poll in clip.polls] == [
        episode.poll_frame(poll) for poll in episode.polls
    ]
    assert [interval.id for clip in clips for interval in clip.candidates] == [c.id for c in episode.candidates]


def test_episode_window_outside_raises():
    with pytest.raises(TimelineError, match="not inside"):
        make().window(5, 21)


@pytest.mark.parametrize("name", [field.name for field in fields(Episode)])
def test_episode_is_immutable(name):
    with pytest.raises(AttributeError):
        setattr(make(), name, None)


def test_episode_replace_gives_changed_episode():
    assert replace(make(), fps=3).fps == 3
