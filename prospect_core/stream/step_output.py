"""Output of one step of a stream, and the interface of models that can be replayed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from prospect_core.records import CompressionEvent, PredictedMistake, PredictedTransition, PredictedUtterance, Refusal
from prospect_core.timeline import DialogState, Task


@dataclass(frozen=True)
class StepOutput:
    """Result of one step. A value that a model never provides is None on every frame.

    Attributes:
        frame: Video frame.
        speaking_prob: Speaking probability, 0 to 1.
        update_prob: Update probability, 0 to 1.
        state_probs: (K, 3) probabilities of `STEP_STATES` for every step.
        transitions: Accepted transitions.
        refusals: Refused states.
        utterance: Utterance, if any.
        cache_tokens: Tokens of the context after the step.
        cache_bytes: Bytes of the context after the step.
        seconds: Seconds of the step.
        compression: Compression, if any.
        compression_seconds: Seconds of the compression.
        first_token_seconds: Seconds from the frame to the first token of the reply; None in
            silence.
        mistake_prob: Probability that the filmed person is making a mistake, 0 to 1.
        mistake: Report of a mistake, if any.
        read_tokens: Tokens that the step read before its decision; None for all of
            ``cache_tokens``, as of a model that reads its whole context on each frame.
    """

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
    first_token_seconds: float | None = None
    mistake_prob: float | None = None
    mistake: PredictedMistake | None = None
    read_tokens: int | None = None

    @property
    def text(self) -> str:
        """Text of the utterance; empty for silence."""
        return self.utterance.text if self.utterance else ""


class StreamModel(Protocol):
    """Streaming model that can be replayed.

    Optional attributes:

    * ``advance(span)`` takes several known (frame, user_text) and returns the outputs of at least
      one of them, as in `VLMStreamRunner.advance`.
    * ``ask(question, choices, max_tokens, keep)`` answers a question and leaves the stream
      unchanged, as in `VLMStreamRunner.ask`. For a model without it, polls follow the official
      protocol: a new stream over the poll's clip.
    * ``follow(rules)`` takes the `StreamRules` of a protocol after ``reset``.
    * ``skip_to(frame)`` continues with a later frame, as in `VLMStreamRunner.skip_to`. For a model
      without it, the clocks ``simulated`` and ``live`` set its attribute ``frame`` if it has one:
      the number of the next frame.
    * ``watch`` is a `StageTimer`, ``peak_tokens`` a number of tokens, and ``lengths`` the
      `StreamLengths` of the stream.
    """

    def reset(self, task: Task, state: DialogState | None = None, fps: float = 2, start_frame: int = 0) -> None:
        """Start a stream.

        Args:
            task: Task of the stream.
            state: Initial state; nothing started if None.
            fps: Decision frames per second.
            start_frame: Number of the first frame.
        """
        ...

    def step(self, frame: Any, user_text: str | None = None) -> StepOutput:
        """Process the next frame and the user's text since the frame before."""
        ...
