"""Occurrences of steps, mistakes, task graphs and substeps of an episode."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prospect_core.data.formats.proassist import episode_from_proassist_row, episode_to_proassist_row
from prospect_core.records import SCHEMA, EpisodeRecord, Knobs, PredictedMistake, PredictedNextStep
from prospect_core.timeline import (
    Episode,
    Mistake,
    Step,
    StepOccurrence,
    Task,
    exact_fraction,
    frame_ceil,
    make_occurrence_transitions,
)
from prospect_core.util.json_io import dump_json, load_json

TASK = Task(
    "make tea",
    (Step("S1", "boil water"), Step("S2", "fill the cup"), Step("S3", "add sugar")),
    order_edges=(("S1", "S2"),),
    substeps=(Step("B1", "take the kettle"),),
)
OCCURRENCES = (
    StepOccurrence("o1", "S1", 1.0, 4.0, text="boils water"),
    StepOccurrence("o2", "B1", 1.0, 2.0, part_of="o1"),
    StepOccurrence("o3", "S2", 3.0, 6.0),
    StepOccurrence("o4", "S1", 7.0, 8.5, continues="o1"),
)
MISTAKES = (Mistake("m1", "Order Error", "S2", (3.0, 6.0)), Mistake("m2", "Missing Step", "S3"))


def make(occurrences=OCCURRENCES, mistakes=MISTAKES, task=TASK, events=None, frames=20, **more):
    if events is None:
        events = make_occurrence_transitions(item for item in occurrences if item.step in task.step_ids)
    return Episode("e", "v.mp4", 2, 0, frames, task, events, occurrences=occurrences, mistakes=mistakes, **more)


def test_make_occurrence_transitions_hand_computed():
    """S1 is interrupted and resumed, S2 overlaps it, S3 is skipped; the substep makes no transition."""
    episode = make()
    assert episode.problems() == []
    assert [(e.time, e.step, e.change) for e in episode.events] == [
        (1.0, "S1", "start"),
        (3.0, "S2", "start"),
        (4.0, "S1", "complete"),
        (6.0, "S2", "complete"),
        (7.0, "S1", "reopen"),
        (8.5, "S1", "complete"),
    ]
    assert episode.state_at(7).states == ("in_progress", "in_progress", "not_started")
    assert episode.state_at(12).states == ("completed", "completed", "not_started")
    assert episode.state_at(14).states == ("in_progress", "completed", "not_started")
    assert episode.state_at(19).states == ("completed", "completed", "not_started")


def test_make_occurrence_transitions_same_step_overlapping_is_joined_and_touching_is_not():
    spans = [(0.0, 2.0), (1.0, 3.0), (3.0, 4.0), (5.0, 5.0)]
    events = make_occurrence_transitions(StepOccurrence(f"o{k}", "S1", a, b) for k, (a, b) in enumerate(spans))
    assert [(e.time, e.change) for e in events] == [
        (0.0, "start"), (3.0, "complete"), (3.0, "reopen"), (4.0, "complete"), (5.0, "reopen"), (5.0, "complete"),
    ]  # fmt: skip


TIMES = st.integers(0, 200).map(lambda tenths: tenths / 10)


@st.composite
def occurrence_episodes(draw):
    """Episodes with random occurrences of three steps."""
    spans = draw(st.lists(st.tuples(st.sampled_from(TASK.step_ids), TIMES, TIMES), max_size=9))
    spans = sorted((min(a, b), max(a, b), step) for step, a, b in spans)
    fps = draw(st.sampled_from([1, 2, 2.5, 10]))
    occurrences = tuple(StepOccurrence(f"o{k}", step, a, b) for k, (a, b, step) in enumerate(spans))
    made = make(occurrences, mistakes=(), frames=int(20 * fps) + 1)
    return replace(made, fps=fps).validate()


@given(occurrence_episodes())
def test_episode_state_at_every_frame_follows_rule(episode):
    """The state that replays transitions equals the state read off the occurrences, which uses only the past."""
    for frame in range(episode.end_frame):
        state = episode.state_at(frame)
        for step in TASK.step_ids:
            spans = [
                (frame_ceil(o.start, episode.fps), frame_ceil(o.end, episode.fps))
                for o in episode.occurrences
                if o.step == step
            ]
            begun = [span for span in spans if span[0] <= frame]
            is_open = any(last > frame for _, last in begun)
            assert state[step] == ("in_progress" if is_open else "completed" if begun else "not_started")


@given(occurrence_episodes(), st.data())
def test_episode_state_at_does_not_depend_on_future(episode, data):
    cut = data.draw(st.integers(0, episode.end_frame - 1))
    past = tuple(
        replace(o, end=min(o.end, 30.0)) if frame_ceil(o.end, episode.fps) <= cut else replace(o, end=25.0)
        for o in episode.occurrences
        if frame_ceil(o.start, episode.fps) <= cut
    )
    longer = replace(make(past, mistakes=(), frames=int(30 * episode.fps)), fps=episode.fps).validate()
    assert longer.state_at(cut).states == episode.state_at(cut).states


@given(occurrence_episodes(), st.data())
def test_episode_windows_lose_no_occurrence(episode, data):
    cut = data.draw(st.integers(1, episode.end_frame - 1))
    clips = [episode.window(0, cut).validate(), episode.window(cut, episode.end_frame).validate()]
    kept = {item.id for clip in clips for item in clip.occurrences}
    assert kept == {item.id for item in episode.occurrences}
    for clip in clips:
        for item in episode.occurrences:
            frames = episode.span_frames((item.start, item.end))
            inside = any(clip.start_frame <= frame < clip.end_frame for frame in frames)
            assert (item in clip.occurrences) == inside


def test_episode_window_keeps_mistake_without_time_in_last_clip():
    episode = make()
    assert [m.id for m in episode.window(0, 10).mistakes] == ["m1"]
    assert [m.id for m in episode.window(10, 20).mistakes] == ["m1", "m2"]
    assert [m.id for m in episode.window(13, 20).mistakes] == ["m2"]


def test_episode_span_frames_begin_and_end_where_transitions_are_decided():
    episode = make()
    assert episode.span_frames((3.0, 6.0)) == range(6, 13)
    assert episode.span_frames((2.9, 3.1)) == range(6, 8)
    assert episode.span_frames((99.0, 99.0)) == range(19, 20)


def test_episode_with_occurrences_round_trips():
    episode = make()
    assert load_json(Episode, dump_json(episode), "here") == episode
    clip = episode.window(4, 11)
    assert load_json(Episode, dump_json(clip), "here") == clip


def test_episode_without_occurrences_has_no_new_keys():
    text = dump_json(Episode("e", "v", 2, 0, 20, Task("t", (Step("S1", "a"),))))
    assert not any(f'"{name}"' in text for name in ("occurrences", "mistakes", "order_edges", "substeps"))


def test_proassist_row_keeps_occurrences_and_mistakes():
    episode = make(recording="r")
    assert episode_from_proassist_row(episode_to_proassist_row(episode)) == episode


def test_task_find_predecessors_is_transitive():
    task = Task("t", tuple(Step(f"S{k}", "x") for k in range(4)), order_edges=(("S0", "S1"), ("S1", "S2")))
    assert task.find_predecessors() == {"S0": (), "S1": ("S0",), "S2": ("S0", "S1"), "S3": ()}


@pytest.mark.parametrize(
    ("episode", "problem"),
    [
        (make(task=replace(TASK, order_edges=(("S1", "S9"),))), "an order edge names step 'S9'"),
        (make(task=replace(TASK, order_edges=(("S1", "S2"), ("S2", "S1")))), "the order edges form a cycle"),
        (make(task=replace(TASK, substeps=(Step("S1", "x"), Step("B1", "y")))), "step id 'S1' appears twice"),
        (make((replace(OCCURRENCES[0], step="S9"),), events=()), "names no step of the task"),
        (make((replace(OCCURRENCES[0], end=0.5),), events=()), "needs 0 <= start <= end"),
        (make((replace(OCCURRENCES[0], part_of="x"),)), "only occurrences of substeps are"),
        (make((replace(OCCURRENCES[1], part_of="o9"), replace(OCCURRENCES[1], id="o9"))), "is no occurrence of a step"),
        (make((OCCURRENCES[0], replace(OCCURRENCES[2], continues="o3"))), "which does not start before it"),
        (make((OCCURRENCES[2], OCCURRENCES[0])), "occurrences are not ordered by start"),
        (make((OCCURRENCES[0], replace(OCCURRENCES[1], id="o1"))), "occurrence id 'o1' appears twice"),
        (make(events=make().events[:-1]), "S1 has the transitions start, complete, reopen; its occurrences give"),
        (make(mistakes=(MISTAKES[1], MISTAKES[0])), "mistakes are not ordered by start"),
        (make(mistakes=(replace(MISTAKES[0], step="S9"),)), "names step 'S9'"),
        (make(mistakes=(replace(MISTAKES[0], span=(6.0, 3.0)),)), "give 0 <= start <= end"),
        (make(mistakes=(replace(MISTAKES[0], tag=" "),)), "has no tag"),
    ],
)  # fmt: skip
def test_episode_procedure_problem_is_reported(episode, problem):
    assert any(problem in found for found in episode.problems()), episode.problems()


def test_record_with_mistakes_and_next_steps_round_trips():
    record = EpisodeRecord(
        SCHEMA, "m", Knobs(), make(), mistake_prob=(0.5,) * 20,
        mistakes=(PredictedMistake(7, "S2", "Order Error"),), next_steps=(PredictedNextStep(0, "S1"),),
    )  # fmt: skip
    assert record.problems() == []
    assert load_json(EpisodeRecord, dump_json(record), "here") == record
    plain = dump_json(replace(record, mistake_prob=(), mistakes=(), next_steps=(), episode=make(mistakes=())))
    assert not any(f'"{name}"' in plain for name in ("mistake_prob", "mistakes", "next_steps"))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"mistakes": (PredictedMistake(7, "S9"),)}, "names step 'S9'"),
        ({"mistakes": (PredictedMistake(20),)}, "mistakes lie outside frames 0..19"),
        ({"next_steps": (PredictedNextStep(3, "S1"), PredictedNextStep(2, "S2"))}, "next_steps are not in order"),
        ({"mistake_prob": (0.5,)}, "mistake_prob has 1 entries for 20 frames"),
        ({"mistake_prob": (1.5,) * 20}, "mistake_prob holds 1.5"),
    ],
)
def test_record_mistake_problem_is_reported(changes, problem):
    (found,) = EpisodeRecord(SCHEMA, "m", Knobs(), make(), **changes).problems()
    assert problem in found


@given(st.lists(TIMES, min_size=2, max_size=2))
def test_episode_span_frames_of_clamped_times_lie_in_episode(times):
    frames = make(frames=10).span_frames((min(times), max(times)))
    assert 0 <= frames[0] <= frames[-1] <= 9
    assert exact_fraction(frames[0]) <= max(exact_fraction(min(times)) * 2 + 1, 0)
