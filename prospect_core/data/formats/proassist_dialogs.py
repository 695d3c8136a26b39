"""ProAssist's ``generated_dialogs/*.json``: a video's dialogues before ProAssist divides them into rows.

Each dialogue is converted to the prepared row that ProAssist's scripts make without a length limit
(``L0``), and read as that row. Its frames follow the published rule: a turn at ``t`` seconds comes
after the frames before ``floor(t * fps)``, and at least one frame after the turn before it.
"""

from __future__ import annotations

from prospect_core.data.formats.proassist_names import FPS, frames_file_from_proassist_names
from prospect_core.data.formats.proassist_rows import SYSTEM, TURNS, episode_from_proassist_row
from prospect_core.data.formats.source_row import Row
from prospect_core.timeline import Episode, frame_floor
from prospect_core.util.errors import UserError


def is_proassist_dialogs_entry(row: Row) -> bool:
    """Check whether an entry is a video with generated dialogues."""
    return isinstance(row.get("conversations"), list) and "video_uid" in row


def episodes_from_proassist_dialogs(row: Row) -> list[Episode]:
    """Convert the dialogues of a video to episodes, one per simulated user."""
    return [episode_from_proassist_row(prepared) for prepared in rows_from_proassist_dialogs(row)]


def rows_from_proassist_dialogs(row: Row) -> list[Row]:
    """Convert the dialogues of a video to prepared rows.

    Raises:
        UserError: If a dialogue or a turn lacks a field that a row needs.
    """
    return [_prepared(row, number, dialogue) for number, dialogue in enumerate(row["conversations"])]


def _prepared(row: Row, number: int, dialogue: Row) -> Row:
    about = row.get("parsed_video_anns") or {}
    dataset = row.get("dataset") or about.get("dataset")
    if not isinstance(dataset, str):
        raise UserError("the video names no dataset (parsed_video_anns.dataset), which its frames need")
    start = frame_floor(_seconds(about, "video_start_time"), FPS)
    turns, end = _turns(dialogue[TURNS], number, start)
    user = dialogue.get("user_type") or "user"
    quality = dialogue.get("auto_quality_eval") or {}
    return {
        "dataset": dataset,
        "video_uid": row["video_uid"],
        "clip_idx": 0,
        "frames_file": frames_file_from_proassist_names(dataset, row["video_uid"]),
        "max_seq_len": 0,
        "seq_len": 0,
        "num_tokens_per_img": 1,
        "use_img_sep_token": False,
        "start_frame_idx": start,
        "end_frame_idx": end,
        TURNS: turns,
        "fps": int(FPS),
        "metadata": {
            "user_type": user,
            "user_id": f"{user}_{number}",
            "task_goal": row.get("inferred_goal"),
            "knowledge": row.get("inferred_knowledge"),
            "progress": None,
            "add_knowledge": False,
            "has_summary": False,
            "summary_only": False,
            "quality": quality.get("final_score", 0.0),
        },
    }


def _turns(said: list[Row], number: int, start: int) -> tuple[list[Row], int]:
    """Return the turns with the frames before each, and the frame after the last one."""
    turns: list[Row] = [{"role": "system", "content": SYSTEM}]
    cursor = start
    for position, turn in enumerate(said):
        time = turn.get("time")
        if not isinstance(time, int | float) or isinstance(time, bool):
            raise UserError(f"dialogue {number}, turn {position}: time is {time!r}; a number of seconds is needed")
        frame = max(frame_floor(time, FPS), cursor + 1)
        turns.append({"role": "frames", "start": cursor, "end": frame})
        turns.append(turn)
        cursor = frame
    return turns, cursor


def _seconds(about: Row, key: str) -> float:
    """Return the seconds under a key, which some files write with its unit; 0 if it is absent."""
    for name in (key, f"{key}(s)"):
        value = about.get(name)
        if isinstance(value, int | float):
            return value
    return 0.0
