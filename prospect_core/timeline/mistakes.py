"""Mistakes of the filmed person: wrong, skipped or misplaced executions of steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from prospect_core.timeline.task import STRICT


@dataclass(frozen=True)
class Mistake:
    """A mistake, as the data annotates it.

    Attributes:
        id: Id, unique in the episode.
        tag: Kind of the mistake, as the source names it, such as ``Order Error``.
        step: Id of the step in which it happens; empty if the data names none.
        span: (start, end) in seconds of the video. None for a mistake without a time, such as a
            step that was never done: it is known only at the end of the episode.
        description: The mistake in words; empty if the data has none.
        corrected: Whether the person corrected it; None if the data does not say.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    id: str
    tag: str
    step: str = ""
    span: tuple[float, float] | None = None
    description: str = ""
    corrected: bool | None = None
