"""Keep the source row of an imported episode, so that an export returns the row that was read.

``meta["origin"]`` holds the row's fields and its turns, without the values that the episode's
events hold. It preserves the order of a turn's keys, the absence of keys, and unknown keys.
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
#: field of an event that holds the value of a turn's key
_EVENT_FIELDS = {"role": "kind", "time": "time", "content": "text", "labels": "labels", "progress": "progress"}
#: order of keys that is not stored, because most turns have it
_USUAL_KEYS = {
    "user": ["role", "time", "content", "labels"],
    "assistant": ["role", "time", "content", "labels", "progress"],
}


def keep_source_row(row: Row, turns_key: str, events: Mapping[int, Event]) -> str:
    """Make the value of ``meta["origin"]`` for a row.

    Args:
        row: The row as read.
        turns_key: Key of its list of turns.
        events: By number of a turn, the event made from it; all other turns are stored as they are.

    Returns:
        JSON text for `restore_source_row`.
    """
    turns = [_kept_turn(turn, events.get(number)) for number, turn in enumerate(row.get(turns_key) or ())]
    fields = {key: None if key == turns_key and value is not None else value for key, value in row.items()}
    return json.dumps({"row": fields, "turns_key": turns_key, "turns": turns, "placed": {}})


def move_episode_with_source_row(episode: Episode, **fields: Any) -> Episode:
    """Change id, video, dataset or ``meta`` of an episode such that its export still returns the source row."""
    meta = fields.pop("meta", {})
    origin = _origin(episode)
    moved = replace(episode, **fields, meta={**episode.meta, **meta})
    if origin is None:
        return moved
    origin["placed"] = {**origin["placed"], **fields, "meta": {**origin["placed"].get("meta", {}), **meta}}
    return replace(moved, meta={**moved.meta, KEY: json.dumps(origin)})


def source_row_fields(episode: Episode) -> Row:
    """Return the fields of an episode's source row without its turns; empty if it has no source row."""
    origin = _origin(episode)
    fields: Row = {} if origin is None else origin["row"]
    return fields


def restore_source_row(episode: Episode, read: Callable[[Row], Episode], turns_key: str) -> Row | None:
    """Return the source row of an episode; None if that row does not describe the episode any more.

    Args:
        episode: The episode to export.
        read: Reader of the format. The row is returned only if it reads as the same episode.
        turns_key: Key of the format's turns; the result is None for a row of another format.
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
    # `KEY` is not compared: it was made from this row
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
    """Check whether the event holds the value of a turn's key with the same JSON text."""
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
