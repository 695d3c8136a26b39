"""State of one stream: its context, its tracked state, and its position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from prospect_core.sequence.layout import Prompt
from prospect_core.stream.context_lengths import StreamLengths
from prospect_core.stream.kv_cache import StreamCache
from prospect_core.stream.mistake_reports import MistakeReporter
from prospect_core.stream.polling import StreamRules
from prospect_core.stream.state_tracker import StateTracker
from prospect_core.stream.token_metadata import Kind, TokenMeta
from prospect_core.timeline import Task


@dataclass(frozen=True)
class HeadOutputs:
    """Probabilities of the decision heads for the frames of a span.

    Attributes:
        speaking_F: Speaking probability of each frame.
        update_F: Update probability of each frame.
        states_FK3: (F, K, 3) state probabilities.
        mistake_F: Mistake probability of each frame; None without a mistake head.
    """

    speaking_F: list[float]
    update_F: list[float]
    states_FK3: np.ndarray
    mistake_F: list[float] | None = None


class ContextTokens:
    """Tokens of a stream's context.

    Args:
        cache: Empty cache.

    Attributes:
        cache: Keys and values of the tokens that the model has read.
        meta: Metadata of the tokens, in the order of the context.
        ids: Token ids of the context.
        unread: Number of last tokens in ``ids`` that are not in the cache yet; they are read with
            the next ones.
    """

    def __init__(self, cache: StreamCache) -> None:
        self.cache, self.meta = cache, TokenMeta()
        self.ids: list[int] = []
        self.unread = 0

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def token_bytes(self) -> int:
        """Bytes of a token's keys and values."""
        return self.cache.nbytes // max(1, self.cache.length)

    def to_read(self, ids: Sequence[int]) -> list[int]:
        """Return the tokens that a forward pass reads: unread ones, then ``ids``."""
        return [*self.ids[len(self.ids) - self.unread :], *ids]

    def note_read(self, ids: Sequence[int]) -> None:
        """Append tokens that are now in the cache, together with all unread ones."""
        self.ids += ids
        self.unread = 0

    def append_unread(self, ids: Sequence[int], kind: Kind | None = None, frame: int = -1) -> None:
        """Append text that is read with the next tokens; with a ``kind``, also its metadata."""
        if kind is not None:
            self.meta.add(kind, frame, len(ids))
        self.ids += ids
        self.unread += len(ids)

    def mark(self) -> tuple[int, int]:
        """Return the current length for `restore`: (tokens of the context, tokens in the cache)."""
        return len(self.ids), self.cache.length

    def restore(self, mark: tuple[int, int]) -> None:
        """Remove everything after a mark.

        Tokens that were unread at the mark are unread again, so the next forward pass reads exactly
        what it would have read.
        """
        tokens, cached = mark
        self.cache.truncate(cached)
        self.meta.truncate(tokens)
        del self.ids[tokens:]
        self.unread = tokens - cached

    def truncate(self, length: int) -> None:
        """Return to the context of ``length`` tokens, all of which were read."""
        self.cache.truncate(length)
        self.meta.truncate(length)
        del self.ids[length:]

    def keep(self, indices: Sequence[int], inverse_frequencies: Tensor) -> None:
        """Remove all other tokens and move the kept ones together, with keys rotated to their new positions."""
        self.cache.keep(indices, inverse_frequencies)
        self.meta.keep(indices)
        self.ids[:] = [self.ids[index] for index in indices]


@dataclass
class StreamState:
    """State of one stream from `VLMStreamRunner.reset` on.

    Attributes:
        task: The task.
        fps: Decision frames per second.
        frame: Number of the next frame.
        tracker: Tracked state of the task.
        mistakes: Reports of mistakes.
        lengths: Lengths of the stream compared with those of training.
        reserve: Maximum tokens that one step may add.
        context: Tokens of the context.
        prompt: Prompt at the start of the context.
        markers: Hidden states (1, K, D) at the prompt's step markers.
        since: Frame after the last compression, or the first frame.
        rest_until: First frame with an update decision after a refused update.
        said: (speaker, text) of all turns, oldest first.
        peak_tokens: Most tokens in the context so far, including speculative ones.
        compressions: Number of compressions.
        rules: Rules of the protocol: whether the stream speaks, and which replies its context
            holds.
    """

    task: Task
    fps: float
    frame: int
    tracker: StateTracker
    mistakes: MistakeReporter
    lengths: StreamLengths
    reserve: int
    context: ContextTokens
    prompt: Prompt
    markers: Tensor
    since: int
    rest_until: int
    said: list[tuple[str, str]] = field(default_factory=list)
    peak_tokens: int = 0
    compressions: int = 0
    rules: StreamRules = field(default_factory=StreamRules)

    def note_peak(self) -> None:
        """Record the length of the context if it is the longest so far."""
        self.peak_tokens = max(self.peak_tokens, len(self.context))
