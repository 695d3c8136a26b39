"""Token metadata of a stream's context: prompt, frame or kind of text, per token."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np


class Kind(IntEnum):
    """Kind of the piece that a token belongs to."""

    PROMPT = 0
    FRAME = 1
    USER = 2
    UPDATE = 3
    REPLY = 4


class TokenMeta:
    """Metadata of each token of the cache: kind, video frame, and position in its piece."""

    def __init__(self) -> None:
        self._kind: list[int] = []
        self._frame: list[int] = []
        self._place: list[int] = []

    def __len__(self) -> int:
        return len(self._kind)

    @property
    def kind(self) -> np.ndarray:
        """(T,) `Kind` of each token."""
        return np.array(self._kind, dtype=np.int8)

    @property
    def frame(self) -> np.ndarray:
        """(T,) video frame on which each token was read; -1 in the prompt."""
        return np.array(self._frame, dtype=np.int64)

    @property
    def place(self) -> np.ndarray:
        """(T,) position in the piece, from 0; for a frame's token its patch."""
        return np.array(self._place, dtype=np.int64)

    def add(self, kind: Kind, frame: int, count: int) -> None:
        """Append the tokens of one piece.

        Args:
            kind: Kind of the piece.
            frame: Video frame on which it was read; -1 in the prompt.
            count: Number of its tokens.
        """
        self._kind += [int(kind)] * count
        self._frame += [frame] * count
        self._place += range(count)

    def keep(self, indices: Sequence[int]) -> None:
        """Remove all other tokens."""
        for values in (self._kind, self._frame, self._place):
            values[:] = [values[index] for index in indices]

    def truncate(self, length: int) -> None:
        """Remove everything after the first ``length`` tokens."""
        for values in (self._kind, self._frame, self._place):
            del values[length:]
