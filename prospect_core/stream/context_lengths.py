"""Lengths of a stream compared with those of training, and with the limit of the model."""

from __future__ import annotations

from prospect_core.model.configuration import DSTSmolVLMConfig
from prospect_core.records import LengthKind, UnseenLength
from prospect_core.util.errors import DataError


class StreamLengths:
    """Notes where a stream first exceeds each kind of length that training has shown.

    Frames count from the start of the stream or its last compression; tokens are those of the
    context. For a checkpoint without training lengths (``trained_frames`` is 0 in its
    configuration) nothing is noted.

    Args:
        config: Configuration of the model.
    """

    def __init__(self, config: DSTSmolVLMConfig) -> None:
        self._trained: dict[LengthKind, int] = {
            "frames": config.trained_frames,
            "tokens": config.trained_tokens,
            "compressions": config.trained_compressions,
        }
        self._known = config.trained_frames > 0
        #: number of positions of the model
        self._most = int(config.text_config.max_position_embeddings)
        #: notes, in order
        self.unseen: tuple[UnseenLength, ...] = ()

    def note(self, frame: int, frames: int, tokens: int, compressions: int) -> None:
        """Compare the lengths of a stream at a video frame.

        Args:
            frame: Number of the frame.
            frames: Frames since the start or the last compression.
            tokens: Tokens of the context.
            compressions: Compressions so far.
        """
        if not self._known:
            return
        now: dict[LengthKind, int] = {"frames": frames, "tokens": tokens, "compressions": compressions}
        noted = {item.kind for item in self.unseen}
        self.unseen += tuple(
            UnseenLength(kind, frame, trained)
            for kind, trained in self._trained.items()
            if now[kind] > trained and kind not in noted
        )

    def require_positions(self, frame: int, tokens: int) -> None:
        """Check that the model has enough positions for a context.

        Raises:
            DataError: If it has not.
        """
        if tokens > self._most:
            raise DataError(
                f"frame {frame}: the context has {tokens:,} tokens, but the model only {self._most:,} positions; give a"
                " limited strategy (--strategy dst_refresh) with a --budget below that, or replay shorter episodes"
            )
