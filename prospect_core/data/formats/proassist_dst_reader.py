"""Read clips of the DST extension as episodes: dense or sparse turns, the events form, split or whole.

A turn keeps its ``start_frame`` if its frames contain its time and start at most a second earlier.
Otherwise its frame follows from its time, because the extension often copies the frames of the turn
before. A clip extends at least to its last turn: its ``end_frame_idx`` is often the frame of the
last turn, and for a split dialogue it counts the updates only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prospect_core.data.formats.proassist_dst_changes import (
    ANNOTATED,
    EVENTS_FORM,
    REPAIRED,
    TURNS,
    Named,
    require_known_proassist_dst_change,
    split_proassist_dst_changes,
    state_from_proassist_dst_changes,
    states_before_proassist_dst_changes,
)
from prospect_core.data.formats.proassist_names import (
    FPS,
    frames_file_from_proassist_names,
    participant_from_proassist_names,
)
from prospect_core.data.formats.source_row import KEY as ORIGIN
from prospect_core.data.formats.source_row import Row, keep_source_row
from prospect_core.timeline import Episode, Event, Step, Task, exact_fraction, frame_ceil, frame_floor
from prospect_core.util.errors import UserError

_ROLES = ("user", "assistant", "DST_UPDATE")


@dataclass(frozen=True)
class _Said:
    """One utterance or change of a clip."""

    turn: int
    time: float
    kind: str
    text: str = ""
    change: Named | None = None
    anchor: int | None = None


def read_proassist_dst_clip(row: Row) -> Episode:
    """Read a clip of the extension as an episode.

    ``meta`` lists the corrections (`REPAIRED`) and the changes that our states do not follow
    (`ANNOTATED`); the export restores both.

    Raises:
        UserError: If a field is missing or of the wrong type.
    """
    fps = _number(row, "fps", FPS)
    video_uid = _required(row, "video_uid")
    dataset = row.get("dataset") or ""
    turns_key = TURNS if TURNS in row else EVENTS_FORM
    if not isinstance(row.get(turns_key), list):
        raise UserError(f"{turns_key} is {row.get(turns_key)!r}; a list is needed")
    said = _conversation(row, fps) if turns_key == TURNS else _events_form(row, fps)
    task = Task(row.get("inferred_goal") or "", _steps(row, said), row.get("inferred_knowledge") or "")
    start, end = _span(row, said, fps)
    changes = [one.change for one in said if one.change is not None]
    _require_steps(task, changes)
    begin = min([start / fps, *(one.time for one in said)])
    states, repaired = states_before_proassist_dst_changes(
        task, row.get("initial_dst_state"), changes, _spans(row), begin
    )
    taken, carried = split_proassist_dst_changes(states, changes)
    words = {id(change): ours for change, ours in taken}
    kept = [one for one in said if one.change is None or id(one.change) in words]
    events, end = _placed(kept, words, start, end, fps)
    by_turn = {one.turn: event for one, event in zip(kept, events, strict=True) if one.change is None}
    meta = {ORIGIN: keep_source_row(row, turns_key, by_turn if turns_key == TURNS else {})}
    if carried:
        meta[ANNOTATED] = "; ".join(f"{c.step}->{c.word} at {c.time:g} s" for c in carried)
    if repaired:
        meta[REPAIRED] = "; ".join(repaired)
    return Episode(
        id=_clip_id(row, video_uid),
        video=row.get("frames_file") or frames_file_from_proassist_names(dataset, video_uid),
        fps=row.get("fps", FPS),
        start_frame=start,
        end_frame=end,
        task=task,
        events=events,
        initial=state_from_proassist_dst_changes(task, states) if states else None,
        user_type=row.get("user_type") or "",
        dataset=dataset,
        file_order=True,
        meta=meta,
        participant=participant_from_proassist_names(dataset, video_uid),
    )


def _conversation(row: Row, fps: float) -> list[_Said]:
    out: list[_Said] = []
    for position, turn in enumerate(row[TURNS]):
        role = turn["role"]
        if role == "system":
            continue
        if role not in _ROLES:
            raise UserError(f"turn {position} has role {role!r}; known: system, {', '.join(_ROLES)}")
        where = f"turn {position} ({role})"
        time = turn.get("time")
        if type(time) not in (int, float):
            raise UserError(f"{where}: time is {time!r}; a number of seconds is needed")
        anchor = _anchor(turn, time, fps)
        if role == "DST_UPDATE":
            out += _changes(turn.get("content"), where, position, float(time), anchor)
            continue
        if not isinstance(turn.get("content"), str):
            raise UserError(f"{where}: content is {turn.get('content')!r}; text is needed")
        out.append(_Said(position, float(time), role, turn["content"], anchor=anchor))
    return out


def _anchor(turn: Row, time: float, fps: float) -> int | None:
    """Return the frame that a turn names if its frames hold its time and start at most a second earlier."""
    first, last = turn.get("start_frame"), turn.get("end_frame")
    if type(first) is not int or type(last) is not int:
        return None
    frame = frame_floor(time, fps)
    return first if first <= frame < last and frame - first <= fps else None


def _changes(content: Any, where: str, position: int, time: float, anchor: int | None) -> list[_Said]:
    """Parse the changes of an update: objects, or texts such as ``S1->start``."""
    items = content if isinstance(content, list) else [content]
    out = []
    for item in items:
        step: Any = None
        word: Any = None
        if isinstance(item, str):
            step, _, word = item.partition("->")
        elif isinstance(item, dict):
            step, word = item.get("id"), item.get("transition")
        if not isinstance(step, str) or not step.strip() or not word:
            raise UserError(
                f"{where}: {item!r} is not an update; known: {{'id': 'S1', 'transition': 'start'}} and 'S1->start'"
            )
        word = require_known_proassist_dst_change(word.strip() if isinstance(word, str) else word, where)
        out.append(_Said(position, time, "transition", change=Named(step.strip(), word, time, position), anchor=anchor))
    return out


def _events_form(row: Row, fps: float) -> list[_Said]:
    """Parse the form without turns, in which each entry names its frame."""
    out: list[_Said] = []
    for position, event in enumerate(row[EVENTS_FORM]):
        frame = event["frame_idx"]
        if type(frame) is not int:
            raise UserError(f"event {position}: frame_idx is {frame!r}; a whole number is needed")
        time = float(frame / exact_fraction(fps))
        for text in event.get("dst_updates") or ():
            out += _changes([text], f"event {position}", position, time, frame)
        if event.get("response"):
            out.append(_Said(position, time, "assistant", event["response"], anchor=frame))
    return out


def _steps(row: Row, said: Sequence[_Said]) -> tuple[Step, ...]:
    """Return the clip's steps; without a list of steps, those that its updates name."""
    if row.get("dst") is not None:
        return tuple(Step(item["id"], item["name"]) for item in row["dst"] if item.get("type", "step") == "step")
    named = dict.fromkeys(one.change.step for one in said if one.change is not None)
    return tuple(Step(step, step) for step in named)


def _require_steps(task: Task, changes: Sequence[Named]) -> None:
    unknown = next((change for change in changes if change.step not in task.step_ids), None)
    if unknown is not None:
        steps = ", ".join(task.step_ids) or "none"
        raise UserError(f"turn {unknown.turn} names step {unknown.step!r}; the clip's steps (dst): {steps}")


def _spans(row: Row) -> dict[str, tuple[float, float]]:
    """Return (first second, last second) of the steps that have both."""
    found = {}
    for item in row.get("dst") or ():
        times = item.get("start_ts"), item.get("end_ts")
        if all(type(time) in (int, float) for time in times):
            found[item["id"]] = times
    return found


def _span(row: Row, said: Sequence[_Said], fps: float) -> tuple[int, int]:
    """Return the first frame, and the one after the last, such that all turns are inside."""
    start = _frame(row, "start_frame_idx", "start_frame")
    end = _frame(row, "end_frame_idx", "end_frame")
    frames = [one.anchor if one.anchor is not None else frame_floor(one.time, fps) for one in said]
    start = min([start, *frames])
    last = max(frames, default=start)
    # an event on the frame after the last is decided on the last one, as in prepared rows
    return start, max(end, start + 1) if last <= end else last + 1


def _placed(
    said: Sequence[_Said], words: dict[int, Any], start: int, end: int, fps: float
) -> tuple[tuple[Event, ...], int]:
    """Return the events and the clip's end, one frame later if an event follows a user turn on the last one."""
    events: list[Event] = []
    earliest = start
    for one in said:
        rule = frame_ceil(one.time, fps) if one.kind == "transition" else frame_floor(one.time, fps)
        natural = min(rule if one.anchor is None else one.anchor, end - 1)
        decided = max(natural, earliest)
        end = max(end, decided + 1)
        earliest = decided + 1 if one.kind == "user" else decided
        outside = not start <= exact_fraction(one.time) * exact_fraction(fps) <= end
        frame = natural if one.anchor is not None or natural != rule or outside else None
        events.append(_event(one, words, frame))
    return tuple(events), end


def _event(one: _Said, words: dict[int, Any], frame: int | None) -> Event:
    if one.change is None:
        return Event(
            f"t{one.turn}", one.time, "user" if one.kind == "user" else "assistant", text=one.text, frame=frame
        )
    name = f"t{one.turn}.{one.change.step}.{one.change.word}"
    return Event(name, one.time, "transition", step=one.change.step, change=words[id(one.change)], frame=frame)


def _frame(row: Row, *keys: str) -> int:
    for key in keys:
        if row.get(key) is not None:
            if type(row[key]) is not int or row[key] < 0:
                raise UserError(f"{key} is {row[key]!r}; a whole number from 0 on is needed")
            return int(row[key])
    raise UserError(f"the clip has no field {keys[0]!r}")


def _number(row: Row, key: str, default: float) -> float:
    value = row.get(key, default)
    if type(value) not in (int, float) or value <= 0:
        raise UserError(f"{key} is {value!r}; a number above 0 is needed")
    return float(value)


def _required(row: Row, key: str) -> str:
    if not isinstance(row.get(key), str) or not row[key]:
        raise UserError(f"{key} is {row.get(key)!r}; text is needed")
    return str(row[key])


def _clip_id(row: Row, video_uid: str) -> str:
    """Join video, user (or the clip's id) and clip number: the three dialogues of a video share the others."""
    who = row.get("user_type") or row.get("id")
    return ".".join(str(part) for part in (video_uid, who, row.get("clip_idx", 0)) if part is not None)
