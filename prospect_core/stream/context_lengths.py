"""How long a stream gets beside what its model was trained on, and what the model can take at all.

python -c "from prospect_core.stream.context_lengths import StreamLengths; help(StreamLengths)"
"""

from __future__ import annotations

from prospect_core.model.configuration import DSTSmolVLMConfig
from prospect_core.records import LengthKind, UnseenLength
from prospect_core.util.errors import DataError


class StreamLengths:
    """Notes, once for each kind of length, where a stream first goes beyond what training has shown.

    Frames are those since the stream began or was last compressed; tokens are those of the context. Of a checkpoint that
    does not tell what it was trained on (``trained_frames`` of its configuration is 0) nothing is noted.
    """

    def __init__(self, config: DSTSmolVLMConfig) -> None:
        self._trained: dict[LengthKind, int] = {
            "frames": config.trained_frames,
            "tokens": config.trained_tokens,
            "compressions": config.trained_compressions,
        }
        self._known = config.trained_frames > 0
        #: positions of the model
        self._most = int(config.text_config.max_position_embeddings)
        #: what was noted, in order
        self.unseen: tuple[UnseenLength, ...] = ()

    def note(self, frame: int, frames: int, tokens: int, compressions: int) -> None:
        """Take the lengths of a stream at a video frame."""
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
        """Refuse, as a `DataError`, a context that is longer than the model has positions."""
        if tokens > self._most:
            raise DataError(
                f"frame {frame}: a context of {tokens:,} tokens, and the model has {self._most:,} positions; give a"
                " strategy that forgets (--strategy dst_refresh) and a --budget below that, or replay shorter episodes"
            )
