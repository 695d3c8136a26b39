"""ProAssist's prepared rows and the DST extension's clips, in and out, and ProAssist's matching windows.

    prospect data import proassist_prepared.jsonl --output data/assembly --frames-root /data/assembly101

Reading keeps the frames that the rows carry, and everything that our Episode has no place for travels in
``meta["origin"]``, so that `to_prepared` and `to_dst_clip` give back the row that was read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prospect_core.data.origin_extras import KEY, extras, restore
from prospect_core.errors import DataError, UserError
from prospect_core.jsonio import decode, read_limited
from prospect_core.timeline import DialogState, Episode, Event, Step, Task, TimelineError, frame_floor

#: (late, early) in seconds: how late and how early a prediction may come; the first name found in the dataset's wins
WINDOWS_S: dict[str, tuple[float, float]] = {
    "narration": (2.5, 2.5),
    "ego4d": (4.0, 8.5),
    "epickitchens": (1.5, 3.0),
    "holoassist": (1.5, 2.5),
    "egoexolearn": (2.0, 3.5),
    "assembly101": (2.0, 4.0),
    "wtag": (3.0, 6.0),
}
OTHER_WINDOW_S = (2.5, 2.5)
SYSTEM = "You are a proactive assistant: watch the user and help unasked."
_PREPARED_KEYS = (
    "dataset",
    "video_uid",
    "frames_file",
    "start_frame_idx",
    "end_frame_idx",
    "fps",
    "conversation",
)
#: what a turn of each role must have
_TURN_KEYS = {
    "frames": ("start", "end"),
    "user": ("time", "content"),
    "assistant": ("time", "content"),
    "system": ("content",),
}
_PARTICIPANTS = {"epickitchens": re.compile(r"^(P\d+)_"), "assembly101": re.compile(r"_(\d+)_user_id_")}
_STEP_LINE = re.compile(r"^\s*(\d+)[.)]\s+(.+?)\s*$")


def window_for(dataset: str) -> tuple[float, float]:
    """ProAssist's matching window (late, early) in seconds for a dataset's name."""
    name = dataset.lower()
    return next((window for key, window in WINDOWS_S.items() if key in name), OTHER_WINDOW_S)


def participant_of(dataset: str, video: str) -> str:
    """Who is filmed, as the names of a data set's videos say it; empty where they do not.

    EPIC-KITCHENS videos are called ``P01_101`` (participant, number), those of Assembly101
    ``..._9011-a01_9011_user_id_2021-02-01_153724``. The names of Ego4D, EgoExoLearn, HoloAssist and WTAG name nobody.
    """
    name = dataset.lower()
    found = next((pattern.search(video) for key, pattern in _PARTICIPANTS.items() if key in name), None)
    return found[1] if found else ""


def read_origin(path: Path) -> list[Episode]:
    """Episodes of a file in one of the origin's formats: JSON lines of prepared rows, or one DST clip or a list."""
    try:
        text = read_limited(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text") from error
    episodes = []
    for where, row in _rows(path, text):
        try:
            episode = from_dst_clip(row) if "dst" in row else from_prepared(row)
            episodes.append(episode.validate())
        except (TimelineError, UserError) as error:
            raise DataError(f"{where}: {error}") from error
        except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
            what = f"no field {error}" if isinstance(error, KeyError) else str(error)
            raise DataError(f"{where}: not a ProAssist prepared row nor a DST clip ({what})") from error
    if not episodes:
        raise DataError(f"{path}: holds no row")
    return episodes


def from_prepared(row: dict[str, Any]) -> Episode:
    """A prepared row as an Episode. A turn is decided on the last frame of the frames before it, as the row has it."""
    missing = [key for key in _PREPARED_KEYS if key not in row]
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
    meta = row.get("metadata") or {}
    events, systems = [], []
    last = row["start_frame_idx"]
    for position, turn in enumerate(row["conversation"]):
        role = turn["role"]
        lacking = [key for key in _TURN_KEYS.get(role, ()) if turn.get(key) is None]
        if lacking:
            raise UserError(f"turn {position} ({role}) has no {lacking[0]}")
        if role == "frames":
            if type(turn["start"]) is not int or type(turn["end"]) is not int or turn["start"] > turn["end"]:
                raise UserError(f"turn {position}: frames from {turn['start']!r} to {turn['end']!r}")
            last = turn["end"] - 1
        elif role == "system":
            systems.append([position, turn["content"]])
        elif role in ("user", "assistant"):
            event = Event(
                id=f"t{position}",
                time=turn["time"],
                kind=role,
                text=turn["content"],
                labels=turn.get("labels") or "",
                progress=turn.get("progress") or "",
                frame=last,
            )
            events.append(event)
        else:
            raise UserError(f"turn {position} has role {role!r}; known: system, frames, user, assistant")
    user = meta.get("user_id") or meta.get("user_type") or "user"
    kept = {key: value for key, value in row.items() if key not in ("conversation",)}
    episode = Episode(
        id=f"{row['video_uid']}.{user}.{row.get('clip_idx', 0)}",
        video=row["frames_file"],
        fps=row["fps"],
        start_frame=row["start_frame_idx"],
        end_frame=row["end_frame_idx"],
        task=Task(meta.get("task_goal") or "", (), meta.get("knowledge") or ""),
        events=tuple(events),
        user_type=meta.get("user_type") or "",
        dataset=row["dataset"],
        file_order=True,
        summary=meta.get("progress") or "",
        meta={"origin": json.dumps({"row": kept, "systems": systems})},
        participant=participant_of(row["dataset"], row["video_uid"]),
    )
    return restore(episode, meta[KEY]) if KEY in meta else episode


def to_prepared(episode: Episode) -> dict[str, Any]:
    """The Episode as a prepared row; what that format has no place for stands in its metadata (`origin_extras`)."""
    origin = _origin(episode, dst=False)
    if origin:
        read = _prepared_turns(episode, dict(origin["systems"]))
        row = {key: read if key == "conversation" else origin["row"][key] for key in _row_order(origin["row"])}
        if from_prepared(row) == episode:  # not so once it has been changed
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
        "conversation": _prepared_turns(episode, {0: SYSTEM}),
        "fps": episode.fps,
        "metadata": {
            "user_type": episode.user_type,
            "user_id": f"{episode.user_type}_0",
            "task_goal": episode.task.goal,
            "knowledge": _knowledge(episode.task),
            "progress": episode.summary or None,
            "add_knowledge": False,
            "has_summary": bool(episode.summary),
            "summary_only": False,
            "quality": 0.0,
            KEY: extras(episode),
        },
    }


def _prepared_turns(episode: Episode, systems: dict[int, str]) -> list[dict[str, Any]]:
    turns: list[dict[str, Any]] = []
    cursor = episode.start_frame

    def flush() -> None:
        while len(turns) in systems:
            turns.append({"role": "system", "content": systems.pop(len(turns))})

    flush()
    for decision in episode.decisions():
        event = decision.event
        if event.kind == "transition":
            continue
        if decision.frame + 1 > cursor:
            turns.append({"role": "frames", "start": cursor, "end": decision.frame + 1})
            cursor = decision.frame + 1
            flush()
        turn = {"role": event.kind, "time": event.time, "content": event.text, "labels": event.labels}
        if event.kind == "assistant":
            turn["progress"] = event.progress
        turns.append(turn)
        flush()
    if cursor < episode.end_frame:
        turns.append({"role": "frames", "start": cursor, "end": episode.end_frame})
        flush()
    return turns


def from_dst_clip(row: dict[str, Any]) -> Episode:
    """A DST clip as an Episode with steps and transitions.

    A turn keeps its ``start_frame`` where that lies within a second of its time; a frame that contradicts the time
    (the origin anchored many events to the turn before them) gives way to the time rule.
    """
    fps, start = row["fps"], row["start_frame_idx"]
    steps = tuple(Step(item["id"], item["name"]) for item in row["dst"] if item.get("type", "step") == "step")
    events, turns, systems = [], [], []
    for position, turn in enumerate(row["conversation"]):
        role = turn["role"]
        if role == "system":
            systems.append([position, turn])
            continue
        if role not in ("user", "assistant", "DST_UPDATE"):
            raise UserError(f"turn {position} has role {role!r}; known: system, user, assistant, DST_UPDATE")
        anchored = abs(turn["start_frame"] - frame_floor(turn["time"], fps)) <= fps
        frame = turn["start_frame"] if anchored else None
        kept = {key: value for key, value in turn.items() if key not in ("role", "content", "time")}
        if role == "DST_UPDATE":
            for item in turn["content"]:
                events.append(
                    Event(
                        id=f"t{position}.{item['id']}.{item['transition']}",
                        time=turn["time"],
                        kind="transition",
                        step=item["id"],
                        change=item["transition"],
                        frame=frame,
                    )
                )
        else:
            events.append(Event(f"t{position}", turn["time"], role, text=turn["content"], frame=frame))
        turns.append([position, kept])
    initial = row.get("initial_dst_state")
    task = Task(row["inferred_goal"], steps, row.get("inferred_knowledge", ""))
    kept = {key: value for key, value in row.items() if key not in ("conversation",)}
    return Episode(
        id=f"{row['video_uid']}.{row.get('clip_idx', 0)}",
        video=row["frames_file"],
        fps=fps,
        start_frame=start,
        end_frame=row["end_frame_idx"],
        task=task,
        events=tuple(events),
        initial=_initial(task, initial) if initial else None,
        dataset=row.get("dataset", ""),
        file_order=True,
        meta={"origin": json.dumps({"row": kept, "systems": systems, "turns": turns})},
        participant=participant_of(row.get("dataset", ""), row["video_uid"]),
    )


def to_dst_clip(episode: Episode) -> dict[str, Any]:
    """The Episode as a DST clip: one turn an event, each with the state before it (steps seen so far only)."""
    origin = _origin(episode, dst=True)
    systems, fields = dict(origin.get("systems", [])), dict(origin.get("turns", []))
    turns: list[dict[str, Any]] = []
    state, seen = episode.initial_state, []

    def flush() -> None:
        while len(turns) in systems:
            turns.append(systems.pop(len(turns)))

    flush()
    for decision in episode.decisions():
        event = decision.event
        extra = fields.get(len(turns), {"start_frame": decision.frame, "end_frame": decision.frame + 2, "labels": ""})
        turn: dict[str, Any] = {"role": event.kind, "content": event.text, "time": event.time}
        if event.kind == "transition" and event.change:
            if event.step not in seen:
                seen.append(event.step)
            turn.update(role="DST_UPDATE", content=[{"id": event.step, "transition": event.change}])
        turn.update({**extra, "dst_state": {step: state[step] for step in seen}})
        turns.append(turn)
        flush()
        if event.kind == "transition" and event.change:
            state = state.apply(event.step, event.change, event.time)
    if "row" in origin:
        return {key: turns if key == "conversation" else origin["row"][key] for key in _row_order(origin["row"])}
    spans: dict[str, list[float]] = {step: [] for step in episode.task.step_ids}
    for d in episode.decisions():
        if d.event.step:
            spans[d.event.step].append(d.event.time)
    return {
        "video_uid": Path(episode.video).stem,
        "inferred_goal": episode.task.goal,
        "inferred_knowledge": _knowledge(episode.task),
        "video_labels": {},
        "conversation": turns,
        "dst": [
            {
                "type": "step",
                "id": s.id,
                "start_ts": min(spans[s.id]),
                "end_ts": max(spans[s.id]),
                "name": s.name,
            }
            if spans[s.id]
            else {"type": "step", "id": s.id, "start_ts": None, "end_ts": None, "name": s.name}
            for s in episode.task.steps
        ],
        "frames_file": episode.video,
        "start_frame_idx": episode.start_frame,
        "end_frame_idx": episode.end_frame,
        "dataset": episode.dataset,
        "clip_idx": 0,
        "fps": episode.fps,
        **({"initial_dst_state": dict(zip(*_pairs(episode.initial), strict=True))} if episode.initial else {}),
    }


def steps_in(knowledge: str) -> tuple[Step, ...]:
    """The numbered lines of a recipe as steps ``S1``, ``S2``, ..."""
    found = [match for line in knowledge.splitlines() if (match := _STEP_LINE.match(line))]
    return tuple(Step(f"S{match[1]}", match[2]) for match in found)


def _rows(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if path.suffix.lower() == ".jsonl":
        numbered = [(f"{path}: row {n}", line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    else:
        numbered = [(str(path), text)]
    for where, piece in numbered:
        value = decode(piece, where)
        rows = value if isinstance(value, list) else [value]
        for index, row in enumerate(rows):
            place = f"{where}: entry {index}" if isinstance(value, list) else where
            if not isinstance(row, dict):
                raise DataError(f"{place}: a JSON object is needed, not {type(row).__name__}")
            yield place, row


def _row_order(row: dict[str, Any]) -> list[str]:
    """Keys of the row as read, the conversation where the formats have it (before ``fps`` or ``dst``)."""
    keys = list(row)
    before = "dst" if "dst" in row else "fps"
    keys.insert(keys.index(before), "conversation")
    return keys


def _origin(episode: Episode, dst: bool) -> dict[str, Any]:
    """What was kept of the row or clip that this very span was read from; empty where it was another format's."""
    origin = json.loads(episode.meta.get("origin", "{}"))
    row = origin.get("row", {})
    same = (row.get("start_frame_idx"), row.get("end_frame_idx")) == (episode.start_frame, episode.end_frame)
    return origin if same and ("dst" in row) == dst else {}


def _knowledge(task: Task) -> str:
    numbered = "\n".join(f"{n}. {step.name}" for n, step in enumerate(task.steps, 1))
    return task.knowledge or f"{task.goal}\n{numbered}"


def _initial(task: Task, states: dict[str, Any]) -> DialogState:
    unknown = [step for step in states if step not in task.step_ids]
    if unknown:
        raise UserError(f"the initial state names step {unknown[0]!r}, which the clip's steps do not have")
    return DialogState(task.step_ids, tuple(states.get(step, "not_started") for step in task.step_ids))


def _pairs(state: DialogState) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return state.step_ids, state.states
