"""Readers of ProAssist's formats as fuzz targets: a file is read completely and exports as the same rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prospect_core.data.formats.proassist import (
    episode_to_proassist_dst,
    episode_to_proassist_row,
    read_proassist_episodes,
)
from prospect_core.data.formats.proassist_dialogs import is_proassist_dialogs_entry, rows_from_proassist_dialogs
from prospect_core.data.formats.proassist_dst import is_proassist_dst_clip
from prospect_core.data.formats.proassist_dst_changes import ANNOTATED
from prospect_core.timeline import Episode
from prospect_core.util.json_io import dump_json, load_json

_META = {
    "user_type": "no_talk",
    "user_id": "no_talk_0",
    "task_goal": "tea",
    "knowledge": "1. boil",
    "progress": "Boiled.",
}
_TRAINING = {
    "dataset": "assembly101", "video_uid": "assembly_a", "clip_idx": 0, "frames_file": "frames/a.arrow", "max_seq_len": 4096,
    "seq_len": 40, "num_tokens_per_img": 1, "use_img_sep_token": False, "start_frame_idx": 2, "end_frame_idx": 13,
    "conversation": [
        {"role": "system", "content": "Help."},
        {"role": "frames", "start": 2, "end": 6}, {"role": "user", "time": 3.1, "content": "Tea?", "labels": ""},
        {"role": "frames", "start": 6, "end": 12},
        {"role": "assistant", "time": 6.2, "content": "Boil.", "labels": "responsive|instruction", "progress": "6 s."},
        {"role": "system", "content": "Summarize."}, {"role": "frames", "start": 12, "end": 13},
        {"role": "assistant", "content": "Boiled."},
    ],
    "fps": 2, "metadata": _META,
}  # fmt: skip
_NARRATION = {
    **_TRAINING, "dataset": "ego4d-narration", "metadata": None,
    "conversation": [{"role": "frames", "start": 2, "end": 6}, {"role": "assistant", "content": "Picks up a cup."}],
}  # fmt: skip
_STEPS = [{"type": "step", "id": "S1", "start_ts": 1.0, "end_ts": 5.0, "name": "boil"}]
_CLIP = {
    "video_uid": "assembly_a", "inferred_goal": "tea", "inferred_knowledge": "1. boil", "dataset": "assembly101",
    "clip_idx": 1, "user_type": "no_talk", "start_frame_idx": 0, "end_frame_idx": 10, "fps": 2, "dst": _STEPS,
    "initial_dst_state": {"S1": "completed"},
    "conversation": [
        {"role": "system", "content": "Help.", "start_frame": 0, "end_frame": 1},
        {"role": "DST_UPDATE", "time": 1.0, "content": [{"id": "S1", "transition": "start"}], "start_frame": 0, "end_frame": 2},
        {"role": "user", "time": 1.5, "content": "What now?", "start_frame": 2, "end_frame": 3},
        {"role": "DST_UPDATE", "time": 2.0, "content": ["S1->pause"], "start_frame": 3, "end_frame": 4},
        {"role": "assistant", "time": 5.0, "content": "Pour.", "start_frame": 4, "end_frame": 10},
        {"role": "DST_UPDATE", "time": 5.0, "content": "S1->complete", "start_frame": 10, "end_frame": 10},
    ],
}  # fmt: skip
_EVENTS = {
    "video_uid": "v", "clip_idx": 0, "start_frame": 0, "end_frame": 9, "dst": _STEPS,
    "events": [{"frame_idx": 4, "speaking": 1, "dst_update": 1, "dst_updates": ["S1->start"], "response": "Boil."}],
}  # fmt: skip
_GENERATED = {
    "video_uid": "assembly_a", "inferred_goal": "tea", "inferred_knowledge": "1. boil",
    "conversations": [{"user_type": "no_talk", "conversation": [
        {"role": "user", "time": 2.0, "content": "Tea?", "labels": ""},
        {"role": "assistant", "time": 2.1, "content": "Boil.", "labels": "", "progress": "2 s."},
    ]}],
    "parsed_video_anns": {"dataset": "assembly101", "video_start_time": 0.5},
}  # fmt: skip

#: valid rows to start from, by name of the target
ROWS: dict[str, list[dict[str, Any]]] = {
    "training rows": [_TRAINING, _NARRATION],
    "dst clips": [_CLIP],
    "dst events": [_EVENTS],
    "generated dialogues": [_GENERATED],
}


def read_whole(file: Path) -> None:
    """Read a file; check that every row and turn is read and that the export equals the rows.

    Raises:
        AssertionError: If rows or turns are missing or the export differs.
        DataError: If the file cannot be read.
    """
    episodes = read_proassist_episodes(file)
    text = file.read_text(encoding="utf-8")
    pieces = [line for line in text.split("\n") if line.strip()] if file.suffix == ".jsonl" else [text]
    values = [json.loads(piece) for piece in pieces]
    rows = [row for value in values for row in (value if isinstance(value, list) else [value])]
    rows = [
        made
        for row in rows
        for made in (rows_from_proassist_dialogs(row) if is_proassist_dialogs_entry(row) else [row])
    ]
    assert len(episodes) == len(rows), "rows were lost"
    for row, episode in zip(rows, episodes, strict=True):
        assert _said(episode) == _said_in(row), "turns were lost"
        kept = load_json(Episode, dump_json(episode), str(file))
        back = episode_to_proassist_dst(kept) if is_proassist_dst_clip(row) else episode_to_proassist_row(kept)
        assert json.dumps(back) == json.dumps(row), "the row did not come back"


def _said(episode: Episode) -> int:
    """Count utterances, changes and annotations of an episode."""
    return len(episode.events) + len([part for part in episode.meta.get(ANNOTATED, "").split("; ") if part])


def _said_in(row: dict[str, Any]) -> int:
    """Count the utterances and changes of a row.

    A progress summary answers a system turn and does not count.
    """
    if "events" in row and "conversation" not in row:
        return sum(len(event.get("dst_updates") or ()) + bool(event.get("response")) for event in row["events"])
    count = 0
    shown = asked = False
    for turn in row["conversation"]:
        role = turn["role"]
        shown |= role == "frames" and turn["end"] > turn["start"]
        if role == "DST_UPDATE":
            count += len(turn["content"]) if isinstance(turn["content"], list) else 1
        if role in ("user", "assistant"):
            is_summary = role == "assistant" and asked and turn.get("time") is None
            count += not is_summary
            asked = False
        if role == "system":
            asked = shown
    return count
