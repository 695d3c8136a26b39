"""The KV cache of one stream: transformers' dynamic cache with its length, its exact size, and a way back.

python -c "from prospect_core.stream.cache import StreamCache; print(StreamCache().length)"
"""

from __future__ import annotations

from typing import Any

from transformers.cache_utils import DynamicCache


class StreamCache(DynamicCache):
    """Grows by what is read, and can be cut back to what it held before."""

    @property
    def length(self) -> int:
        """Tokens held."""
        return int(self.get_seq_length())

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values over all layers."""
        layers: Any = self.layers
        tensors = [t for layer in layers if layer.is_initialized for t in (layer.keys, layer.values)]
        return sum(t.numel() * t.element_size() for t in tensors)

    def truncate(self, length: int) -> None:
        """Forget everything after the first ``length`` tokens."""
        layers: Any = self.layers
        for layer in layers:
            if layer.is_initialized:
                layer.keys, layer.values = layer.keys[..., :length, :], layer.values[..., :length, :]
