"""State updates in the DST extension's form, ``S1->start``, and the states that result from them.

Predicted updates that the state machine does not allow, and texts that are not updates, become
refusals.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from prospect_core.records import PredictedTransition, Refusal
from prospect_core.timeline import CHANGES, Change, DialogState, Episode, Step, Task
from prospect_core.util.errors import DataError

_UPDATE = re.compile(r"([^\s;,]+?)\s*->\s*(\w+)")


@dataclass(frozen=True)
class Update:
    """One update on a frame of the stream.

    Attributes:
        index: Index of the frame.
        step: Id of the step; empty if the text is not an update.
        change: The change as in the file.
    """

    index: int
    step: str
    change: str

    def known(self, where: str) -> Change:
        """Return the change of a reference update.

        Args:
            where: Prefix of the error message.

        Raises:
            DataError: PROSPECT does not have this change.
        """
        if self.change not in CHANGES or not self.step:
            raise DataError(
                f"{where}: frame {self.index}: reference update {self.step}->{self.change}; known: {', '.join(CHANGES)};"
                " give --data FOLDER to score against the data's own states"
            )
        return self.change


def read_proassist_updates(frames: Sequence[Mapping[str, Any]], key: str) -> list[Update]:
    """Read the updates in a field of the frames.

    Args:
        frames: Outputs by frame.
        key: Name of the field. Several updates on one frame are separated by ``;``, commas or
            spaces.

    Returns:
        The updates in order.
    """
    out = []
    for frame in frames:
        text = frame.get(key)
        if not isinstance(text, str) or not text.strip():
            continue
        index = frame["frame_idx_in_stream"]
        out += [Update(index, step, change) for step, change in _UPDATE.findall(text)]
        if rest := " ".join(_UPDATE.sub(" ", text).split()).strip(" ;,"):
            out.append(Update(index, "", rest))
    return out


def list_proassist_update_steps(updates: Sequence[Update]) -> tuple[Step, ...]:
    """Return the steps in updates, sorted by number.

    The file has no names of steps, so the id is the name.
    """
    names = {update.step for update in updates if update.step}
    return tuple(Step(name, name) for name in sorted(names, key=_numbers_first))


def _numbers_first(name: str) -> tuple[int, str]:
    digits = re.sub(r"\D", "", name)
    return (int(digits) if digits else 0, name)


def proassist_updates_initial_state(task: Task, updates: Sequence[Update]) -> DialogState | None:
    """Infer the state before the first update.

    A step whose first update completes it was in progress; a step whose first update reopens it was
    completed.

    Args:
        task: The task.
        updates: The reference updates.

    Returns:
        The state; None if no step has started.
    """
    first: dict[str, str] = {}
    for update in updates:
        first.setdefault(update.step, update.change)
    before = {"complete": "in_progress", "reopen": "completed"}
    states = tuple(before.get(first.get(step, ""), "not_started") for step in task.step_ids)
    if all(state == "not_started" for state in states):
        return None
    return DialogState(task.step_ids, cast(Any, states))


def track_proassist_updates(
    updates: Sequence[Update], episode: Episode
) -> tuple[tuple[PredictedTransition, ...], tuple[Refusal, ...]]:
    """Apply predicted updates to the state of an episode.

    Args:
        updates: The predicted updates.
        episode: The episode.

    Returns:
        The updates that the state machine allows, and the refused ones, by video frame.
    """
    transitions: list[PredictedTransition] = []
    refusals: list[Refusal] = []
    state = episode.initial_state
    for update in updates:
        frame = episode.start_frame + update.index
        if state.is_legal(update.step, update.change):
            change = cast(Change, update.change)
            state = state.apply(update.step, change, frame / episode.fps)
            transitions.append(PredictedTransition(frame, update.step, change))
        else:
            refusals.append(Refusal(frame, update.step, update.change))
    return tuple(transitions), tuple(refusals)
