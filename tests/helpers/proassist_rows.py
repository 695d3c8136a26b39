"""Rows in ProAssist's formats, as its scripts write them."""

from __future__ import annotations

from typing import Any

PREPARED: dict[str, Any] = {
    "dataset": "wtag", "video_uid": "v1", "clip_idx": 1, "frames_file": "frames/v1.arrow", "max_seq_len": 0,
    "seq_len": 99, "num_tokens_per_img": 1, "use_img_sep_token": False, "start_frame_idx": 4, "end_frame_idx": 30,
    "conversation": [
        {"role": "system", "content": "Help."},
        {"role": "frames", "start": 4, "end": 9},
        {"role": "user", "time": 4.4, "content": "Hello", "labels": ""},
        {"role": "system", "content": "Recipe: 1. boil"},
        {"role": "frames", "start": 9, "end": 10},
        {"role": "assistant", "time": 4.5, "content": "Boil.", "labels": "responsive|instruction", "progress": "0 s."},
        {"role": "frames", "start": 10, "end": 21},
        {"role": "assistant", "time": 10.4, "content": "Good.", "labels": "initiative|feedback", "progress": "6 s."},
        {"role": "frames", "start": 21, "end": 30},
    ],
    "fps": 2,
    "metadata": {"user_type": "talk_some", "user_id": "talk_some_0", "task_goal": "tea", "knowledge": "Tea\n1. boil",
                 "progress": None, "add_knowledge": True, "has_summary": False, "summary_only": False, "quality": 8.5},
}  # fmt: skip


def row(video: str, user: str, end: int, frames_file: str = "frames/elsewhere.arrow") -> dict[str, Any]:
    """Make a prepared row of one utterance on the last of ``end`` frames."""
    turns: list[dict[str, Any]] = [{"role": "system", "content": "Help."}, {"role": "frames", "start": 0, "end": end}]
    turns.append({"role": "assistant", "content": "Go on.", "time": (end - 1) / 2, "labels": "initiative|instruction"})
    return PREPARED | {
        "dataset": "x", "video_uid": video, "clip_idx": 0, "frames_file": frames_file, "start_frame_idx": 0,
        "end_frame_idx": end, "conversation": turns, "metadata": {"user_type": user},
    }  # fmt: skip


def clips_of_training() -> list[dict[str, Any]]:
    """Make two clips of one dialogue, as ``prepare_dialogs.py`` divides it at ``L4096``.

    A clip with a successor ends with a system turn, one more frame and the summary, which has no
    time. The next clip starts with some context frames, and its system prompt ends with that
    summary.
    """
    ask = {"role": "system", "content": "Please summarize the progress."}
    meta = {**PREPARED["metadata"], "has_summary": True, "progress": "Water boils."}
    first = [
        *PREPARED["conversation"][:-1],
        {"role": "frames", "start": 21, "end": 30},
        ask,
        {"role": "frames", "start": 30, "end": 31},
        {"role": "assistant", "content": "Water boils."},
    ]
    second = [
        {"role": "system", "content": "Help. Water boils."},
        {"role": "frames", "start": 20, "end": 50},
        {
            "role": "assistant",
            "time": 25.1,
            "content": "Pour.",
            "labels": "initiative|instruction",
            "progress": "25 s.",
        },
        ask,
        {"role": "frames", "start": 50, "end": 51},
        {"role": "assistant", "content": "Tea is made."},
    ]
    base = {**PREPARED, "max_seq_len": 4096, "clip_idx": 0}
    return [
        {**base, "end_frame_idx": 31, "conversation": first, "metadata": meta},
        {**base, "clip_idx": 1, "start_frame_idx": 20, "end_frame_idx": 51, "conversation": second,
         "metadata": {**meta, "progress": "Tea is made."}},
    ]  # fmt: skip


def narration() -> dict[str, Any]:
    """Make a row of Ego4D narration, whose turns have no time and which has no metadata."""
    turns = [
        {"role": "system", "content": "Narrate."},
        {"role": "frames", "start": 11, "end": 20},
        {"role": "assistant", "content": "User picks up a cup."},
        {"role": "frames", "start": 20, "end": 30},
        {"role": "assistant", "content": "User washes a cup."},
    ]
    return PREPARED | {
        "dataset": "ego4d-narration", "clip_idx": 0, "start_frame_idx": 11, "end_frame_idx": 32, "conversation": turns,
        "metadata": None,
    }  # fmt: skip
