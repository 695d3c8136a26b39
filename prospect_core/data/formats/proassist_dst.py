"""Import and export of clips of ProAssist's DST extension; a round trip gives back the same clip or episode."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from prospect_core.data.formats.proassist_dst_changes import EVENTS_FORM, TURNS
from prospect_core.data.formats.proassist_dst_reader import read_proassist_dst_clip
from prospect_core.data.formats.proassist_dst_writer import KEY, write_proassist_dst_clip
from prospect_core.data.formats.source_row import KEY as ORIGIN
from prospect_core.data.formats.source_row import Row, keep_source_row, restore_source_row, source_row_fields
from prospect_core.timeline import Episode
from prospect_core.util.errors import UserError
from prospect_core.util.json_io import load_json


def is_proassist_dst_clip(row: Row) -> bool:
    """Check whether a row is a clip of the DST extension."""
    return any(key in row for key in ("dst", "initial_dst_state", EVENTS_FORM))


def episode_from_proassist_dst(row: Row) -> Episode:
    """Convert a DST clip to an episode (`read_proassist_dst_clip`).

    A clip that PROSPECT exported becomes the episode that it was exported from.

    Raises:
        UserError: If a field is missing or of the wrong type, or the clip contradicts its
            ``metadata.prospect``.
    """
    extra = (row.get("metadata") or {}).get(KEY)
    return read_proassist_dst_clip(row) if extra is None else _restored(row, extra)


def episode_to_proassist_dst(episode: Episode) -> Row:
    """Convert an episode to a DST clip; an imported clip is returned as it was read."""
    if is_proassist_dst_clip(source_row_fields(episode)):
        for turns_key in (TURNS, EVENTS_FORM):
            clip = restore_source_row(episode, episode_from_proassist_dst, turns_key)
            if clip is not None:
                return clip
    return write_proassist_dst_clip(episode)


def _said_in(row: Row) -> list[list[Any]]:
    """Return role, time and content of each turn, by which two clips are compared."""
    return [[turn.get("role"), turn.get("time"), turn.get("content")] for turn in row.get(TURNS, ())]


def _restored(row: Row, extra: Any) -> Episode:
    """Return the episode that PROSPECT exported as this clip; raise `UserError` on a contradiction."""
    if not isinstance(extra, dict) or not isinstance(extra.get("episode"), dict):
        raise UserError("metadata.prospect has no episode; remove metadata.prospect to read the clip without it")
    episode = load_json(Episode, json.dumps(extra["episode"]), "metadata.prospect").validate()
    written = json.loads(json.dumps(write_proassist_dst_clip(episode)))
    if _said_in(written) != _said_in(row):
        raise UserError(
            "the clip's turns do not match metadata.prospect; remove metadata.prospect to read the turns alone"
        )
    if written == row:
        return episode
    turns = [number for number, turn in enumerate(row[TURNS]) if turn.get("role") in ("user", "assistant")]
    spoken = [event for event in episode.events if event.kind != "transition"]
    kept = keep_source_row(row, TURNS, dict(zip(turns, spoken, strict=True)))
    return replace(episode, meta={**episode.meta, ORIGIN: kept})
