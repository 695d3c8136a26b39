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
from transformers.cache_utils import DynamicCache, DynamicLayer

#: tokens that a buffer has room for at least
FIRST_ROOM = 256


class StreamLayer(DynamicLayer):
    """Keys and values of one layer at the beginning of buffers that are larger: growing copies nothing but what is new,
    and going back is a shorter length."""

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Append (1, H, T, D) keys and values; returns all that are held."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._buffers = [
                states.new_empty(*states.shape[:-2], 0, states.shape[-1]) for states in (key_states, value_states)
            ]
        held = self.get_seq_length()
        whole = held + key_states.shape[-2]
        for number, states in enumerate((key_states, value_states)):
            before = self._buffers[number]
            if whole > before.shape[-2]:
                room = max(FIRST_ROOM, whole + whole // 4)
                self._buffers[number] = states.new_empty(*states.shape[:-2], room, states.shape[-1])
                self._buffers[number][..., :held, :] = before[..., :held, :]
            self._buffers[number][..., held:whole, :] = states
        return self.hold(whole)

    def hold(self, length: int) -> tuple[Tensor, Tensor]:
        """Hold the first ``length`` tokens of the buffers; returns them."""
        keys, values = (buffer[..., :length, :] for buffer in self._buffers)
        self.keys, self.values = keys, values
        return keys, values

    def replace(self, keys: Tensor, values: Tensor) -> None:
        """Hold these instead, which are not more."""
        for buffer, states in zip(self._buffers, (keys, values), strict=True):
            buffer[..., : states.shape[-2], :] = states
        self.hold(keys.shape[-2])


class StreamCache(DynamicCache):
    """Grows by what is read, forgets what it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.layer_class_to_replicate = StreamLayer

    @property
    def length(self) -> int:
        """Tokens held."""
        return int(self.get_seq_length())

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values over all layers, of the tokens that are held."""
        return sum(t.numel() * t.element_size() for pair in self.tensors() for t in pair)

    def tensors(self) -> list[tuple[Tensor, Tensor]]:
        """(keys, values) of every layer, each (1, H, T, D), good until the cache changes; keys are turned by their
        positions."""
        layers: Any = self.layers
        return [(layer.keys, layer.values) for layer in layers if layer.is_initialized]

    def truncate(self, length: int) -> None:
        """Forget everything after the first ``length`` tokens."""
        layers: Any = self.layers
        for layer in layers:
            layer.hold(min(length, layer.get_seq_length()))

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
            keys = turn(layer.keys.index_select(-2, kept_N), moved_N, inv_freq)
            layer.replace(keys, layer.values.index_select(-2, kept_N))

    def fork(self) -> StreamCache:
        """A copy, to go on from here another way."""
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
