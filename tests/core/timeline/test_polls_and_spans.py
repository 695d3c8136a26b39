"""Polls, candidate intervals, reply spans, links to questions and standing questions of an episode."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prospect_core.timeline import CandidateInterval, Episode, Event, Poll, Step, Task
from prospect_core.util.json_io import dump_json, load_json

TASK = Task("tidy up", (Step("S1", "put the cube away"),))
QUESTION = Event("q", 1.0, "user", "Tell me when the cube is red.", open_until=8.0)
ANSWER = Event("a", 4.0, "assistant", "It is red.", reply_span=(4.0, 6.5), answers_to="q", group="item 1")
POLL = Poll("p", 2.6, "Which colour?", ("red", "blue"), ("A",))


def make(*events, polls=(), candidates=(), start=0, frames=20):
    return Episode("e", "v", 2, start, start + frames, TASK, events, polls=tuple(polls), candidates=tuple(candidates))


def test_episode_with_polls_and_spans_round_trips():
    episode = make(QUESTION, ANSWER, polls=[POLL], candidates=[CandidateInterval("c", 0.0, 2.5)])
    assert episode.problems() == []
    assert load_json(Episode, dump_json(episode), "here") == episode


def test_episode_without_polls_has_no_new_keys():
    text = dump_json(make(Event("a", 4.0, "assistant", "Yes.")))
    for name in ("polls", "candidates", "reply_span", "answers_to", "group", "open_until"):
        assert f'"{name}"' not in text


def test_episode_standing_question_closing_at_zero_is_kept():
    question = Event("q", 0.0, "user", "Now?", open_until=0.0)
    assert load_json(Episode, dump_json(make(question)), "here").events == (question,)


@pytest.mark.parametrize(("time", "frame"), [(0.0, 0), (0.4999, 0), (0.5, 1), (2.6, 5), (9.999, 19), (10.0, 19)])
def test_episode_poll_frame_is_last_seen_frame(time, frame):
    assert make().poll_frame(replace(POLL, time=time)) == frame


def test_episode_candidate_frames_tile_video():
    intervals = [CandidateInterval(f"c{k}", k * 1.25, (k + 1) * 1.25) for k in range(8)]
    episode = make(candidates=intervals)
    frames = [list(episode.candidate_frames(interval)) for interval in intervals]
    assert [frame for part in frames for frame in part] == list(range(20))
    assert frames[:2] == [[0, 1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("episode", "problem"),
    [
        (make(replace(QUESTION, reply_span=(1.0, 2.0))), "only assistant turns have these"),
        (make(QUESTION, replace(ANSWER, reply_span=(6.0, 4.0))), "give start <= end"),
        (make(QUESTION, replace(ANSWER, answers_to="x")), "answers 'x', which is no event of this episode"),
        (make(replace(QUESTION, time=5.0), replace(ANSWER, time=5.0, answers_to="a")), "no user turn before it"),
        (make(replace(QUESTION, open_until=0.5)), "is open until 0.5 s, before it is asked"),
        (make(replace(ANSWER, answers_to="", open_until=9.0)), "only user turns are standing questions"),
        (make(polls=[POLL, POLL]), "poll id 'p' appears twice"),
        (make(polls=[POLL, replace(POLL, id="b", time=1.0)]), "polls are not ordered by time"),
        (make(polls=[replace(POLL, time=10.5)]), "poll p at 10.5 s lies outside the episode's 0..10 s"),
        (make(polls=[replace(POLL, question=" ")]), "has no question"),
        (make(polls=[replace(POLL, clip_start=3.0)]), "has a clip that begins at 3 s"),
        (make(polls=[replace(POLL, accepted=("C",))]), "accepts 'C'; its choices are A, B"),
        (make(candidates=[CandidateInterval("c", 2.0, 2.0)]), "is empty"),
        (make(candidates=[CandidateInterval("c", 11.0, 12.0)]), "begins outside the episode's 0..10 s"),
    ],
)  # fmt: skip
def test_episode_problem_is_reported(episode, problem):
    (found,) = episode.problems()
    assert problem in found


def test_episode_clip_after_question_keeps_link():
    clip = make(QUESTION, ANSWER).window(6, 20)
    assert clip.problems() == []
    assert clip.events[0].answers_to == "q"
