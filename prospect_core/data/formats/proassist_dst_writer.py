"""Write episodes as clips of the DST extension, with every field that its validators and collators read.

Frames of turns and updates count from the clip's first frame (``start_frame`` 0). The extension's
collators use them as indices into the features of ``start_frame_idx .. end_frame_idx - 1``, which
its script stores per clip.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prospect_core.data.formats.proassist_dst_changes import REOPENED, TURNS
from prospect_core.data.formats.proassist_rows import SYSTEM, make_proassist_row_knowledge
from prospect_core.data.formats.source_row import Row
from prospect_core.timeline import Decision, DialogState, Episode, Event
from prospect_core.util.json_io import dump_json

#: key in ``metadata`` of our clips that holds the whole episode
KEY = "prospect"
#: maximum tokens of a clip, the extension's default
MAX_SEQ_LEN = 4096
#: estimated characters per token: an exact count needs a gated tokenizer
CHARACTERS_A_TOKEN = 4
_FLAGS = {"assistant": (1, 0), "DST_UPDATE": (0, 1)}


def write_proassist_dst_clip(episode: Episode) -> Row:
    """Convert an episode to a clip with one turn per event.

    Each turn holds the state before it, for the steps that have changed so far.
    """
    turns = [_system_turn(episode), *_turns(episode)]
    seq_len = episode.num_frames + sum(_tokens(turn["content"]) for turn in turns)
    on_frame = {role: {t["start_frame"] for t in turns if t["role"] == role} for role in _FLAGS}
    return {
        "id": episode.id,
        "video_uid": Path(episode.video).stem or episode.id,
        "inferred_goal": episode.task.goal,
        "inferred_knowledge": make_proassist_row_knowledge(episode.task),
        "video_labels": {},
        TURNS: turns,
        "dst": _spans(episode),
        "user_type": episode.user_type,
        "initial_dst_state": _states(episode.initial_state),
        "frames_file": episode.video,
        "start_frame_idx": episode.start_frame,
        "end_frame_idx": episode.end_frame,
        "start_frame": 0,
        "end_frame": episode.num_frames,
        "num_total_frames": episode.num_frames,
        "num_event_frames": len(set().union(*on_frame.values())),
        "speaking_frames": len(on_frame["assistant"]),
        "dst_update_frames": len(on_frame["DST_UPDATE"]),
        "dataset": episode.dataset or "prospect",
        "clip_idx": 0,
        "seq_len": seq_len,
        "max_seq_len": max(MAX_SEQ_LEN, seq_len),
        "num_tokens_per_img": 1,
        "fps": episode.fps,
        "quality": 0.0,
        "metadata": {
            "user_type": episode.user_type,
            "user_id": f"{episode.user_type}_0",
            "task_goal": episode.task.goal,
            "knowledge": [],
            "progress": episode.summary or None,
            "add_knowledge": False,
            "has_summary": False,
            "summary_only": False,
            "quality": 0.0,
            KEY: {"episode": json.loads(dump_json(episode))},
        },
    }


def _system_turn(episode: Episode) -> Row:
    """Make the prompt, which ends with the state of every step in the extension's form."""
    states = ", ".join(f"Step {step}: {state}" for step, state in _states(episode.initial_state).items())
    prompt = f"{SYSTEM}\n\nDialogue State:\nCurrent step states - {states}" if states else SYSTEM
    return {
        "role": "system",
        "content": prompt,
        "start_frame": 0,
        "end_frame": 1,
        "labels": "system|generic",
        "speaking": 0,
        "dst_update": 0,
    }


def _turns(episode: Episode) -> list[Row]:
    turns: list[Row] = []
    state = episode.initial_state
    met: list[str] = []
    for decision in episode.decisions():
        event = decision.event
        if event.change and event.step not in met:
            met.append(event.step)
        turns.append(_turn(episode, decision, {step: state[step] for step in met}))
        if event.change:
            state = state.apply(event.step, event.change, event.time)
    return turns


def _turn(episode: Episode, decision: Decision, states: dict[str, str]) -> Row:
    event = decision.event
    role: str = event.kind
    labels = event.labels or f"{event.kind}|generic"
    words: Any = event.text
    if event.change:
        changes = REOPENED if event.change == "reopen" else (event.change,)
        role, words, labels = "DST_UPDATE", [{"id": event.step, "transition": c} for c in changes], _label(event)
    speaking, update = _FLAGS.get(role, (0, 0))
    frame = decision.frame - episode.start_frame
    return {
        "role": role,
        "content": words,
        "time": event.time,
        "start_frame": frame,
        "end_frame": frame + 1,
        "dst_state": states,
        "labels": labels,
        "speaking": speaking,
        "dst_update": update,
    }


def _label(event: Event) -> str:
    return f"initiative|dst_update,dst_{'start' if event.change != 'complete' else 'complete'},steps_1"


def _spans(episode: Episode) -> list[Row]:
    """Return the first and last second of every step.

    All are numbers, because the extension's validator refuses null. A step that was complete before
    the clip ends at the clip's start; a step that never starts begins at its end.
    """
    begin, end = episode.start_frame / episode.fps, episode.end_frame / episode.fps
    times: dict[str, list[float]] = {step: [] for step in episode.task.step_ids}
    for event in episode.events:
        if event.step:
            times[event.step].append(event.time)
    last = episode.state_at(episode.end_frame - 1)
    spans: list[Row] = []
    for step in episode.task.steps:
        changes = times[step.id]
        open_before = episode.initial_state[step.id] == "in_progress"
        done_before = episode.initial_state[step.id] == "completed" and not changes
        first = begin if open_before or done_before else min(changes, default=end)
        until = end if last[step.id] == "in_progress" or not (changes or done_before) else max(changes, default=begin)
        spans.append({"type": "step", "id": step.id, "start_ts": first, "end_ts": max(first, until), "name": step.name})
    return spans


def _states(state: DialogState) -> dict[str, str]:
    return dict(zip(state.step_ids, state.states, strict=True))


def _tokens(content: Any) -> int:
    text = content if isinstance(content, str) else json.dumps(content)
    return len(text) // CHARACTERS_A_TOKEN + 1
