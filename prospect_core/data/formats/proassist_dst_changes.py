"""The changes of the DST extension's clips as ours: which of them change a step, and what state a clip begins with.

The extension names start, complete, pause, resume, cancel, reset and fail; its own code only ever writes start and
complete. We follow three states. The rule, step by step and in the order of the clip:

* ``start`` of a step that is not started starts it; of a completed one it is ``reopen``;
* ``complete`` of a step in progress completes it;
* all others leave the state alone and are carried as annotation: ``pause``, ``resume``, ``cancel``, ``fail`` and ``reset``
  (a reset step that is started again after it was completed is ``reopen``), and a change that the step is in already.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prospect_core.timeline import STEP_STATES, Change, DialogState, StepState, Task
from prospect_core.util.errors import UserError

#: ``meta`` of an Episode: changes without a counterpart in our states, and states that the clip had wrong
ANNOTATED, REPAIRED = "dst_annotations", "dst_repaired"
#: the two forms of a clip, by the key of what happens in it
TURNS, EVENTS_FORM = "conversation", "events"
#: changes of the extension that have no counterpart in our three states
ANNOTATIONS = ("pause", "resume", "cancel", "reset", "fail", "error")
#: how a reopened step is written for the extension, which knows no ``reopen``
REOPENED = ("reset", "start")
#: the state that a step's first change in a clip needs before it; a reset needs none
_NEEDS: dict[str, StepState | None] = {
    "start": "not_started",
    "complete": "in_progress",
    "reopen": "completed",
    "reset": None,
}


@dataclass(frozen=True)
class Named:
    """A change as a clip names it: step id, the extension's word, seconds, and the number of its turn."""

    step: str
    word: str
    time: float
    turn: int


def states_before_proassist_dst_changes(
    task: Task, claimed: Mapping[str, Any] | None, changes: Sequence[Named], spans: Mapping[str, Any], begin: float
) -> tuple[dict[str, StepState], list[str]]:
    """The state of every step before a clip, and what was wrong with the state that the clip claims.

    The extension writes the state at the END of a clip, or that after a few changes of the whole video. A claimed state
    that its own changes contradict is not trusted: a step begins as its first change needs it; one without a change
    begins as its span says at the clip's first second; else as claimed, else not started.

    Args:
        task: The steps.
        claimed: ``initial_dst_state`` of the clip.
        changes: The clip's changes, in order.
        spans: (first, last second) of each step that has a span.
        begin: The clip's first second.

    Returns:
        The states, and a line for each step whose claimed state is another one.
    """
    claim = dict(claimed or {})
    unknown = [step for step in claim if step not in task.step_ids]
    if unknown:
        raise UserError(f"the initial state names step {unknown[0]!r}, which the clip's steps do not have")
    first: dict[str, str] = {}
    for change in changes:
        if change.word in _NEEDS:
            first.setdefault(change.step, change.word)
    needed = {step: state for step, word in first.items() if (state := _NEEDS[word]) is not None}
    claim_is_sound = bool(claim) and all(
        _known(claim[step]) == state for step, state in needed.items() if step in claim
    )
    states: dict[str, StepState] = {}
    for step in task.step_ids:
        if claim_is_sound and step in claim:
            states[step] = _known(claim[step])
        elif step in needed:
            states[step] = needed[step]
        else:
            states[step] = _by_span(spans.get(step), begin)
    repaired = [f"{s} {claim[s]} -> {states[s]}" for s in task.step_ids if s in claim and _known(claim[s]) != states[s]]
    return states, repaired


def split_proassist_dst_changes(
    states: Mapping[str, StepState], changes: Iterable[Named]
) -> tuple[list[tuple[Named, Change]], list[Named]]:
    """The changes that our states follow, each with our word for it, and those that are carried as annotation."""
    now = dict(states)
    taken: list[tuple[Named, Change]] = []
    carried: list[Named] = []
    for change in changes:
        ours = _ours(change.word, now[change.step])
        if ours is None:
            carried.append(change)
        else:
            taken.append((change, ours))
            now[change.step] = "completed" if ours == "complete" else "in_progress"
    return taken, carried


def _ours(word: str, state: StepState) -> Change | None:
    if word == "start" and state == "not_started":
        return "start"
    if word in ("start", "reopen") and state == "completed":
        return "reopen"
    if word == "complete" and state == "in_progress":
        return "complete"
    return None


def require_known_proassist_dst_change(word: Any, where: str) -> str:
    """A change's word as the extension has it; another one is a `UserError`."""
    known = ("start", "complete", "reopen", *ANNOTATIONS)
    if not isinstance(word, str) or word.lower() not in known:
        raise UserError(f"{where}: transition {word!r} is unknown; known: {', '.join(known)}")
    return word.lower()


def state_from_proassist_dst_changes(task: Task, states: Mapping[str, StepState]) -> DialogState | None:
    """The states as an Episode has them; None where nothing is started."""
    if all(state == "not_started" for state in states.values()):
        return None
    return DialogState(task.step_ids, tuple(states[step] for step in task.step_ids))


def _known(state: Any) -> StepState:
    """One of our states: a paused step is in progress, a cancelled or failed one is not started."""
    named: dict[str, StepState] = {
        **{known: known for known in STEP_STATES},
        "paused": "in_progress",
        "cancelled": "not_started",
        "failed": "not_started",
    }
    if not isinstance(state, str) or state not in named:
        raise UserError(f"the initial state names {state!r}; known: {', '.join(named)}")
    return named[state]


def _by_span(span: tuple[float, float] | None, begin: float) -> StepState:
    if span is None or (span[0] >= begin and span[1] > begin):
        return "not_started"
    return "completed" if span[1] <= begin else "in_progress"
