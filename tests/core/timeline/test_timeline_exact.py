"""Time and state exactly: complete messages, and every boundary tested on both sides."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prospect_core.timeline import DialogState, Episode, Event, Step, Task, TimelineError

TASK = Task("tea", (Step("S1", "boil"), Step("S2", "pour")))


def make(*events, start=0, end=20, fps=2, task=TASK, **more):
    return Episode("e", "v", fps, start, end, task, tuple(events), **more)


def moves(*changes):
    return tuple(Event(f"t{k}", time, "transition", step=s, change=c) for k, (time, s, c) in enumerate(changes))


def test_dialog_state_illegal_change_names_state():
    state = DialogState.initial(TASK).apply("S1", "start", 1)
    with pytest.raises(TimelineError, match=r"^S1->start at 2\.5 s is illegal: S1 is in_progress$"):
        state.apply("S1", "start", 2.5)
    with pytest.raises(TimelineError, match=r"^S9->start at 3 s is illegal: S9 is not a step of this task$"):
        state.apply("S9", "start", 3)


@pytest.mark.parametrize(
    ("episode", "problems"),
    [
        (make(fps=0), ["e: fps 0 must be above 0"]),
        (make(fps=-1), ["e: fps -1 must be above 0"]),
        (make(start=-1), ["e: frames -1..20 are empty or negative"]),
        (make(start=5, end=5), ["e: frames 5..5 are empty or negative"]),
        (make(start=4, end=5), []),
        (
            make(task=Task("tea", (Step("S1", "a"), Step("S1", "b")))),
            ["e: step id 'S1' appears twice"],
        ),
        (
            make(initial=DialogState(("S1",), ("not_started",))),
            ["e: the initial state names steps ('S1',), the task has ('S1', 'S2')"],
        ),
        (
            make(Event("u", 1, "user", "hi"), Event("u", 2, "user", "ho")),
            ["e: event id 'u' appears twice"],
        ),
        (
            make(*moves((1, "S1", "start"), (2, "S2", "complete"), (3, "S1", "start"), (4, "S1", "complete"))),
            ["e: S2->complete at 2 s is illegal: S2 is not_started", "e: S1->start at 3 s is illegal: S1 is in_progress"],
        ),
        (
            make(Event("t", 1, "transition", step="S1", change="begin")),
            ["e: event t (S1->begin) at 1 s needs a change out of start, complete, reopen"],
        ),
        (
            make(Event("t", 1, "transition", step="S7", change="start")),
            ["e: event t (S7->start) at 1 s names step 'S7'; the task has S1, S2"],
        ),
        (
            make(Event("t", 1, "transition", step="S7", change="start"), task=Task("rest")),
            ["e: event t (S7->start) at 1 s names step 'S7'; the task has none"],
        ),
        (
            make(Event("a", 1, "assistant", "now", frame=20), file_order=True),
            ["e: event a (assistant 'now') at 1 s names frame 20, outside 0..19"],
        ),
        (make(Event("a", 1, "assistant", "now", frame=19), file_order=True), []),
        (
            # the turn is read after the last frame, so no decision follows it
            make(Event("u", 9.5, "user", "wait"), Event("a", 9.75, "assistant", "yes")),
            [
                "e: assistant 'yes' at 9.75 s comes after the last frame 19"
                " (a user turn needs a later frame)"
            ],
        ),
    ],
)  # fmt: skip
def test_episode_problem_messages_are_exact(episode, problems):
    assert episode.problems() == problems


def test_episode_repeated_ids_are_reported():
    task = Task("tea", (Step("S1", "a"), Step("S1", "b")))
    episode = make(Event("u", 1, "user", "hi"), Event("u", 2, "user", "ho"), task=task)
    assert episode.problems() == ["e: step id 'S1' appears twice", "e: event id 'u' appears twice"]
    with pytest.raises(TimelineError, match=r"^e: step id 'S1' appears twice \(and 1 more\)$"):
        episode.validate()
    three = make(Event("u", 1, "user", "hi"), Event("u", 2, "user", " "), task=task)
    with pytest.raises(TimelineError, match=r"\(and 2 more\)$"):
        three.validate()
    with pytest.raises(TimelineError, match=r"^e: fps 0 must be above 0$"):
        make(fps=0).validate()
    sound = make()
    assert sound.validate() is sound


def test_episode_states_by_change_has_one_entry_per_frame():
    episode = make(*moves((3, "S1", "start"), (3, "S1", "complete"), (4, "S2", "start")), start=4)
    blank = DialogState.initial(TASK)
    done = blank.apply("S1", "start", 3).apply("S1", "complete", 3)
    assert episode.states_by_change() == [(3, blank), (6, done), (8, done.apply("S2", "start", 4))]
    assert episode.states_by_change(until=7) == [(3, blank), (6, done)]
    assert episode.states_by_change(until=8)[-1][0] == 8
    # the time of a completion is that of its decision frame
    late = make(*moves((3.2, "S1", "start"), (3.2, "S1", "complete")))
    assert late.state_at(7).completions == (("S1", 3.5),)


def test_episode_window_keeps_frames_and_order():
    episode = make(*moves((3, "S1", "start"), (4, "S1", "complete")), start=2, end=20)
    clip = episode.window(7, 8)
    assert (clip.start_frame, clip.end_frame, clip.file_order, clip.events) == (7, 8, True, ())
    assert clip.initial["S1"] == "in_progress"
    assert episode.window(2, 20).end_frame == 20
    for start, end in ((7, 7), (8, 7), (1, 5), (5, 21)):
        with pytest.raises(TimelineError, match=rf"^e: window {start}\.\.{end} is not inside frames 2\.\.20$"):
            episode.window(start, end)
    assert replace(clip, file_order=False) != clip
