"""State of every step of a task, and the legal changes between states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from prospect_core.timeline.frame_times import TimelineError
from prospect_core.timeline.task import STRICT, Task

StepState = Literal["not_started", "in_progress", "completed"]
Change = Literal["start", "complete", "reopen"]

STEP_STATES: tuple[StepState, ...] = ("not_started", "in_progress", "completed")
CHANGES: tuple[Change, ...] = ("start", "complete", "reopen")
#: change: (state that it needs, resulting state); anything else is illegal
CHANGE_RULES: dict[Change, tuple[StepState, StepState]] = {
    "start": ("not_started", "in_progress"),
    "complete": ("in_progress", "completed"),
    "reopen": ("completed", "in_progress"),
}


@dataclass(frozen=True)
class DialogState:
    """State of every step.

    Attributes:
        step_ids: Ids of the steps.
        states: State of each step.
        completions: (step id, seconds) of completed steps, in order of completion.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    step_ids: tuple[str, ...]
    states: tuple[StepState, ...]
    completions: tuple[tuple[str, float], ...] = ()

    @staticmethod
    def initial(task: Task) -> DialogState:
        """Return the state in which no step has started."""
        return DialogState(task.step_ids, (STEP_STATES[0],) * len(task.steps))

    def __getitem__(self, step_id: str) -> StepState:
        return self.states[self.step_ids.index(step_id)]

    def is_legal(self, step_id: str, change: str) -> bool:
        """Check whether ``change`` may happen to ``step_id`` now; unknown steps and changes are not legal."""
        return change in CHANGE_RULES and step_id in self.step_ids and self[step_id] == CHANGE_RULES[change][0]

    def apply(self, step_id: str, change: Change, time_s: float) -> DialogState:
        """Return the state after a change.

        Args:
            step_id: Id of the step.
            change: The change.
            time_s: Time in seconds.

        Raises:
            TimelineError: If the change is illegal.
        """
        if not self.is_legal(step_id, change):
            now = self[step_id] if step_id in self.step_ids else "not a step of this task"
            raise TimelineError(f"{step_id}->{change} at {time_s:g} s is illegal: {step_id} is {now}")
        k = self.step_ids.index(step_id)
        states = (*self.states[:k], CHANGE_RULES[change][1], *self.states[k + 1 :])
        completions = tuple(item for item in self.completions if item[0] != step_id)
        if change == "complete":
            completions = (*completions, (step_id, float(time_s)))
        return DialogState(self.step_ids, states, completions)

    def changes_to(self, target: Sequence[StepState]) -> list[tuple[str, StepState, tuple[Change, ...]]]:
        """Return (step id, wanted state, legal changes to it) for every step that differs from ``target``.

        A jump from not_started to completed is ``start``, then ``complete``. An unreachable state
        has no changes.
        """
        paths: dict[tuple[StepState, StepState], tuple[Change, ...]] = {
            ("not_started", "in_progress"): ("start",),
            ("not_started", "completed"): ("start", "complete"),
            ("in_progress", "completed"): ("complete",),
            ("completed", "in_progress"): ("reopen",),
        }
        return [
            (step, new, paths.get((old, new), ()))
            for step, old, new in zip(self.step_ids, self.states, target, strict=True)
            if old != new
        ]

    def path_to(self, target: Sequence[StepState]) -> list[tuple[str, Change]]:
        """Return the legal (step id, change) that bring every step as close to ``target`` as possible.

        They are in the order of the steps.
        """
        if self.states == target:
            return []
        return [(step, change) for step, _, changes in self.changes_to(target) for change in changes]
