"""Clips of the DST extension, in and out: an Episode that was read from a clip gives back that clip, and the other way round.

prospect data import clips.json --output data/clips && prospect data export data/clips --format dst --output again
"""

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
    """Whether a row is a clip of the DST extension."""
    return any(key in row for key in ("dst", "initial_dst_state", EVENTS_FORM))


def episode_from_proassist_dst(row: Row) -> Episode:
    """A DST clip as an Episode (`dst_reading.read_clip`); a clip that PROSPECT wrote as the Episode that it was written from.

    Raises:
        UserError: A field is missing or of the wrong type, or the clip contradicts its own `metadata.prospect`.
    """
    extra = (row.get("metadata") or {}).get(KEY)
    return read_proassist_dst_clip(row) if extra is None else _restored(row, extra)


def episode_to_proassist_dst(episode: Episode) -> Row:
    """The Episode as a DST clip; one that was read from a clip gives back that clip."""
    if is_proassist_dst_clip(source_row_fields(episode)):
        for turns_key in (TURNS, EVENTS_FORM):
            clip = restore_source_row(episode, episode_from_proassist_dst, turns_key)
            if clip is not None:
                return clip
    return write_proassist_dst_clip(episode)


def _said_in(row: Row) -> list[list[Any]]:
    """What each turn of a clip says, to compare two clips by: role, time, content."""
    return [[turn.get("role"), turn.get("time"), turn.get("content")] for turn in row.get(TURNS, ())]


def _restored(row: Row, extra: Any) -> Episode:
    """The Episode that a clip of PROSPECT was written from; a contradiction is a `UserError`."""
    if not isinstance(extra, dict) or not isinstance(extra.get("episode"), dict):
        raise UserError("metadata.prospect has no episode; remove it to read the clip as another program's")
    episode = load_json(Episode, json.dumps(extra["episode"]), "metadata.prospect").validate()
    written = json.loads(json.dumps(write_proassist_dst_clip(episode)))
    if _said_in(written) != _said_in(row):
        raise UserError("the clip's turns are not those that metadata.prospect describes; remove it to read them alone")
    if written == row:
        return episode
    turns = [number for number, turn in enumerate(row[TURNS]) if turn.get("role") in ("user", "assistant")]
    spoken = [event for event in episode.events if event.kind != "transition"]
    kept = keep_source_row(row, TURNS, dict(zip(turns, spoken, strict=True)))
    return replace(episode, meta={**episode.meta, ORIGIN: kept})
