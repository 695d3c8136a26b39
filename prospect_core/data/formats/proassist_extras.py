"""Keep the parts of an episode that ProAssist's prepared rows cannot hold in the rows' ``metadata``.

    prospect data export data/workbench --output rows && prospect data import rows/test.jsonl --output again

Steps, transitions, slots, questions, accepted values, alternative wordings, polls, occurrences and
mistakes are under ``metadata["prospect"]``, which ProAssist's readers ignore. The turns come from
the row; a row whose turns contradict the extras is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from prospect_core.timeline import (
    CandidateInterval,
    DialogState,
    Episode,
    Event,
    Mistake,
    Poll,
    Step,
    StepOccurrence,
    Task,
)
from prospect_core.util.errors import UserError
from prospect_core.util.json_io import dump_json, load_json

KEY = "prospect"
ItemT = TypeVar("ItemT")
#: lists of an episode and of its task, which rows have only if they are not empty
_LISTS = ("polls", "candidates", "occurrences", "mistakes")
_TASK_LISTS = ("order_edges", "substeps")


def collect_proassist_extras(episode: Episode) -> dict[str, Any]:
    """Collect everything of an episode that a prepared row cannot hold, as JSON values."""
    return {
        "id": episode.id,
        "steps": [[step.id, step.name] for step in episode.task.steps],
        "knowledge": episode.task.knowledge,
        "events": [_extra(event) for event in episode.events],
        "initial": None if episode.initial is None else json.loads(dump_json(episode.initial)),
        "file_order": episode.file_order,
        "meta": episode.meta,
        **{key: value for key in ("recording", "participant") if (value := getattr(episode, key))},
        **{key: json.loads(dump_json(value)) for key in _LISTS if (value := getattr(episode, key))},
        **{key: json.loads(dump_json(value)) for key in _TASK_LISTS if (value := getattr(episode.task, key))},
    }


def restore_proassist_extras(episode: Episode, extra: dict[str, Any]) -> Episode:
    """Restore an exported episode.

    Args:
        episode: Episode that the row alone gives.
        extra: ``metadata["prospect"]`` of the row.

    Raises:
        UserError: If the row contradicts the extras.
    """
    turns = list(episode.events)
    events = []
    for item in extra["events"]:
        if "change" in item:
            events.append(Event(kind="transition", **_with_tuples(item)))
            continue
        if not turns:
            raise UserError("the row has fewer turns than metadata.prospect describes")
        events.append(replace(turns.pop(0), **{"frame": None, **_with_tuples(item)}))
    if turns:
        raise UserError(f"the row has {len(turns)} more turn(s) than metadata.prospect describes")
    initial = extra["initial"]
    restored = replace(
        episode,
        id=extra["id"],
        task=Task(
            episode.task.goal,
            tuple(Step(*step) for step in extra["steps"]),
            extra["knowledge"],
            tuple((before, after) for before, after in extra.get("order_edges", ())),
            tuple(Step(**substep) for substep in extra.get("substeps", ())),
        ),
        events=tuple(events),
        initial=None if initial is None else load_json(DialogState, dump_json(initial), "metadata.prospect"),
        file_order=extra["file_order"],
        meta=extra["meta"],
        recording=extra.get("recording", ""),
        participant=extra.get("participant", ""),
        polls=_restore_list(Poll, extra, "polls"),
        candidates=_restore_list(CandidateInterval, extra, "candidates"),
        occurrences=_restore_list(StepOccurrence, extra, "occurrences"),
        mistakes=_restore_list(Mistake, extra, "mistakes"),
    )
    restored = load_json(Episode, dump_json(restored), "metadata.prospect")
    said = [d.frame for d in restored.decisions() if d.event.kind != "transition"]
    if said != [event.frame for event in episode.events]:
        raise UserError("the frames of the row's turns do not match metadata.prospect")
    return restored


def _restore_list(kind: Callable[..., ItemT], extra: dict[str, Any], key: str) -> tuple[ItemT, ...]:
    return tuple(kind(**_lists_as_tuples(item)) for item in extra.get(key, ()))


def _with_tuples(item: dict[str, Any]) -> dict[str, Any]:
    """Convert the lists of an event's JSON fields to tuples, with defaults for absent fields."""
    return {"accepted": (), "alternatives": (), "reply_span": None, **_lists_as_tuples(item)}


def _lists_as_tuples(item: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in item.items()}


def _extra(event: Event) -> dict[str, Any]:
    """Return the fields of an event that its turn in the row lacks; all fields of a transition."""
    fields = json.loads(dump_json(event))
    in_row = {"assistant": ("time", "kind", "text", "labels", "progress"), "user": ("time", "kind", "text", "labels")}
    left_out = in_row.get(event.kind, ("kind",))
    return {k: v for k, v in fields.items() if k not in left_out and v not in (None, "", {}, [])}
