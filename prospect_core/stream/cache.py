"""The KV cache of one stream: transformers' dynamic cache with its length, its exact size, and ways to forget.

    python -c "from prospect_core.stream.cache import StreamCache; print(StreamCache().length)"

Our own code never calls ``Cache.crop``, whose sign and limits have changed from version to version: the layers' tensors are
sliced here. After `StreamCache.keep` keys are turned back (RoPE) to contiguous positions, as if what is kept had always
followed on: what is read next stands where it would stand in a shorter text, and never further than the model has seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache


class StreamCache(DynamicCache):
    """Grows by what is read, forgets what it is told to."""

    @property
    def length(self) -> int:
        """Tokens held."""
        return int(self.get_seq_length())

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values over all layers."""
        return sum(t.numel() * t.element_size() for pair in self.tensors() for t in pair)

    def tensors(self) -> list[tuple[Tensor, Tensor]]:
        """(keys, values) of every layer, each (1, H, T, D); keys are turned by their positions."""
        layers: Any = self.layers
        return [(layer.keys, layer.values) for layer in layers if layer.is_initialized]

    def truncate(self, length: int) -> None:
        """Forget everything after the first ``length`` tokens."""
        layers: Any = self.layers
        for layer in layers:
            if layer.is_initialized:
                layer.keys, layer.values = layer.keys[..., :length, :], layer.values[..., :length, :]

    def keep(self, indices: Sequence[int], inv_freq: Tensor) -> None:
        """Forget all but these tokens (ascending), and move them up to positions 0 .. n-1.

        ``inv_freq`` (D / 2,) are the frequencies of the model's rotary embedding.
        """
        layers: Any = self.layers
        if not self.length:
            return
        kept_N = torch.as_tensor(indices, device=layers[0].keys.device)
        moved_N = torch.arange(len(kept_N), device=kept_N.device) - kept_N
        for layer in layers:
            layer.keys = turn(layer.keys.index_select(-2, kept_N), moved_N, inv_freq)
            layer.values = layer.values.index_select(-2, kept_N)

    def fork(self) -> StreamCache:
        """The same cache, to go on from here another way: what either reads later, the other does not hold."""
        other = StreamCache()
        for number, (keys, values) in enumerate(self.tensors()):
            other.update(keys, values, number)
        return other


def turn(keys_1HND: Tensor, moved_N: Tensor, inv_freq: Tensor) -> Tensor:
    """Keys moved by so many positions: k cos(moved f) + rotate_half(k) sin(moved f), worked out in float32."""
    angle_ND = torch.outer(moved_N.float(), inv_freq.float().to(moved_N.device)).repeat(1, 2)
    keys = keys_1HND.float()
    first, second = keys.chunk(2, -1)
    turned = keys * angle_ND.cos() + torch.cat((-second, first), -1) * angle_ND.sin()
    return turned.to(keys_1HND.dtype)
