"""Import and export of ProAssist's prepared rows.

Rows are whole dialogues (``L0``), training clips (``L4096``), narration and summaries. The frame of
a turn is the last of the frames before it in the row. A turn without a time, as in narration, has
the time at which those frames end. An answer to a system turn after frames is a progress summary,
not an utterance; the summary that ends a row becomes the episode's ``summary``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from prospect_core.data.formats.proassist_extras import KEY, collect_proassist_extras, restore_proassist_extras
from prospect_core.data.formats.proassist_names import participant_from_proassist_names
from prospect_core.data.formats.source_row import KEY as ORIGIN
from prospect_core.data.formats.source_row import (
    Row,
    keep_source_row,
    move_episode_with_source_row,
    restore_source_row,
    source_row_fields,
)
from prospect_core.timeline import Episode, Event, Task, exact_fraction
from prospect_core.util.errors import UserError

SYSTEM = "You are a proactive assistant: watch the user and help unasked."
TURNS = "conversation"
#: keys in ``meta`` of a clip that continues another one: its first frame after the shared
#: context, and the summary up to its start
SUPERVISED_FROM, PROGRESS_BEFORE = "supervised_from", "progress_before"
_NEEDED = ("dataset", "video_uid", "frames_file", "start_frame_idx", "end_frame_idx", "fps", TURNS)


@dataclass
class _Reading:
    """State while the turns of a row are read in order."""

    start: int
    fps: float
    last: int
    shown: bool = False
    #: whether a system turn after frames still has no answer
    asked: bool = False
    events: dict[int, Event] = field(default_factory=dict)
    summaries: dict[int, str] = field(default_factory=dict)


def episode_from_proassist_row(row: Row) -> Episode:
    """Convert a prepared row to an episode.

    Raises:
        UserError: If a field is missing or of the wrong type; the message names turn and field.
    """
    _require_fields(row)
    given = row.get("metadata")
    if given is not None and not isinstance(given, dict):
        raise UserError(f"metadata is {given!r}; an object or null is needed")
    meta = given or {}
    turns = _read_turns(row)
    user = meta.get("user_id") or meta.get("user_type") or "user"
    said = {key: _text("metadata", meta, key, optional=True) for key in ("task_goal", "user_type", "progress")}
    summary = turns.summaries.get(len(row[TURNS]) - 1) or said["progress"]
    episode = Episode(
        id=f"{row['video_uid']}.{user}.{row.get('clip_idx', 0)}",
        video=row["frames_file"],
        fps=row["fps"],
        start_frame=row["start_frame_idx"],
        end_frame=row["end_frame_idx"],
        task=Task(said["task_goal"], (), _text("metadata", meta, "knowledge", optional=True)),
        events=tuple(turns.events.values()),
        user_type=said["user_type"],
        dataset=row["dataset"],
        file_order=True,
        summary=summary,
        participant=participant_from_proassist_names(row["dataset"], row["video_uid"]),
    )
    if KEY not in meta:
        return replace(episode, meta={ORIGIN: keep_source_row(row, TURNS, turns.events)})
    restored = restore_proassist_extras(episode, meta[KEY])
    if episode_to_proassist_row(restored) == row:
        return restored
    spoken = [event for event in restored.events if event.kind != "transition"]
    events = dict(zip(turns.events, spoken, strict=True))
    return replace(restored, meta={**restored.meta, ORIGIN: keep_source_row(row, TURNS, events)})


def _require_fields(row: Row) -> None:
    missing = [key for key in _NEEDED if key not in row]
    if missing:
        raise UserError(f"the row has no field {missing[0]!r}")
    for key in ("dataset", "video_uid", "frames_file"):
        if not isinstance(row[key], str):
            raise UserError(f"{key} is {row[key]!r}; text is needed")
    for key in ("start_frame_idx", "end_frame_idx"):
        if type(row[key]) is not int:
            raise UserError(f"{key} is {row[key]!r}; a whole number is needed")
    if type(row["fps"]) not in (int, float):
        raise UserError(f"fps is {row['fps']!r}; a number is needed")
    if row["fps"] <= 0:
        raise UserError(f"fps is {row['fps']!r}; a number above 0 is needed")
    if not isinstance(row[TURNS], list):
        raise UserError(f"{TURNS} is {row[TURNS]!r}; not a ProAssist prepared row, which has a list of turns")


def _read_turns(row: Row) -> _Reading:
    reading = _Reading(row["start_frame_idx"], row["fps"], row["start_frame_idx"])
    for position, turn in enumerate(row[TURNS]):
        role = turn["role"]
        where = f"turn {position} ({role})"
        if role == "frames":
            _read_frames(reading, position, turn)
        elif role == "system":
            _text(where, turn, "content")
            reading.asked = reading.shown
        elif role in ("user", "assistant"):
            _read_said(reading, position, where, turn)
        else:
            raise UserError(f"turn {position} has role {role!r}; known: system, frames, user, assistant")
    return reading


def _read_frames(reading: _Reading, position: int, turn: Row) -> None:
    lacking = [key for key in ("start", "end") if turn.get(key) is None]
    if lacking:
        raise UserError(f"turn {position} (frames) has no {lacking[0]}")
    if type(turn["start"]) is not int or type(turn["end"]) is not int or turn["start"] > turn["end"]:
        raise UserError(f"turn {position}: frames from {turn['start']!r} to {turn['end']!r}")
    if turn["end"] > turn["start"]:
        reading.last, reading.shown = turn["end"] - 1, True


def _read_said(reading: _Reading, position: int, where: str, turn: Row) -> None:
    time = turn.get("time")
    if time is None and not reading.shown:
        raise UserError(f"{where} has no time, and no frames before it to derive one from")
    text = _text(where, turn, "content")
    if time is not None and type(time) not in (int, float):
        raise UserError(f"{where}: time is {time!r}; a number of seconds is needed")
    if time is None and turn["role"] == "assistant" and reading.asked:
        reading.summaries[position], reading.asked = text, False
        return
    reading.asked = False
    if time is None:
        time = float((reading.last + 1) / exact_fraction(reading.fps))
    reading.events[position] = Event(
        id=f"t{position}",
        time=float(time),
        kind=turn["role"],
        text=text,
        labels=_text(where, turn, "labels", optional=True),
        progress=_text(where, turn, "progress", optional=True),
        frame=reading.last,
    )


def _text(where: str, turn: Row, key: str, optional: bool = False) -> str:
    value = turn.get(key)
    # DST clips use [] for missing knowledge
    if optional and (value is None or value == []):
        return ""
    if value is None:
        raise UserError(f"{where} has no {key}")
    if not isinstance(value, str):
        raise UserError(f"{where}: {key} is {value!r}; text is needed")
    return value


def continue_proassist_row(before: Episode | None, clip: Episode) -> Episode:
    """Add to a clip of a long dialogue what the clip before it states about its start.

    Published clips of one dialogue follow each other in their file. A later clip starts 5 to 20 s
    early, with frames for context. The utterances of that time are in the clip before, so these
    frames are not supervised (``meta["supervised_from"]``). The clip's system prompt ends with the
    closing summary of the clip before (``meta["progress_before"]``).

    Args:
        before: The episode of the row before, if any.
        clip: The clip.

    Returns:
        The clip with these entries of ``meta``; unchanged if it does not continue ``before``.
    """
    if before is None:
        return clip
    first, second = source_row_fields(before), source_row_fields(clip)
    same = first.get("video_uid") == second.get("video_uid") and _user(first) == _user(second)
    if not same or _number(second) != _number(first) + 1:
        return clip
    meta = {}
    if clip.start_frame < before.end_frame <= clip.end_frame:
        meta[SUPERVISED_FROM] = str(before.end_frame - bool(before.summary))
    if before.summary:
        meta[PROGRESS_BEFORE] = before.summary
    return move_episode_with_source_row(clip, meta=meta) if meta else clip


def _user(fields: Row) -> tuple[Any, Any]:
    return (fields.get("metadata") or {}).get("user_id"), fields.get("user_type")


def _number(fields: Row) -> int:
    """Return the number of a clip in its dialogue; -1 if the row has none."""
    number = fields.get("clip_idx")
    return number if type(number) is int else -1


def episode_to_proassist_row(episode: Episode) -> Row:
    """Convert an episode to a prepared row; an imported row is returned as it was read.

    Its metadata holds the fields that the format lacks (`collect_proassist_extras`).
    """
    row = restore_source_row(episode, episode_from_proassist_row, TURNS)
    if row is not None:
        return row
    return {
        "dataset": episode.dataset,
        "video_uid": Path(episode.video).stem,
        "clip_idx": 0,
        "frames_file": episode.video,
        "max_seq_len": 0,
        "seq_len": 0,
        "num_tokens_per_img": 1,
        "use_img_sep_token": False,
        "start_frame_idx": episode.start_frame,
        "end_frame_idx": episode.end_frame,
        TURNS: _fresh_turns(episode),
        "fps": episode.fps,
        "metadata": {
            "user_type": episode.user_type,
            "user_id": f"{episode.user_type}_0",
            "task_goal": episode.task.goal,
            "knowledge": make_proassist_row_knowledge(episode.task),
            "progress": episode.summary or None,
            "add_knowledge": False,
            "has_summary": bool(episode.summary),
            "summary_only": False,
            "quality": 0.0,
            KEY: collect_proassist_extras(episode),
        },
    }


def make_proassist_row_knowledge(task: Task) -> str:
    """Return the task's knowledge; if it is empty, goal and numbered steps in the form of ProAssist's recipes."""
    numbered = "\n".join(f"{n}. {step.name}" for n, step in enumerate(task.steps, 1))
    return task.knowledge or f"{task.goal}\n{numbered}"


def _fresh_turns(episode: Episode) -> list[Row]:
    turns: list[Row] = [{"role": "system", "content": SYSTEM}]
    cursor = episode.start_frame
    for decision in episode.decisions():
        event = decision.event
        if event.kind == "transition":
            continue
        if decision.frame + 1 > cursor:
            turns.append({"role": "frames", "start": cursor, "end": decision.frame + 1})
            cursor = decision.frame + 1
        turn = {"role": event.kind, "time": event.time, "content": event.text, "labels": event.labels}
        if event.kind == "assistant":
            turn["progress"] = event.progress
        turns.append(turn)
    if cursor < episode.end_frame:
        turns.append({"role": "frames", "start": cursor, "end": episode.end_frame})
    return turns
