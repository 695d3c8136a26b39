"""An episode as a filmstrip: events on their decision frames, and no hints if events are hidden."""

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


def test_filmstrip_events_are_under_decision_frames(world, longest):
    film = make_filmstrip(world, longest, every_s=5)
    shown = [(still.frame, event.id) for still in film.stills for event in still.events]
    assert shown == [(d.frame, d.event.id) for d in longest.decisions()]
    assert {still.frame for still in film.stills} >= set(range(0, longest.end_frame, 10))
    for still in film.stills:
        assert still.states == longest.state_at(still.frame).states
    assert film.stills[0].picture.shape == (160, 160, 3)


def test_filmstrip_clip_starts_with_its_state(world, longest):
    clip = longest.window(40, 80)
    film = make_filmstrip(world, clip, every_s=2)
    assert (film.stills[0].frame, film.stills[-1].frame < 80) == (40, True)
    assert film.stills[0].states == longest.state_at(40).states


def test_filmstrip_hidden_events_are_not_in_page(world, longest):
    film = make_filmstrip(world, longest, every_s=5, hidden=True)
    page = filmstrip_html(film)
    assert len(film.stills) == len(range(0, longest.end_frame, 10))
    assert not any(e.text in page for e in longest.events if e.text)
    assert not any(step.name in page for step in longest.task.steps)


def test_filmstrip_html_escapes_text(world, longest):
    event = replace(longest.events[0], text="<script>alert(1)</script>")
    page = filmstrip_html(make_filmstrip(world, replace(longest, events=(event, *longest.events[1:])), every_s=20))
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_filmstrip_terminal_lists_events_and_states(world, longest):
    console = Console(width=400, file=io.StringIO())
    print_filmstrip(make_filmstrip(world, longest), console)
    text = console.file.getvalue()
    assert all(step.name in text for step in longest.task.steps)
    assert all(e.text in text for e in longest.events if e.text)
    assert "S1->start" in text
    assert "■" in text


def test_find_filmstrip_episode_by_id_or_number(world):
    ids = [e.id for e in world.episodes("test")]
    assert find_filmstrip_episode(world, "test", ids[3]).id == find_filmstrip_episode(world, "test", "3").id == ids[3]
    with pytest.raises(UserError, match=f"did you mean '{ids[0]}'"):
        find_filmstrip_episode(world, "test", ids[0] + "x")
    with pytest.raises(UserError, match=f"0 to {len(ids) - 1}"):
        find_filmstrip_episode(world, "test", "99")


def test_preview_command_writes_page_or_is_refused(world, tmp_path, capsys):
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


def test_find_filmstrip_episode_empty_split_raises(world, tmp_path):
    empty = write_dataset(tmp_path / "set", "t", "1", 2, {"val": []})
    with pytest.raises(UserError, match="has no episode"):
        find_filmstrip_episode(Dataset.open(empty.root), "val", "0")


def test_filmstrip_control_characters_are_escaped(world, longest):
    steering = "a\x07b\x1bc"
    film = make_filmstrip(world, replace(longest, task=replace(longest.task, goal=steering)), every_s=60)
    page = filmstrip_html(film)
    assert "\x1b" not in page
    assert "a\\x07b\\x1bc" in page
    out = io.StringIO()
    print_filmstrip(film, make_console(file=out, width=400))
    assert "a\\x07b\\x1bc" in out.getvalue()
