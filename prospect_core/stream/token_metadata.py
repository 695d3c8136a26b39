"""What each token of a stream's context is: of the prompt, of a frame, or of a piece of text.

python -c "from prospect_core.stream.token_metadata import TokenMeta; help(TokenMeta)"
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np


class Kind(IntEnum):
    """Of what a token is a part."""

    PROMPT = 0
    FRAME = 1
    USER = 2
    UPDATE = 3
    REPLY = 4


class TokenMeta:
    """One entry a token of the cache: its kind, the video frame it came with, and its place among its piece's tokens."""

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
        """(T,) the video frame on which each token was read; -1 in the prompt."""
        return np.array(self._frame, dtype=np.int64)

    @property
    def place(self) -> np.ndarray:
        """(T,) 0, 1, 2 ... within the piece: the patch of a frame's token."""
        return np.array(self._place, dtype=np.int64)

    def add(self, kind: Kind, frame: int, count: int) -> None:
        """``count`` tokens more, of one piece."""
        self._kind += [int(kind)] * count
        self._frame += [frame] * count
        self._place += range(count)

    def keep(self, indices: Sequence[int]) -> None:
        """Forget all but these."""
        for values in (self._kind, self._frame, self._place):
            values[:] = [values[index] for index in indices]

    def truncate(self, length: int) -> None:
        """Forget everything after the first ``length``."""
        for values in (self._kind, self._frame, self._place):
            del values[length:]
