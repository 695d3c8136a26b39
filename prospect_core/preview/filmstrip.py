"""Filmstrip of an episode: pictures at regular intervals and at every event, with events and turns.

    prospect data preview data/workbench --split test --episode test-0-0003.talk_more --html film.html

With ``--hide-events`` the page shows only pictures, so a person can describe them before reading
the annotation.
"""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np

from prospect_core.data.dataset import Dataset
from prospect_core.data.frame_format import FrameFormat
from prospect_core.preview.episode_tracks import EpisodeTrack, list_episode_tracks
from prospect_core.timeline import Episode, Event, StepState
from prospect_core.util.console import escape_for_console, escape_value_for_console
from prospect_core.util.errors import UserError, did_you_mean

SIZE = 160


@dataclass(frozen=True)
class Still:
    """One picture of a filmstrip.

    Attributes:
        frame: Number of the frame.
        time_s: Its time in seconds.
        picture: (H, W, 3) uint8.
        events: Events that are decided on the frame.
        states: State of every step after the frame.
    """

    frame: int
    time_s: float
    picture: np.ndarray
    events: tuple[Event, ...]
    states: tuple[StepState, ...]


@dataclass(frozen=True)
class Filmstrip:
    """An episode and its stills.

    Attributes:
        episode: The episode.
        stills: Its stills.
        every_s: Interval of the stills in seconds.
        hidden: Whether events and states are hidden.
    """

    episode: Episode
    stills: tuple[Still, ...]
    every_s: float
    hidden: bool

    @property
    def tracks(self) -> tuple[EpisodeTrack, ...]:
        """Polls, spans, intervals, occurrences and mistakes over time; none if events are hidden."""
        return () if self.hidden else list_episode_tracks(self.episode)


def find_filmstrip_episode(dataset: Dataset, split: str, name: str) -> Episode:
    """Find an episode of a split.

    Args:
        dataset: The dataset.
        split: Name of the split.
        name: Id of the episode, or its number in the split.

    Raises:
        UserError: If there is no such episode.
    """
    episodes = list(dataset.episodes(split))
    ids = [episode.id for episode in episodes]
    if not ids:
        raise UserError(f"--split {split}: has no episodes")
    numbers = list(map(str, range(len(ids))))
    if name in numbers and name not in ids:
        return episodes[numbers.index(name)]
    if name not in ids:
        raise UserError(
            f"--episode {name}: not in split {split!r}; give an id ({ids[0]} ... {ids[-1]}) or a number from 0 to"
            f" {len(ids) - 1}{did_you_mean(name, ids)}"
        )
    return episodes[ids.index(name)]


def make_filmstrip(
    dataset: Dataset, episode: Episode, every_s: float = 1.5, hidden: bool = False, pictures: bool = True
) -> Filmstrip:
    """Make a still every ``every_s`` seconds and on every decision frame.

    Args:
        dataset: The dataset.
        episode: The episode.
        every_s: Interval in seconds.
        hidden: Whether to omit events and the stills on their frames.
        pictures: Whether to open the video; otherwise pictures are empty.

    Raises:
        UserError: If the interval is not above 0.
        DataError: If the video cannot be read.
    """
    if not math.isfinite(every_s) or every_s <= 0:
        raise UserError(f"--every {every_s:g}: give a number of seconds above 0")
    step = max(1, round(every_s * episode.fps))
    frames = set(range(episode.start_frame, episode.end_frame, step))
    events: dict[int, list[Event]] = {}
    for decision in episode.decisions():
        events.setdefault(decision.frame, []).append(decision.event)
    if not hidden:
        frames |= set(events)
    span = (episode.start_frame, episode.end_frame)
    source = (
        dataset.frame_source(episode, FrameFormat(SIZE)).frames(*span)
        if pictures
        else repeat(np.empty((0, 0, 3), np.uint8))
    )
    changes = dict(episode.states_by_change())
    state, stills = changes[episode.start_frame - 1], []
    for frame, picture in zip(range(*span), source, strict=False):
        state = changes.get(frame, state)
        if frame in frames:
            shown = () if hidden else tuple(events.get(frame, ()))
            stills.append(Still(frame, frame / episode.fps, np.asarray(picture), shown, state.states))
    return Filmstrip(episode, tuple(stills), every_s, hidden)


def print_filmstrip(film: Filmstrip, console: Any) -> None:
    """Print the episode's events with the states of its steps; a terminal shows no pictures."""
    from rich.text import Text

    marks = {"not_started": "·", "in_progress": "▸", "completed": "■"}
    console.print(Text(escape_for_console(describe_filmstrip(film)), style="bold"))
    for step in film.episode.task.steps:
        console.print(Text(escape_for_console(f"  {step.id}  {step.name}")))
    for track in film.tracks:
        console.print(Text(escape_for_console(track.name), style="italic"))
        for item in track.items:
            end = "" if item.end_s == item.start_s else f" to {item.end_s:.1f}"
            console.print(Text(escape_for_console(f"{item.start_s:8.1f}{end} s  {item.text}")))
    for still in film.stills:
        lanes = "".join(marks[state] for state in still.states)
        for event in still.events:
            line = event.label if event.kind == "transition" else f"{event.kind}: {event.text}"
            console.print(Text(escape_for_console(f"{still.time_s:8.1f} s  {lanes}  {line}")))


def filmstrip_html(film: Filmstrip) -> str:
    """Render a self-contained HTML page."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(
        loader=PackageLoader("prospect_core.preview", "."),
        autoescape=True,
        trim_blocks=True,
        finalize=escape_value_for_console,
    )
    environment.filters["jpeg"] = _jpeg
    return environment.get_template("filmstrip.html.j2").render(film=film, facts=describe_filmstrip(film))


def describe_filmstrip(film: Filmstrip) -> str:
    """Describe the episode on one line."""
    episode = film.episode
    kind = f", user {episode.user_type}" if episode.user_type else ""
    return (
        f"{episode.id}: {episode.num_frames / episode.fps:g} s at {episode.fps:g} fps, goal: {episode.task.goal}{kind}"
    )


def _jpeg(picture: np.ndarray) -> str:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()
