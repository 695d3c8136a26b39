"""Map the transitions of DST clips to those of an episode, and reconstruct the state before a clip.

The extension names start, complete, pause, resume, cancel, reset and fail; its code writes only
start and complete. PROSPECT has three states per step. The rules, applied per step in the order of
the clip:

* ``start`` of a step that is not started is ``start``; of a completed step it is ``reopen``.
* ``complete`` of a step in progress is ``complete``.
* All others do not change the state and are kept as annotations: ``pause``, ``resume``, ``cancel``,
  ``fail``, ``reset`` and a change to the step's current state. A completed step that is reset and
  started again is ``reopen``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prospect_core.timeline import STEP_STATES, Change, DialogState, StepState, Task
from prospect_core.util.errors import UserError

#: keys of an episode's ``meta``: changes without a counterpart in our states, and corrected
#: initial states
ANNOTATED, REPAIRED = "dst_annotations", "dst_repaired"
#: keys that hold the contents of the two forms of a clip
TURNS, EVENTS_FORM = "conversation", "events"
#: changes of the extension without a counterpart in our three states
ANNOTATIONS = ("pause", "resume", "cancel", "reset", "fail", "error")
#: export of ``reopen``, which the extension does not have
REOPENED = ("reset", "start")
#: state that a step's first change requires before it; a reset requires none
_NEEDS: dict[str, StepState | None] = {
    "start": "not_started",
    "complete": "in_progress",
    "reopen": "completed",
    "reset": None,
}


@dataclass(frozen=True)
class Named:
    """A change as a clip states it.

    Attributes:
        step: Step id.
        word: The extension's word for the change.
        time: Time in seconds.
        turn: Number of its turn in the clip.
    """

    step: str
    word: str
    time: float
    turn: int


def states_before_proassist_dst_changes(
    task: Task, claimed: Mapping[str, Any] | None, changes: Sequence[Named], spans: Mapping[str, Any], begin: float
) -> tuple[dict[str, StepState], list[str]]:
    """Determine the state of every step before a clip, and the errors in the state that the clip claims.

    The extension often writes the state at the END of a clip, or the state after some changes of
    the whole video. If a clip's own changes contradict the claimed state, that state is ignored: a
    step then has the state that its first change requires. A step without changes has the state
    that its span gives at the clip's first second. If the claim is consistent, it applies. Without
    any of these a step is not started.

    Args:
        task: The steps.
        claimed: ``initial_dst_state`` of the clip.
        changes: Changes of the clip, in order.
        spans: (first second, last second) of each step that has a span.
        begin: First second of the clip.

    Returns:
        (state by step, one line for each step whose claimed state is wrong).

    Raises:
        UserError: If the claimed state names an unknown step or state.
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
    """Separate the changes that our states follow from those kept as annotations.

    Args:
        states: State of each step before the clip.
        changes: Changes of the clip, in order.

    Returns:
        (followed changes, each with our word for it; the other changes).
    """
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
    """Return a change's word in lower case.

    Raises:
        UserError: If the extension has no such word; the message starts with ``where``.
    """
    known = ("start", "complete", "reopen", *ANNOTATIONS)
    if not isinstance(word, str) or word.lower() not in known:
        raise UserError(f"{where}: transition {word!r} is unknown; known: {', '.join(known)}")
    return word.lower()


def state_from_proassist_dst_changes(task: Task, states: Mapping[str, StepState]) -> DialogState | None:
    """Convert states to the initial state of an episode; return None if no step is started."""
    if all(state == "not_started" for state in states.values()):
        return None
    return DialogState(task.step_ids, tuple(states[step] for step in task.step_ids))


def _known(state: Any) -> StepState:
    """Map to one of our states: paused is in progress; cancelled and failed are not started."""
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
