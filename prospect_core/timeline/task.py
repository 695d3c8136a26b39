"""A task and its steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

#: dataclasses read strictly: no unknown key, no value that is not finite
STRICT = {"extra": "forbid", "allow_inf_nan": False}


@dataclass(frozen=True)
class Step:
    """One step of a task: an id such as ``S1`` and a name in words."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    id: str
    name: str


@dataclass(frozen=True)
class Task:
    """A goal, its ordered steps (none is legal) and, where the data has it, knowledge such as a recipe."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    goal: str
    steps: tuple[Step, ...] = ()
    knowledge: str = ""

    @property
    def step_ids(self) -> tuple[str, ...]:
        return tuple(step.id for step in self.steps)
