"""The state of every step of a task, and the changes that lead from one state to another."""

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
#: change -> (state that it needs, state that it gives); anything else is illegal
CHANGE_RULES: dict[Change, tuple[StepState, StepState]] = {
    "start": ("not_started", "in_progress"),
    "complete": ("in_progress", "completed"),
    "reopen": ("completed", "in_progress"),
}


@dataclass(frozen=True)
class DialogState:
    """The state of every step, with the completed ones in order of completion and their times in seconds."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    step_ids: tuple[str, ...]
    states: tuple[StepState, ...]
    completions: tuple[tuple[str, float], ...] = ()

    @staticmethod
    def initial(task: Task) -> DialogState:
        """Nothing has been started."""
        return DialogState(task.step_ids, (STEP_STATES[0],) * len(task.steps))

    def __getitem__(self, step_id: str) -> StepState:
        return self.states[self.step_ids.index(step_id)]

    def is_legal(self, step_id: str, change: str) -> bool:
        """Whether ``change`` may happen to ``step_id`` now; unknown steps and changes are not legal."""
        return change in CHANGE_RULES and step_id in self.step_ids and self[step_id] == CHANGE_RULES[change][0]

    def apply(self, step_id: str, change: Change, time_s: float) -> DialogState:
        """The state after a legal change; an illegal one raises `TimelineError`."""
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
        """For every step whose state differs from ``target``: (step id, wanted state, legal changes that lead there).

        A jump from not_started to completed is ``start`` then ``complete``; an unreachable state has no changes.
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
        """The legal (step id, change) that bring every step as near to ``target`` as can be, in the order of the steps."""
        if self.states == target:
            return []
        return [(step, change) for step, _, changes in self.changes_to(target) for change in changes]
