"""What one step of a stream decided, and what any model that can be replayed offers.

python -c "from prospect_core.stream.step_output import StepOutput; help(StepOutput)"
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from prospect_core.records import CompressionEvent, PredictedTransition, PredictedUtterance, Refusal
from prospect_core.timeline import DialogState, Task


@dataclass(frozen=True)
class StepOutput:
    """What one step decided. Probabilities are in 0..1; ``state_probs`` has shape (K, 3). What a model cannot tell is None,
    then on every frame."""

    frame: int
    speaking_prob: float | None
    update_prob: float | None
    state_probs: np.ndarray | None
    transitions: tuple[PredictedTransition, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    utterance: PredictedUtterance | None = None
    cache_tokens: int | None = 0
    cache_bytes: int | None = 0
    seconds: float = 0.0
    compression: CompressionEvent | None = None
    compression_seconds: float = 0.0
    #: from the frame's arrival to the first token of the reply; None in silence
    first_token_seconds: float | None = None

    @property
    def text(self) -> str:
        """What is said, empty for silence."""
        return self.utterance.text if self.utterance else ""


class StreamModel(Protocol):
    """Any streaming model that can be replayed.

    Optional:

    * ``advance(span)`` takes several (frame, user_text) that are known ahead and gives the outputs of at least one of them,
      as `VLMStreamRunner.advance`;
    * ``ask(question, choices, max_tokens, keep)`` answers a question now and leaves the stream as it was, as
      `VLMStreamRunner.ask`. Polls of a model without it get the official protocol: a new stream over the poll's clip;
    * ``follow(rules)`` takes the `StreamRules` of a protocol after ``reset``;
    * ``watch``, a `StageTimer` with the seconds by stage; ``peak_tokens``; ``lengths``, `StreamLengths` that note where it
      leaves those of its training.
    """

    def reset(self, task: Task, state: DialogState | None = None, fps: float = 2, start_frame: int = 0) -> None:
        """Begin a stream."""
        ...

    def step(self, frame: Any, user_text: str | None = None) -> StepOutput:
        """Take the next frame, and what the user said since the one before."""
        ...
