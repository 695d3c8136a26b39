"""An episode as a filmstrip: every event on its decision frame, nothing given away when events are hidden."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from prospect_core.cli.commands import prospect
from prospect_core.data.dataset import Dataset, write_dataset
from prospect_core.preview.filmstrip import filmstrip_html, find_filmstrip_episode, make_filmstrip, print_filmstrip
from prospect_core.util.console import make_console
from prospect_core.util.errors import UserError


@pytest.fixture
def longest(world):
    return max(world.episodes("val"), key=lambda e: len(e.events))


def test_every_event_stands_under_its_decision_frame(world, longest):
    film = make_filmstrip(world, longest, every_s=5)
    shown = [(still.frame, event.id) for still in film.stills for event in still.events]
    assert shown == [(d.frame, d.event.id) for d in longest.decisions()]
    assert {still.frame for still in film.stills} >= set(range(0, longest.end_frame, 10))
    for still in film.stills:
        assert still.states == longest.state_at(still.frame).states
    assert film.stills[0].picture.shape == (160, 160, 3)


def test_a_clip_begins_with_its_own_frames_and_state(world, longest):
    clip = longest.window(40, 80)
    film = make_filmstrip(world, clip, every_s=2)
    assert (film.stills[0].frame, film.stills[-1].frame < 80) == (40, True)
    assert film.stills[0].states == longest.state_at(40).states


def test_hidden_events_are_not_in_the_page(world, longest):
    film = make_filmstrip(world, longest, every_s=5, hidden=True)
    page = filmstrip_html(film)
    assert len(film.stills) == len(range(0, longest.end_frame, 10))
    assert not any(e.text in page for e in longest.events if e.text)
    assert not any(step.name in page for step in longest.task.steps)


def test_text_of_the_data_is_escaped(world, longest):
    event = replace(longest.events[0], text="<script>alert(1)</script>")
    page = filmstrip_html(make_filmstrip(world, replace(longest, events=(event, *longest.events[1:])), every_s=20))
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_the_terminal_lists_events_with_the_states_of_the_steps(world, longest):
    console = Console(width=400, file=io.StringIO())
    print_filmstrip(make_filmstrip(world, longest), console)
    text = console.file.getvalue()
    assert all(step.name in text for step in longest.task.steps)
    assert all(e.text in text for e in longest.events if e.text)
    assert "S1->start" in text
    assert "■" in text


def test_an_episode_is_found_by_id_or_number_or_named_in_one_line(world):
    ids = [e.id for e in world.episodes("test")]
    assert find_filmstrip_episode(world, "test", ids[3]).id == find_filmstrip_episode(world, "test", "3").id == ids[3]
    with pytest.raises(UserError, match=f"did you mean '{ids[0]}'"):
        find_filmstrip_episode(world, "test", ids[0] + "x")
    with pytest.raises(UserError, match=f"0 to {len(ids) - 1}"):
        find_filmstrip_episode(world, "test", "99")


def test_the_command_writes_a_page_and_refuses_what_cannot_be(world, tmp_path, capsys):
    def run(*args):
        with pytest.raises(SystemExit) as stop:
            prospect(["data", "preview", str(world.root), *map(str, args)])
        out = capsys.readouterr()
        return stop.value.code, out.out + out.err

    page = tmp_path / "film.html"
    assert run("--split", "val", "--episode", 0, "--html", page)[0] == 0
    assert page.read_text().count("<figure>") > 20
    code, text = run("--split", "val", "--episode", 0, "--hide-events")
    assert (code, "add --html" in text, text.count("\n")) == (2, True, 1)
    for args in (["--episode", "nobody"], ["--episode", "²"], ["--episode", "9" * 5000], ["--hide-events"],
                 ["--episode", 0, "--every", "inf"], ["--episode", 0, "sampling.blank_share=1"]):  # fmt: skip
        code, text = run("--split", "val", *args)
        assert (code, text.count("\n")) == (2, 1), args


def test_an_empty_split_says_so(world, tmp_path):
    empty = write_dataset(tmp_path / "set", "t", "1", 2, {"val": []})
    with pytest.raises(UserError, match="has no episode"):
        find_filmstrip_episode(Dataset.open(empty.root), "val", "0")


def test_what_would_steer_is_shown_as_its_escape(world, longest):
    steering = "a\x07b\x1bc"
    film = make_filmstrip(world, replace(longest, task=replace(longest.task, goal=steering)), every_s=60)
    page = filmstrip_html(film)
    assert "\x1b" not in page
    assert "a\\x07b\\x1bc" in page
    out = io.StringIO()
    print_filmstrip(film, make_console(file=out, width=400))
    assert "a\\x07b\\x1bc" in out.getvalue()
