"""Tasks and their steps."""

from __future__ import annotations

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
    """

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    goal: str
    steps: tuple[Step, ...] = ()
    knowledge: str = ""

    @property
    def step_ids(self) -> tuple[str, ...]:
        """Ids of the steps."""
        return tuple(step.id for step in self.steps)
