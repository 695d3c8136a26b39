"""The KV cache of one stream: transformers' dynamic cache with its length, its exact size, and ways to forget.

    python -c "from prospect_core.stream.cache import StreamCache; print(StreamCache('int8').length)"

Our own code never calls ``Cache.crop``, whose sign and limits have changed from version to version: the layers' tensors are
sliced here. After `StreamCache.keep` keys are turned back (RoPE) to contiguous positions, as if what is kept had always
followed on: what is read next stands where it would stand in a shorter text, and never further than the model has seen.

Keys and values are stored as they are, or (``int8``, ``fp8``) in a byte each with a scale for every token and head: a
quarter of the memory in float32, at errors of at most 0.4 % (int8) or 3.6 % (fp8) of the largest number of the same token
and head. Stored bytes never change: how far a key has been moved since is kept beside it, and it is turned when it is read,
so that errors do not grow with the number of compressions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

#: tokens that a buffer has room for at least
FIRST_ROOM = 256


class AsIs:
    """Stores states (1, H, T, D) as they come."""

    def parts(self, states: Tensor) -> tuple[Tensor, ...]:
        """What is stored of states, each (1, H, T, any)."""
        return (states,)

    def states(self, parts: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
        """The states that parts stand for."""
        return parts[0]


@dataclass(frozen=True)
class Scaled:
    """Stores a byte a number and one scale (float32) a token and head; ``largest`` is the largest number of ``kind``."""

    kind: torch.dtype
    largest: float

    def parts(self, states: Tensor) -> tuple[Tensor, ...]:
        """Codes (1, H, T, D) uint8 and scales (1, H, T, 1)."""
        states = states.float()
        scale = states.abs().amax(-1, keepdim=True).clamp(min=1e-12) / self.largest
        codes = states / scale
        codes = codes if self.kind.is_floating_point else codes.round()
        return codes.clamp(-self.largest, self.largest).to(self.kind).view(torch.uint8), scale

    def states(self, parts: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
        """The numbers that codes and scales stand for."""
        codes, scale = parts
        return (codes.contiguous().view(self.kind).float() * scale).to(dtype)


Store = AsIs | Scaled
#: ways to store, by the name that ``--cache-dtype`` has for them
STORES: dict[str, Store] = {
    "model": AsIs(),
    "int8": Scaled(torch.int8, 127.0),
    "fp8": Scaled(torch.float8_e4m3fn, 448.0),
}


class StreamLayer(DynamicLayer):
    """Keys and values of one layer at the beginning of buffers that are larger: growing copies nothing but what is new,
    and going back is a shorter length."""

    def __init__(self, store: Store | None = None, *_: Any, **__: Any) -> None:
        super().__init__()
        self.store = store or AsIs()
        self.length = 0
        #: of keys and of values: a buffer (1, H, room, any) for each part that is stored
        self.buffers: list[list[Tensor]] = []
        #: of stores that round: by how many positions the first tokens have been moved since they were stored, and the
        #: frequencies that turn their keys
        self._moved: tuple[Tensor, Tensor] | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Append (1, H, T, D) keys and values; returns all that are held."""
        stored = [self.store.parts(states) for states in (key_states, value_states)]
        if not self.buffers:
            self.lazy_initialization(key_states, value_states)
            self.dtype = key_states.dtype
            self.buffers = [[part.new_empty(*part.shape[:-2], 0, part.shape[-1]) for part in parts] for parts in stored]
        whole = self.length + key_states.shape[-2]
        for buffers, parts in zip(self.buffers, stored, strict=True):
            for number, part in enumerate(parts):
                before = buffers[number]
                if whole > before.shape[-2]:
                    room = max(FIRST_ROOM, whole + whole // 4)
                    buffers[number] = part.new_empty(*part.shape[:-2], room, part.shape[-1])
                    buffers[number][..., : self.length, :] = before[..., : self.length, :]
                buffers[number][..., self.length : whole, :] = part
        self.length = whole
        return self.held()

    def held(self) -> tuple[Tensor, Tensor]:
        """Keys and values of the tokens that are held, good until the layer changes."""
        keys, values = (self.store.states(parts, self.dtype) for parts in self.parts())
        if self._moved is not None:
            moved_N, inv_freq = self._moved
            turned = turn(keys[..., : len(moved_N), :], moved_N, inv_freq)
            keys = torch.cat([turned, keys[..., len(moved_N) :, :]], -2)
        return keys, values

    def parts(self) -> list[list[Tensor]]:
        """What is stored of the tokens that are held, of keys and of values."""
        return [[buffer[..., : self.length, :] for buffer in buffers] for buffers in self.buffers]

    def keep(self, kept_N: Tensor, inv_freq: Tensor) -> None:
        """Hold these tokens alone (ascending), moved up to positions 0 .. n-1."""
        moved_N = torch.arange(len(kept_N), device=kept_N.device) - kept_N
        keys, values = ([part.index_select(-2, kept_N) for part in parts] for parts in self.parts())
        if isinstance(self.store, AsIs):
            keys = [turn(keys[0], moved_N, inv_freq)]
        else:
            before_T = torch.zeros(self.length, dtype=moved_N.dtype, device=moved_N.device)
            if self._moved is not None:
                before_T[: len(self._moved[0])] = self._moved[0]
            self._moved = before_T.index_select(0, kept_N) + moved_N, inv_freq
        self.length = len(kept_N)
        for buffers, parts in zip(self.buffers, (keys, values), strict=True):
            for buffer, part in zip(buffers, parts, strict=True):
                buffer[..., : self.length, :] = part

    def truncate(self, length: int) -> None:
        """Forget everything after the first ``length`` tokens."""
        self.length = min(length, self.length)
        if self._moved is not None:
            self._moved = self._moved[0][: self.length], self._moved[1]

    def copy(self) -> StreamLayer:
        """The same, to go on from here another way."""
        other = StreamLayer(self.store)
        other.dtype, other.length, other._moved = self.dtype, self.length, self._moved
        other.buffers = [[part.clone() for part in parts] for parts in self.parts()]
        return other

    def get_seq_length(self) -> int:
        """Tokens held."""
        return self.length


class StreamCache(DynamicCache):
    """Grows by what is read, forgets what it is told to; ``store`` is a name of `STORES`."""

    def __init__(self, store: str = "model") -> None:
        super().__init__()
        self.store = store
        self.layers: Any = []

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any) -> Any:
        """Append to a layer; returns all that it holds."""
        while len(self.layers) <= layer_idx:
            self.layers.append(StreamLayer(STORES[self.store]))
        return self.layers[layer_idx].update(key_states, value_states)

    @property
    def length(self) -> int:
        """Tokens held."""
        return int(self.layers[0].length) if self.layers else 0

    @property
    def nbytes(self) -> int:
        """Bytes of what is stored over all layers, of the tokens that are held."""
        return sum(
            part.numel() * part.element_size() for layer in self.layers for parts in layer.parts() for part in parts
        )

    def tensors(self) -> list[tuple[Tensor, Tensor]]:
        """(keys, values) of every layer, each (1, H, T, D), good until the cache changes; keys are turned by their
        positions."""
        return [layer.held() for layer in self.layers]

    def truncate(self, length: int) -> None:
        """Forget everything after the first ``length`` tokens."""
        for layer in self.layers:
            layer.truncate(length)

    def keep(self, indices: Sequence[int], inv_freq: Tensor) -> None:
        """Forget all but these tokens (ascending), and move them up to positions 0 .. n-1.

        ``inv_freq`` (D / 2,) are the frequencies of the model's rotary embedding.
        """
        for layer in self.layers:
            layer.keep(torch.as_tensor(indices, dtype=torch.long, device=layer.buffers[0][0].device), inv_freq)

    def fork(self) -> StreamCache:
        """A copy, to go on from here another way."""
        other = StreamCache(self.store)
        other.layers = [layer.copy() for layer in self.layers]
        return other


def turn(keys_1HND: Tensor, moved_N: Tensor, inv_freq: Tensor) -> Tensor:
    """Keys moved by so many positions: k cos(moved f) + rotate_half(k) sin(moved f), worked out in float32."""
    angle_ND = torch.outer(moved_N.float(), inv_freq.float().to(moved_N.device)).repeat(1, 2)
    keys = keys_1HND.float()
    first, second = keys.chunk(2, -1)
    turned = keys * angle_ND.cos() + torch.cat((-second, first), -1) * angle_ND.sin()
    return turned.to(keys_1HND.dtype)
