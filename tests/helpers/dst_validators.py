"""Checks of a clip, reimplemented from the rules of the DST extension's validators and collators."""

from __future__ import annotations

from typing import Any

_NEEDED = ("video_uid", "conversation", "dataset", "clip_idx", "max_seq_len", "seq_len", "fps", "num_tokens_per_img")
_ROLES = ("system", "user", "assistant", "DST_UPDATE")
_TRANSITIONS = ("start", "complete", "pause", "resume", "cancel", "reset")


def _is_count(value: Any, least: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def training_format_problems(clip: dict[str, Any]) -> list[str]:
    """Check fields, roles and lengths like the validator of the training format."""
    out = [f"missing {key}" for key in _NEEDED if key not in clip]
    turns = clip.get("conversation")
    if not isinstance(turns, list) or not turns:
        return [*out, "conversation is empty"]
    out += [f"turn {n}: role {turn.get('role')!r}" for n, turn in enumerate(turns) if turn.get("role") not in _ROLES]
    out += [f"turn {n}: no content" for n, turn in enumerate(turns) if "content" not in turn]
    if turns[0].get("role") != "system":
        out.append("conversation does not begin with a system prompt")
    for key, least in (("seq_len", 0), ("max_seq_len", 1), ("num_tokens_per_img", 0), ("clip_idx", 0)):
        if not _is_count(clip.get(key), least):
            out.append(f"{key} is {clip.get(key)!r}")
    if clip.get("seq_len", 0) > clip.get("max_seq_len", 4096):
        out.append("seq_len exceeds max_seq_len")
    if not isinstance(clip.get("fps"), int | float) or clip["fps"] <= 0:
        out.append(f"fps is {clip.get('fps')!r}")
    for key in ("dataset", "video_uid"):
        if not isinstance(clip.get(key), str) or not clip[key].strip():
            out.append(f"{key} is {clip.get(key)!r}")
    return out


def flat_timestamp_problems(clip: dict[str, Any]) -> list[str]:
    """Check that the spans of the steps are present, numeric and in order."""
    out = []
    for item in clip.get("dst", []):
        start, end = item.get("start_ts"), item.get("end_ts")
        if not isinstance(start, int | float) or not isinstance(end, int | float) or start > end:
            out.append(f"{item.get('id')}: {start!r}..{end!r}")
    return out


def collator_events(clip: dict[str, Any]) -> dict[int, list[tuple[str, str]]]:
    """Return (role, text) by frame of the clip's own features, as the collator reads them.

    Raises:
        KeyError: If a key is missing.
    """
    rows = clip["end_frame_idx"] - clip["start_frame_idx"]
    out: dict[int, list[tuple[str, str]]] = {}
    for frame in range(clip["start_frame"], min(clip["end_frame"], rows)):
        for turn in clip["conversation"]:
            if turn.get("start_frame", 0) != frame:
                continue
            if turn["role"] == "assistant":
                out.setdefault(frame, []).append(("assistant", turn["content"]))
            if turn["role"] == "DST_UPDATE":
                for item in turn["content"]:
                    assert item["transition"] in _TRANSITIONS, item
                    out.setdefault(frame, []).append(("update", f"{item['id']}->{item['transition']}"))
    return out
