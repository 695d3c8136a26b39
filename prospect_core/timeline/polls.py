"""Polls (questions of a benchmark at given times), and intervals in which a decision is requested."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from prospect_core.timeline.task import STRICT


@dataclass(frozen=True)
class Poll:
    """A question that the model must answer at a time of the video.

    Attributes:
        id: Id, unique in the episode.
        time: Time in seconds of the video; the model knows the frames up to ``floor(time * fps)``.
        question: The question as the model reads it.
        choices: Texts of the choices, in the order of their letters A, B, ...; empty for a free
            answer.
        accepted: Correct answers: letters if there are choices, otherwise texts; empty if none is
            known.
        kind: Task or category of the benchmark.
        history: ``isolated``: question and answer leave no trace in the stream. ``cumulative``:
            they become part of it.
        clip_start: Start of the clip that the official protocol cuts for this poll, in seconds.
        meta: Data with which the benchmark finds its own item for the answer.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    id: str
    time: float
    question: str
    choices: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    kind: str = ""
    history: Literal["isolated", "cumulative"] = "isolated"
    clip_start: float = 0.0
    meta: dict[str, str] = field(default_factory=dict)

    @property
    def letters(self) -> tuple[str, ...]:
        """Letters of the choices."""
        return tuple(chr(ord("A") + number) for number in range(len(self.choices)))


@dataclass(frozen=True)
class CandidateInterval:
    """An interval of the video, in seconds, in which the model must decide whether to speak."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    id: str
    start: float
    end: float
