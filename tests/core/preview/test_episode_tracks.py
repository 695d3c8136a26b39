"""Tracks of an episode's annotation: bars and marks at their times, and their place in the filmstrip."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from prospect_core.preview.episode_tracks import list_episode_tracks
from prospect_core.preview.filmstrip import Filmstrip, Still, filmstrip_html, print_filmstrip
from prospect_core.timeline import Episode, Event, Step, Task
from prospect_core.timeline.mistakes import Mistake
from prospect_core.timeline.occurrences import StepOccurrence, make_occurrence_transitions
from prospect_core.timeline.polls import CandidateInterval, Poll


@pytest.fixture
def annotated():
    """Seconds 10 to 50 of a recording with an annotation of each kind."""
    occurrences = (
        StepOccurrence("o1", "S1", 12.0, 20.0),
        StepOccurrence("o2", "S2", 15.0, 30.0, text="pour slowly"),
        StepOccurrence("o3", "S1", 40.0, 45.0),
    )
    return Episode(
        "e",
        "v.mp4",
        2,
        20,
        100,
        Task("tea", (Step("S1", "boil"), Step("S2", "pour"))),
        (Event("a", 14.0, "assistant", "Boil it.", reply_span=(12.0, 22.0)), *make_occurrence_transitions(occurrences)),
        polls=(Poll("p", 30.0, "Which pot?", accepted=("red",)),),
        candidates=(CandidateInterval("c1", 10.0, 30.0), CandidateInterval("c2", 30.0, 50.0)),
        occurrences=occurrences,
        mistakes=(Mistake("m1", "Order Error", "S2", (15.0, 20.0), "too early"), Mistake("m2", "Missing Step", "S2")),
    )


def test_tracks_are_in_order_with_one_row_for_each_executed_step(annotated):
    tracks = list_episode_tracks(annotated)
    assert [(track.kind, track.name, len(track.items)) for track in tracks] == [
        ("poll", "polls", 1),
        ("reply", "reply spans", 1),
        ("candidate", "candidate intervals", 2),
        ("occurrence", "S1 boil", 2),
        ("occurrence", "S2 pour", 1),
        ("mistake", "mistakes", 2),
    ]


def test_bars_have_their_share_of_the_episode(annotated):
    by_name = {track.name: track for track in list_episode_tracks(annotated)}
    poll, reply, step = by_name["polls"], by_name["reply spans"], by_name["S2 pour"]
    assert (poll.left(poll.items[0]), poll.width(poll.items[0])) == (50.0, 0.0)
    assert (reply.left(reply.items[0]), reply.width(reply.items[0])) == (5.0, 25.0)
    assert (step.left(step.items[0]), step.width(step.items[0])) == (12.5, 37.5)
    assert step.items[0].text == "pour slowly"


def test_mistake_without_a_time_stands_at_the_end(annotated):
    mistakes = list_episode_tracks(annotated)[-1]
    assert [item.text for item in mistakes.items] == ["Order Error: S2: too early", "Missing Step: S2: no time"]
    assert (mistakes.items[1].start_s, mistakes.left(mistakes.items[1])) == (50.0, 100.0)


def test_items_outside_the_episode_stay_inside_the_row(annotated):
    tracks = list_episode_tracks(annotated.window(60, 80))
    for track in tracks:
        for item in track.items:
            assert 0 <= track.left(item) <= track.left(item) + track.width(item) <= 100


def test_episode_without_such_annotation_has_no_track():
    assert list_episode_tracks(Episode("e", "v.mp4", 2, 0, 4, Task("tea"))) == ()


def film_of(episode, hidden=False):
    still = Still(20, 10.0, np.zeros((8, 8, 3), np.uint8), (), ("not_started", "not_started"))
    return Filmstrip(episode, (still,), 1.5, hidden)


def test_filmstrip_page_shows_bars_with_times_and_texts(annotated):
    page = filmstrip_html(film_of(annotated))
    assert 'class="poll" style="left:50.000%" title="30.0 s: Which pot? (red)"' in page
    assert 'class="reply" style="left:5.000%;width:25.000%" title="12.0 to 22.0 s: Boil it."' in page
    assert page.count('class="candidate"') == 2
    assert page.count('class="occurrence"') == 3
    assert "Order Error: S2: too early</li>" in page


def test_hidden_filmstrip_shows_no_track(annotated):
    page = filmstrip_html(film_of(annotated, hidden=True))
    assert "Which pot?" not in page
    assert "Order Error" not in page


def test_terminal_lists_the_items_with_times(annotated):
    console = Console(width=200, file=io.StringIO())
    print_filmstrip(film_of(annotated), console)
    text = console.file.getvalue()
    assert "    15.0 to 20.0 s  Order Error: S2: too early" in text
    assert "    30.0 s  Which pot? (red)" in text
