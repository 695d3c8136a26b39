"""Annotations in tables: events and utterances, with the task in the lines above them.

    prospect data new clip.mp4
    prospect data check clip.tsv --html clip.html
    prospect data import clip.tsv --output data/mine

An example:

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

``or`` adds an accepted wording to the ``say`` above it, with the same time. Times are seconds or
h:mm:ss. ``# participant:`` and ``# recording:`` are optional: confidence intervals then treat all
episodes of one participant (otherwise of one recording) as dependent.
`prospect_core.data.formats.tables` parses the cells.

Other inputs give the same episodes: ProAssist's three-level tables (type, id, start_ts, end_ts,
name), WebVTT and SRT (`prospect_core.data.formats.subtitles`). The cues of subtitles are
utterances; `prospect_core.data.formats.speakers` finds who speaks.

Every row and every cue becomes an event, an alternative wording, or a line that explains why it is
refused (`Reading`).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from prospect_core.data.dataset import Dataset, DatasetInfo
from prospect_core.data.formats.annotation_rows import (
    COLUMNS,
    LEVELS,
    TOLD,
    Reading,
    annotation_rows_from_subtitles,
    annotation_rows_from_table,
)
from prospect_core.data.formats.speakers import Speakers
from prospect_core.data.formats.tables import TextTable, read_delimited_table
from prospect_core.data.frame_format import FrameFormat
from prospect_core.data.video import inspect_video, open_video_frames
from prospect_core.timeline import DialogState, Episode, Event, Step, Task, TimelineError
from prospect_core.util.console import escape_for_console, format_count
from prospect_core.util.errors import DataError, UserError
from prospect_core.util.json_io import read_limited_json_bytes

SUBTITLES = (".vtt", ".srt")
SUFFIXES = (".tsv", ".csv", *SUBTITLES)
#: keys of head lines other than ``step``
HEAD_KEYS = ("video", "goal", "fps", "knowledge", "user", "recording", "participant")
FPS = 2.0
#: suffixes of files that count as videos if no annotation names one
VIDEO_SUFFIXES = (
    ".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".vob", ".ogv", ".flv",
    ".wmv", ".asf", ".3gp", ".mxf", ".gif", ".y4m", ".arrow",
)  # fmt: skip
#: control characters, which no readable text contains
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True)
class Given:
    """Facts from the command line that annotations do not contain.

    Attributes:
        video: Video of the only annotation.
        goal: Goal of the task.
        level: Level to read from a three-level table.
        fps: Frames per second of the episodes; the file's value or `FPS` if None.
        users: Names of the user's voices in subtitles.
        assistants: Names of the assistant's voices.
        skip: Whether to leave out and report rows and cues that cannot be read. If False, they
            refuse the file.
    """

    video: Path | None = None
    goal: str = ""
    level: str = LEVELS[0]
    fps: float | None = None
    users: tuple[str, ...] = ()
    assistants: tuple[str, ...] = ()
    skip: bool = False


@dataclass(frozen=True)
class Annotation:
    """An episode that was read from an annotation.

    Attributes:
        episode: The episode.
        video: File of its video.
        reading: Report on the rows or cues.
    """

    episode: Episode
    video: Path
    reading: Reading


def make_annotation_table_template(video: Path, fps: float = FPS) -> str:
    """Make a new table for a video, with an example line of each kind.

    Args:
        video: The video.
        fps: Frames per second at which its length is measured.
    """
    seconds = open_video_frames(video, fps, FrameFormat(16)).num_frames / fps
    clock = f"{int(seconds // 60)}:{seconds % 60:04.1f}"
    rows = (("0:02", "start", "S1"), ("0:10", "complete", "S1"), ("0:11", "say", "Good. Next, the second one."),
            ("0:15", "user", "What is left?"))  # fmt: skip
    head = [
        f"# video: {video.name}",
        f"# the video lasts {clock}; columns are separated by tabs, times are seconds or h:mm:ss",
        "# goal: the goal of the task",
        "# step S1: the first step",
        "# step S2: the second step",
        "# kinds: start, complete or reopen a step; say (assistant turn); or (another wording of the line above); user (user turn)",
    ]
    return "\n".join([*head, "\t".join(COLUMNS), *("\t".join(row) for row in rows)]) + "\n"


def read_annotation_table(file: Path, given: Given = Given()) -> Annotation:
    """Read an annotation from a table or subtitles.

    Args:
        file: A file with one of `SUFFIXES`.
        given: Facts that the file does not contain.

    Raises:
        DataError: If rows or cues cannot be read and ``given.skip`` is False; one line each.
        UserError: If the file names no video and no video in its folder has its name.
    """
    text = _text(file)
    if file.suffix.lower() in SUBTITLES:
        head, reading = {}, annotation_rows_from_subtitles(file, text, Speakers(given.users, given.assistants))
    else:
        table = _table(file, text)
        head, reading = table.head, annotation_rows_from_table(file, table, given.level)
    video = _video_of(file, head, given)
    fps = given.fps or _rate(file, head.get("fps", str(FPS)))
    source = open_video_frames(video, fps, FrameFormat(16))
    reading.notes += [f"{video}: {note}" for note in inspect_video(video, source)]
    named = [Step(key.removeprefix("step "), name) for key, name in head.items() if key.startswith("step ")]
    steps = tuple(reading.steps or named)
    episode = Episode(
        id=file.stem,
        video=f"videos/{video.name}",
        fps=fps,
        start_frame=0,
        end_frame=source.num_frames,
        task=Task(given.goal or head.get("goal", ""), steps, head.get("knowledge", "")),
        events=(),
        user_type=head.get("user", ""),
        recording=head.get("recording", ""),
        participant=head.get("participant", ""),
    )
    # a contradiction that follows from a refused row is not a separate mistake
    while (given.skip or not reading.refused) and (wrong := _contradictions(episode, reading)):
        reading.refuse(wrong)
    if reading.refused and not given.skip:
        raise DataError(_refusal(file, reading))
    try:
        return Annotation(_with_events(episode, reading.events).validate(), video, reading)
    except TimelineError as error:
        raise DataError(f"{file}: {error}") from error


def make_annotation_table_dataset(episode: Episode, video: Path) -> tuple[Dataset, Episode]:
    """Make a dataset in memory from an episode; the video stays in its place.

    Returns:
        (dataset, the episode with the video's path inside that dataset).
    """
    placed = replace(episode, video=video.name)
    root = video.parent.resolve()
    info = DatasetInfo(1, episode.id, "1", episode.fps, {}, {video.name: None}, videos_root=str(root))
    return Dataset(root, info), placed


def _video_of(file: Path, head: dict[str, str], given: Given) -> Path:
    """Return the video that command line or file name, or the video in the folder with the same name."""
    if given.video is not None:
        return given.video
    if "video" in head:
        return file.parent / head["video"]
    for stem in dict.fromkeys((file.stem, file.stem.rpartition(".")[0] or file.stem)):
        videos = [
            other for other in sorted(file.parent.iterdir()) if other.stem == stem and is_annotation_table_video(other)
        ]
        if len(videos) > 1:
            names = ", ".join(other.name for other in videos)
            raise UserError(
                f"{file}: {len(videos)} videos have the annotation's name ({names}); keep one of them there"
            )
        if videos:
            return videos[0]
    named = "" if file.suffix.lower() in SUBTITLES else ", or a line `# video: clip.mp4` in it"
    raise UserError(
        f"{file}: names no video, and its folder has no video {file.stem}.mp4; put it there, or give --video FILE{named}"
    )


def is_annotation_table_video(file: Path) -> bool:
    """Check whether a file's suffix is that of a video."""
    return file.suffix.lower() in VIDEO_SUFFIXES and not file.name.startswith(".")


def _in_order(events: Sequence[Event]) -> list[Event]:
    return sorted(events, key=lambda event: (event.time, ("user", "transition", "assistant").index(event.kind)))


def _with_events(episode: Episode, events: Sequence[Event]) -> Episode:
    numbered = (replace(event, id=f"e{k}") for k, event in enumerate(_in_order(events)))
    return replace(episode, events=tuple(numbered))


def _contradictions(episode: Episode, reading: Reading) -> dict[str, str]:
    """Return the places of impossible items, each with the reason."""
    end_s = episode.end_frame / episode.fps
    ordered, wrong = _in_order(reading.events), {}
    state = DialogState.initial(episode.task)
    for event in ordered:
        if event.time > end_s:
            wrong[event.id] = f"{event.time:g} s is after the end of the video, {end_s:g} s"
        if event.kind == "transition" and event.change:
            try:
                state = state.apply(event.step, event.change, event.time)
            except TimelineError as error:
                wrong[event.id] = str(error)
    if not wrong:
        places = {f"e{k}": event.id for k, event in enumerate(ordered)}
        late = (d.event for d in _with_events(episode, ordered).decisions() if d.frame >= episode.end_frame)
        for event in late:
            wrong[places[event.id]] = f"{event.time:g} s comes after the video's last frame, {episode.end_frame - 1}"
    return wrong


def _refusal(file: Path, reading: Reading) -> str:
    """Format the refused items, one line each, so that the user can fix all of them in one pass.

    The last line holds the counts.
    """
    count = f"read {format_count(reading.items, reading.what)}: {format_count(len(reading.events), 'event')}"
    count += f", {len(reading.refused)} refused; fix the file, or skip the refused items with --on-error skip"
    lines = [f"{file}: {line}" for line in reading.lines()]
    if len(lines) == 1:
        return f"{lines[0]} ({count})"
    more = [f"{file}: and {len(lines) - TOLD} more"] if len(lines) > TOLD else []
    return "\n".join([*lines[:TOLD], *more, f"{file}: {count}"])


def _text(file: Path) -> str:
    """Read the text of a file: UTF-8, or UTF-16 with a byte order mark, which spreadsheets write."""
    if file.suffix.lower() not in SUFFIXES:
        raise UserError(f"{file}: not an annotation; annotations are {', '.join(SUFFIXES)} files")
    data = read_limited_json_bytes(file)
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{file}: line {line}: not {'UTF-16' if wide else 'UTF-8'} text; save it as UTF-8, or convert it:"
            " iconv -f WINDOWS-1252 -t UTF-8"
        ) from error
    if odd := _CONTROL.search(text):
        line = text.count("\n", 0, odd.start()) + 1
        raise DataError(f"{file}: line {line}: holds a control character ({escape_for_console(odd[0])}); remove it")
    return text


def _table(file: Path, text: str) -> TextTable:
    table = read_delimited_table(text, file.suffix.lower(), HEAD_KEYS)
    if table.refused:
        raise DataError("\n".join(f"{file}: {line}" for line in table.refused))
    if not table.rows:
        raise DataError(f"{file}: holds no table; `prospect data new VIDEO` writes an empty one")
    return table


def _rate(file: Path, text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0.1 <= found <= 60:
        raise DataError(f"{file}: fps {text!r}: use 0.1 to 60")
    return found
