"""What a row of another format says beyond our Episode, kept so that an export gives back the row that was read.

The row travels in ``meta["origin"]``: its fields, and its turns without the values that the Episode's events hold. A turn
keeps the order of its keys, absent keys stay absent, and keys that we do not know are carried.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from prospect_core.timeline import Episode, Event
from prospect_core.util.errors import UserError

KEY = "origin"
Row = dict[str, Any]
#: which field of an event holds the value of a turn's key
_EVENT_FIELDS = {"role": "kind", "time": "time", "content": "text", "labels": "labels", "progress": "progress"}
#: order of keys that is not written down, because most turns have it
_USUAL_KEYS = {
    "user": ["role", "time", "content", "labels"],
    "assistant": ["role", "time", "content", "labels", "progress"],
}


def keep_source_row(row: Row, turns_key: str, events: Mapping[int, Event]) -> str:
    """The value of ``meta["origin"]`` for a row.

    Args:
        row: The row as read.
        turns_key: The key of its list of turns.
        events: Events by the number of the turn that each was made of; all other turns are kept as they are.

    Returns:
        JSON text; `restore_source_row` reads it.
    """
    turns = [_kept_turn(turn, events.get(number)) for number, turn in enumerate(row.get(turns_key) or ())]
    fields = {key: None if key == turns_key and value is not None else value for key, value in row.items()}
    return json.dumps({"row": fields, "turns_key": turns_key, "turns": turns, "placed": {}})


def move_episode_with_source_row(episode: Episode, **fields: Any) -> Episode:
    """The Episode under another id, video or dataset, or with more ``meta``; its row is still given back as it was read."""
    meta = fields.pop("meta", {})
    origin = _origin(episode)
    moved = replace(episode, **fields, meta={**episode.meta, **meta})
    if origin is None:
        return moved
    origin["placed"] = {**origin["placed"], **fields, "meta": {**origin["placed"].get("meta", {}), **meta}}
    return replace(moved, meta={**moved.meta, KEY: json.dumps(origin)})


def source_row_fields(episode: Episode) -> Row:
    """The fields of the row that the Episode was read from, without its turns; empty where there was none."""
    origin = _origin(episode)
    fields: Row = {} if origin is None else origin["row"]
    return fields


def restore_source_row(episode: Episode, read: Callable[[Row], Episode], turns_key: str) -> Row | None:
    """The row that the Episode was read from, with what changed since; None where that row cannot say it.

    Args:
        episode: The Episode to write.
        read: The reader of this format; what it makes of the row must be the Episode again.
        turns_key: The key of this format's turns: a row of another format is None.
    """
    origin = _origin(episode)
    if origin is None or origin["turns_key"] != turns_key:
        return None
    events = {event.id: event for event in episode.events}
    try:
        turns = [_whole_turn(kept, events) for kept in origin["turns"]]
    except KeyError:
        return None
    row = {key: turns if key == turns_key and value is None else value for key, value in origin["row"].items()}
    placed = dict(origin["placed"])
    added = placed.pop("meta", {})
    try:
        again = read(row)
    except (UserError, ValueError, KeyError, TypeError):
        return None
    # the origin itself is not compared: it was made of this very row
    meta = {key: value for key, value in {**again.meta, **added}.items() if key != KEY}
    same = replace(again, **placed, meta=meta) == replace(episode, meta=_without_origin(episode))
    return row if same else None


def _origin(episode: Episode) -> Row | None:
    origin = json.loads(episode.meta.get(KEY, "{}"))
    return origin if isinstance(origin, dict) and "turns_key" in origin else None


def _without_origin(episode: Episode) -> dict[str, str]:
    return {key: value for key, value in episode.meta.items() if key != KEY}


def _kept_turn(turn: Row, event: Event | None) -> Row:
    if event is None:
        return {"turn": turn}
    rest = {key: value for key, value in turn.items() if not _holds(event, key, value)}
    kept: Row = {"event": event.id, "rest": rest} if rest else {"event": event.id}
    if list(turn) != _USUAL_KEYS.get(event.kind):
        kept["keys"] = list(turn)
    return kept


def _holds(event: Event, key: str, value: Any) -> bool:
    """Whether the event says the very value of a turn's key, in the same JSON."""
    if key not in _EVENT_FIELDS:
        return False
    held = getattr(event, _EVENT_FIELDS[key])
    return type(held) is type(value) and repr(held) == repr(value)


def _whole_turn(kept: Row, events: Mapping[str, Event]) -> Row:
    if "turn" in kept:
        turn: Row = kept["turn"]
        return turn
    event = events[kept["event"]]
    rest = kept.get("rest", {})
    keys = kept.get("keys") or _USUAL_KEYS[event.kind]
    return {key: rest[key] if key in rest else getattr(event, _EVENT_FIELDS[key]) for key in keys}
