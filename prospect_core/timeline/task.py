"""Tasks and their steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

#: strict reading of dataclasses: no unknown key, no value that is not finite
STRICT = {"extra": "forbid", "allow_inf_nan": False}


@dataclass(frozen=True)
class Step:
    """A step of a task.

    Attributes:
        id: Id such as ``S1``.
        name: Name in words.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    id: str
    name: str


@dataclass(frozen=True)
class Task:
    """A task.

    Attributes:
        goal: Its goal.
        steps: Its steps in order; may be empty.
        knowledge: Knowledge such as a recipe; empty if the data has none.
        order_edges: Partial order of the steps (task graph) as (id of the earlier step, id of the
            later step); empty if the data has none. The listed order need not follow it.
        substeps: Substeps, a second level below the steps, in order; empty if the data has none.
            The model tracks the steps only.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    goal: str
    steps: tuple[Step, ...] = ()
    knowledge: str = ""
    order_edges: tuple[tuple[str, str], ...] = ()
    substeps: tuple[Step, ...] = ()

    @property
    def step_ids(self) -> tuple[str, ...]:
        """Ids of the steps."""
        return tuple(step.id for step in self.steps)

    def find_predecessors(self) -> dict[str, tuple[str, ...]]:
        """Return the steps that must be completed before each step, directly or not, by step id."""
        direct: dict[str, list[str]] = {step: [] for step in self.step_ids}
        for before, after in self.order_edges:
            direct[after].append(before)
        return {step: tuple(s for s in self.step_ids if s in _reach(step, direct)) for step in self.step_ids}


def _reach(start: str, direct: Mapping[str, Sequence[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(direct[start])
    while waiting:
        step = waiting.pop()
        if step not in found:
            found.add(step)
            waiting += direct[step]
    return found
