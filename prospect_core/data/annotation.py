"""Annotations written by hand: a table of what happens and what is said, with the task above it.

    prospect data new clip.mp4
    prospect data check clip.tsv --html clip.html
    prospect data import clip.tsv --output data/mine

    # video: clip.mp4
    # goal: make tea
    # step S1: boil the water
    # participant: anna
    time    kind      what
    0:05    start     S1
    0:12    complete  S1
    0:13    say       Now pour it into the cup.
    0:13    or        Pour it into the cup now.
    0:20    user      What is left?

``or`` is another accepted wording of what is said at that time; any number of them follow their ``say``.
``# participant:`` and ``# recording:`` are optional: intervals then treat all episodes of one participant (else of one recording)
as dependent. Columns are separated by tabs (.tsv) or commas (.csv), times are seconds or h:mm:ss. Other tables and subtitles become the same:
ProAssist's three-level tables (type, id, start_ts, end_ts, name), WebVTT and SRT, whose cues are what is said (``<v User>`` and
``User:`` mark the user's).
"""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prospect_core.data.dataset import Dataset, DatasetInfo, write_dataset
from prospect_core.data.staging import staged
from prospect_core.data.video import open_frames
from prospect_core.errors import DataError, UserError, did_you_mean
from prospect_core.framing import FrameFormat
from prospect_core.jsonio import read_limited
from prospect_core.terminal import printable
from prospect_core.timeline import CHANGES, DialogState, Episode, Event, Step, Task, TimelineError

SUFFIXES = (".tsv", ".csv", ".vtt", ".srt")
COLUMNS = ("time", "kind", "what")
LEVELS = ("step", "substep", "action")
KINDS = (*CHANGES, "say", "or", "user")
FPS = 2.0
#: mistakes of one file that are told at once
TOLD = 20
_HEAD = re.compile(
    r"#\s*(?:step\s+(?P<step>\S+?)|(?P<key>video|goal|fps|knowledge|user|recording|participant))\s*:\s*(?P<value>.*)",
    re.I,
)
#: what no text that is read or spoken has in it
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_CLOCK = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:[.,]\d+)?)")


@dataclass(frozen=True)
class Given:
    """What the command line says of annotations that do not say it themselves."""

    video: Path | None = None
    goal: str = ""
    level: str = LEVELS[0]
    fps: float | None = None


def skeleton(video: Path, fps: float = FPS) -> str:
    """The beginning of a table for a video: what is known of it, and a line of each kind to write over."""
    seconds = open_frames(video, fps, FrameFormat(16)).num_frames / fps
    clock = f"{int(seconds // 60)}:{seconds % 60:04.1f}"
    rows = (("0:02", "start", "S1"), ("0:10", "complete", "S1"), ("0:11", "say", "Good. Next, the second one."),
            ("0:15", "user", "What is left?"))  # fmt: skip
    head = [
        f"# video: {video.name}",
        f"# the video lasts {clock}; columns are separated by tabs, times are seconds or h:mm:ss",
        "# goal: what is to be done",
        "# step S1: the first step",
        "# step S2: the second step",
        "# kinds: start, complete or reopen a step; say what the assistant should say; or: another wording of the line above; user says something",
    ]
    return "\n".join([*head, "\t".join(COLUMNS), *("\t".join(row) for row in rows)]) + "\n"


def read_annotation(file: Path, given: Given = Given()) -> tuple[Episode, Path]:
    """(episode, its video) of a table or of subtitles; what is wrong is a `DataError` with a line for each mistake."""
    text = _text(file)
    head, table = ({}, []) if file.suffix in (".vtt", ".srt") else _table(file, text)
    video = given.video or (file.parent / head["video"] if "video" in head else None)
    if video is None:
        raise UserError(f"{file}: names no video; give --video FILE, or a line `# video: clip.mp4` in it")
    fps = given.fps or _rate(file, head.get("fps", str(FPS)))
    end = open_frames(video, fps, FrameFormat(16)).num_frames
    steps, events = _spoken(file, text) if not table else _rows(file, table, given.level)
    steps = steps or [Step(key.removeprefix("step "), name) for key, name in head.items() if key.startswith("step ")]
    task = Task(given.goal or head.get("goal", ""), tuple(steps), head.get("knowledge", ""))
    events = _sound(file, task, events, end / fps)
    episode = Episode(
        id=file.stem, video=f"videos/{video.name}", fps=fps, start_frame=0, end_frame=end,
        task=task,
        events=tuple(replace(event, id=f"e{k}") for k, event in enumerate(events)), user_type=head.get("user", ""),
        recording=head.get("recording", ""), participant=head.get("participant", ""),
    )  # fmt: skip
    try:
        return episode.validate(), video
    except TimelineError as error:
        raise DataError(f"{file}: {error}") from error


def lone_dataset(episode: Episode, video: Path) -> tuple[Dataset, Episode]:
    """An episode as a data set in memory, its video where it lies."""
    placed = replace(episode, video=video.name)
    root = video.parent.resolve()
    info = DatasetInfo(1, episode.id, "1", episode.fps, {}, {video.name: None}, videos_root=str(root))
    return Dataset(root, info), placed


def import_annotations(files: Sequence[Path], output: Path, split: str, name: str, given: Given) -> Dataset:
    """A data set of annotations, their videos copied into it."""
    read = [read_annotation(file, given) for file in files]
    rates = sorted({episode.fps for episode, _ in read})
    if len(rates) > 1:
        raise UserError(
            f"{files[0].parent}: annotations at {', '.join(f'{r:g}' for r in rates)} fps; import them apart"
        )
    with staged(output) as scratch:
        (scratch / "videos").mkdir()
        taken: dict[str, Path] = {}
        for episode, video in read:
            if taken.setdefault(episode.video, video.resolve()) != video.resolve():
                raise UserError(f"{video}: another video has that name; rename one of them")
            if not (scratch / episode.video).exists():
                shutil.copyfile(video, scratch / episode.video)
        write_dataset(scratch, name, "1", rates[0], {split: [episode for episode, _ in read]}, "written by hand")
    return Dataset.open(output)


def seconds(text: str) -> float:
    """``12.5``, ``1:02``, ``1:02:03,5`` in seconds; anything else is a ValueError."""
    found = _CLOCK.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r} is no time; write seconds or h:mm:ss")
    hours, minutes, rest = found.groups()
    return 3600 * int(hours or 0) + 60 * int(minutes or 0) + float(rest.replace(",", "."))


def _sound(file: Path, task: Task, events: list[Event], end_s: float) -> list[Event]:
    """The events in their order; one that cannot be is a `DataError` with its place in the file, which stands in its id."""
    out = sorted(events, key=lambda event: (event.time, ("user", "transition", "assistant").index(event.kind)))
    state, wrong = DialogState.initial(task), []
    for event in out:
        if event.time > end_s:
            wrong.append(f"{event.id}: {event.time:g} s lies beyond the video's {end_s:g} s")
        if event.kind == "transition" and event.change:
            try:
                state = state.apply(event.step, event.change, event.time)
            except TimelineError as error:
                wrong.append(f"{event.id}: {error}")
    _all_right(file, wrong)
    return out


def _all_right(file: Path, wrong: Sequence[str]) -> None:
    """Tell all mistakes at once, a line each, so that a file is mended in one go."""
    if wrong:
        more = [f"and {len(wrong) - TOLD} more"] if len(wrong) > TOLD else []
        raise DataError("\n".join(f"{file}: {line}" for line in [*wrong[:TOLD], *more]))


def _text(file: Path) -> str:
    if file.suffix not in SUFFIXES:
        raise UserError(f"{file}: annotations are {', '.join(SUFFIXES)} files")
    try:
        text = read_limited(file).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 text") from error
    if odd := _CONTROL.search(text):
        line = text.count("\n", 0, odd.start()) + 1
        raise DataError(f"{file}: line {line}: holds a control character ({printable(odd[0])}); take it out")
    return text


def _table(file: Path, text: str) -> tuple[dict[str, str], list[tuple[int, list[str]]]]:
    """(what the lines above say, (line number, cells) of each row, the columns' names first)."""
    head: dict[str, str] = {}
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#"):
            if found := _HEAD.match(line.strip()):
                key = f"step {found['step']}" if found["step"] else found["key"].lower()
                head[key] = found["value"].strip()
        elif line.strip():
            lines.append((number, line))
    dialect = "\t" if file.suffix == ".tsv" else ","
    cells = csv.reader(io.StringIO("\n".join(line for _, line in lines)), delimiter=dialect)
    rows = [[cell.strip() for cell in row] for row in cells]
    if not rows or len(rows) != len(lines):
        raise DataError(f"{file}: holds no table; `prospect data new VIDEO` writes one to begin with")
    return head, [(number, row) for (number, _), row in zip(lines, rows, strict=True)]


def _rows(file: Path, table: list[tuple[int, list[str]]], level: str) -> tuple[list[Step], list[Event]]:
    number, names = table[0]
    names = [name.lower() for name in names]
    if names[:3] == list(COLUMNS):
        return [], _happenings(file, table[1:])
    if names[:2] == ["type", "id"] or names[0] in LEVELS:
        return _levels(file, table if names[0] in LEVELS else table[1:], level)
    raise DataError(
        f"{file}: line {number}: columns {', '.join(names)}; use {', '.join(COLUMNS)}, or type, id, start_ts, end_ts, name"
    )


def _happenings(file: Path, rows: list[tuple[int, list[str]]]) -> list[Event]:
    events: list[Event] = []
    wrong: list[str] = []
    for number, row in rows:
        try:
            event = _happening(f"line {number}", row, "tabs" if file.suffix == ".tsv" else "commas")
            if row[1].lower() == "or":
                events[-1:] = [_with_wording(events, event)]
            else:
                events.append(event)
        except ValueError as error:
            wrong.append(f"line {number}: {error}")
    _all_right(file, wrong)
    return events


def _with_wording(events: Sequence[Event], wording: Event) -> Event:
    """The last event with another accepted wording; a ValueError where it is not the turn of that time."""
    last = events[-1] if events else None
    if last is None or last.kind != "assistant" or last.time != wording.time:
        raise ValueError("`or` is another wording of the line before it: a `say` or an `or` at the same time")
    return replace(last, alternatives=(*last.alternatives, wording.text))


def _happening(place: str, row: list[str], between: str) -> Event:
    if len(row) < len(COLUMNS):
        raise ValueError(f"has {len(row)} column(s); use {', '.join(COLUMNS)}, with {between} between")
    time, kind, what = seconds(row[0]), row[1].lower(), " ".join(row[2:]).strip()
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r} is unknown: use {', '.join(KINDS)}{did_you_mean(kind, KINDS)}")
    if not what:
        raise ValueError("nothing in the third column")
    if kind in CHANGES:
        return Event(place, time, "transition", step=what, change=kind)
    return Event(place, time, "user" if kind == "user" else "assistant", what)


def _levels(file: Path, rows: list[tuple[int, list[str]]], level: str) -> tuple[list[Step], list[Event]]:
    """Of ProAssist's three-level table, one level: its parts are steps, each begun and completed once."""
    steps, events = [], []
    for number, row in rows:
        try:
            kind, name_id, start, end, name = row[0].lower(), row[1], seconds(row[2]), seconds(row[3]), row[4]
        except IndexError as error:
            raise DataError(f"{file}: line {number}: has {len(row)} columns; 5 are needed") from error
        except ValueError as error:
            raise DataError(f"{file}: line {number}: {error}") from error
        if kind not in LEVELS:
            raise DataError(f"{file}: line {number}: type {row[0]!r} is unknown: use {', '.join(LEVELS).upper()}")
        if kind == level:
            step = Step(name_id if name_id.startswith("S") else f"S{name_id}", name)
            steps.append(step)
            events += [Event(f"line {number}", start, "transition", step=step.id, change="start")]
            events += [Event(f"line {number}", end, "transition", step=step.id, change="complete")]
    if not steps:
        raise DataError(f"{file}: has no {level.upper()}; give --level {' or '.join(LEVELS)}")
    return steps, events


def _spoken(file: Path, text: str) -> tuple[list[Step], list[Event]]:
    """Subtitles: what is said, at the beginning of its cue."""
    import webvtt

    try:
        cues: Any = webvtt.from_buffer(io.StringIO(text), format=file.suffix[1:])
    except Exception as error:
        # the library raises errors of its own kinds
        raise DataError(f"{file}: no {file.suffix[1:].upper()} subtitles ({error})") from error
    events = []
    for number, cue in enumerate(cues, 1):
        said = " ".join(cue.text.split())
        voice, _, rest = said.partition(": ")
        user = (cue.voice or "").lower() == "user" or voice.lower() == "user"
        words = rest if voice.lower() in ("user", "assistant") and rest else said
        events.append(Event(f"cue {number}", seconds(cue.start), "user" if user else "assistant", words))
    return [], events


def _rate(file: Path, text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0.1 <= found <= 60:
        raise DataError(f"{file}: fps {text!r}: use 0.1 to 60")
    return found
