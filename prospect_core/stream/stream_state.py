"""The state of one stream: what its context holds, what is tracked, and how far it has come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from prospect_core.sequence.layout import Prompt
from prospect_core.stream.context_lengths import StreamLengths
from prospect_core.stream.kv_cache import StreamCache
from prospect_core.stream.polling import StreamRules
from prospect_core.stream.state_tracker import StateTracker
from prospect_core.stream.token_metadata import Kind, TokenMeta
from prospect_core.timeline import Task


@dataclass(frozen=True)
class HeadOutputs:
    """What the heads say of the frames of a span: probabilities of speaking, of an update, and of the states (F, K, 3)."""

    speaking_F: list[float]
    update_F: list[float]
    states_FK3: np.ndarray


class ContextTokens:
    """The tokens of a stream's context.

    Attributes:
        cache: Keys and values of the tokens that the model has read.
        meta: What each token is, in the order of the context.
        ids: Token ids of the context.
        unread: How many tokens at the end of ``ids`` are not in the cache yet; they are read with the next ones.
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
        """The tokens that a forward pass reads: those not read yet, then ``ids``."""
        return [*self.ids[len(self.ids) - self.unread :], *ids]

    def note_read(self, ids: Sequence[int]) -> None:
        """Append tokens that are in the cache now, together with all that were not read yet."""
        self.ids += ids
        self.unread = 0

    def append_unread(self, ids: Sequence[int], kind: Kind | None = None, frame: int = -1) -> None:
        """Append text that is read with the next tokens; with a ``kind`` its metadata are noted, too."""
        if kind is not None:
            self.meta.add(kind, frame, len(ids))
        self.ids += ids
        self.unread += len(ids)

    def mark(self) -> tuple[int, int]:
        """The present length: (tokens of the context, those of them in the cache), for `restore`."""
        return len(self.ids), self.cache.length

    def restore(self, mark: tuple[int, int]) -> None:
        """Take back everything that came after a mark. What was unread then is unread again, so that the next forward pass
        reads exactly what it would have read."""
        tokens, cached = mark
        self.cache.truncate(cached)
        self.meta.truncate(tokens)
        del self.ids[tokens:]
        self.unread = tokens - cached

    def truncate(self, length: int) -> None:
        """Go back to where the context held ``length`` tokens, all of them read."""
        self.cache.truncate(length)
        self.meta.truncate(length)
        del self.ids[length:]

    def keep(self, indices: Sequence[int], inverse_frequencies: Tensor) -> None:
        """Forget all tokens but these, which move together; keys are turned to their new positions."""
        self.cache.keep(indices, inverse_frequencies)
        self.meta.keep(indices)
        self.ids[:] = [self.ids[index] for index in indices]


@dataclass
class StreamState:
    """One stream, from `VLMStreamRunner.reset` on.

    Attributes:
        task: The task.
        fps: Decision frames per second.
        frame: Number of the next frame.
        tracker: The tracked state of the task.
        lengths: Longest context and time, compared with those of training.
        reserve: Tokens that one step may add at most.
        context: The tokens of the context.
        prompt: The prompt that the context begins with.
        markers: Hidden states (1, K, D) at the prompt's step markers.
        since: Frame of the last compression, or the first frame.
        rest_until: First frame on which an update is decided again after a refused one.
        said: What was said, oldest first: (who, text).
        peak_tokens: The most tokens ever held, speculation included.
        compressions: How often the context was compressed.
        rules: Whether the stream speaks, and whose replies its context holds.
    """

    task: Task
    fps: float
    frame: int
    tracker: StateTracker
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
        """Keep the length of the context where it is the longest so far."""
        self.peak_tokens = max(self.peak_tokens, len(self.context))
