"""KV cache of one stream: rows in a pool, with its length, its size in bytes, and ways to forget tokens.

`StreamCache.keep` rotates the kept keys back (RoPE) to contiguous positions, as if the kept tokens
had always followed one another. Tokens that are read next have the positions that they would have
in a shorter text, and positions never exceed those of training.

A storage that rounds (int8, fp8) never changes its stored bytes. The cache records how far each key
has moved and rotates keys when they are read, so errors do not grow with the number of
compressions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from prospect_core.stream.kv_pool import KVPool
from prospect_core.stream.kv_storage import AsIs, rotate_kv_storage_keys

#: smallest number of rows of a stream
FIRST_ROOM = 64


def kv_cache_bucket_size(count: int, least: int = 1) -> int:
    """Return the smallest number of the form 2^n or 3 * 2^n that is at least ``count`` and ``least``."""
    size = 1 << (max(count, least, 1) - 1).bit_length()
    between = size // 4 * 3
    return between if between >= max(count, least) else size


class StreamCache(Cache):
    """Keys and values of one stream: appended by forward passes, truncated, or reduced to chosen tokens.

    It is also a transformers cache: ``model.read(..., past_key_values=cache)`` appends to it.

    Args:
        storage: A name in `STORAGES`.
        pool: Pool of its rows. If None, the first forward pass chooses one.
    """

    def __init__(self, storage: str = "model", pool: KVPool | None = None) -> None:
        super().__init__(layers=[])
        self.storage, self.pool = storage, pool
        #: number of tokens in the cache
        self.length = 0
        self.begin = self.end = 0
        #: for storages that round: how many positions the first tokens have moved since
        #: they were stored, and the frequencies that rotate their keys
        self.moved: tuple[Tensor, Tensor] | None = None

    def __del__(self) -> None:
        # after an error in __init__ the attributes may be missing
        pool = getattr(self, "pool", None)
        if pool is not None and self.begin < self.end:
            pool.give_back(self.begin, self.end)

    def reserve(self, count: int) -> KVPool:
        """Make room for ``count`` more tokens; return the pool."""
        pool = self.pool = self.pool or KVPool(self.storage)
        wanted = kv_cache_bucket_size(self.length + count, FIRST_ROOM)
        if self.begin + wanted <= self.end:
            return pool
        if self.begin == self.end:
            self.begin = pool.take(wanted)
        elif not pool.extend(self.end, self.begin + wanted):
            begin = pool.take(wanted)
            pool.move(self.begin, self.begin + self.length, begin)
            pool.give_back(self.begin, self.end)
            self.begin = begin
        self.end = self.begin + wanted
        return pool

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any) -> Any:
        """Append keys and values to a layer; layer 0 must come first.

        Args:
            key_states: (1, H, T, D).
            value_states: (1, H, T, D).
            layer_idx: Number of the layer.

        Returns:
            (keys, values) of all tokens of the layer.
        """
        count = key_states.shape[-2]
        if layer_idx == 0:
            self.reserve(count)
            self.length += count
        pool = self.reserve(0)
        rows = torch.arange(count, device=key_states.device) + self.begin + self.length - count
        pool.write(layer_idx, rows, torch.stack((key_states[0], value_states[0])).permute(2, 0, 1, 3))
        return self._held(layer_idx)

    def tensors(self) -> list[tuple[Tensor, Tensor]]:
        """Return (keys, values) of every layer, each (1, H, T, D), with keys rotated to their positions.

        The tensors are valid until the cache changes.
        """
        return [self._held(layer) for layer in range(len(self.pool.layers) if self.pool else 0)]

    def stored(self, layer: int) -> Sequence[Tensor]:
        """Return the stored tensors (T, 2, H, any) of a layer."""
        return self.reserve(0).stored(layer, slice(self.begin, self.begin + self.length))

    @property
    def nbytes(self) -> int:
        """Bytes of the tokens in the cache over all layers."""
        return self.length * self.pool.row_bytes if self.pool else 0

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return the number of tokens in the cache."""
        return self.length

    def get_mask_sizes(self, query_length: int | Tensor, layer_idx: int) -> tuple[int, int]:
        """Return the number of keys that a mask for more tokens covers, and the offset of the first key.

        Transformers 5.0 passes the tokens' positions instead of their number.
        """
        more = len(query_length) if isinstance(query_length, Tensor) else query_length
        return self.length + more, 0

    def truncate(self, length: int) -> None:
        """Forget everything after the first ``length`` tokens."""
        self.length = min(length, self.length)
        if self.moved is not None:
            self.moved = self.moved[0][: self.length], self.moved[1]

    def keep(self, indices: Sequence[int], inv_freq: Tensor) -> None:
        """Forget all other tokens, and move the kept ones to positions 0 .. n-1.

        Args:
            indices: Positions of the tokens to keep, ascending.
            inv_freq: (D / 2,) frequencies of the model's rotary embedding.
        """
        if self.pool is None:
            return
        device = inv_freq.device
        kept_N = torch.as_tensor(list(indices), dtype=torch.long, device=device)
        moved_N = torch.arange(len(kept_N), device=device) - kept_N
        exact = isinstance(self.pool.storage, AsIs)
        for layer in range(len(self.pool.layers)):
            for stored, part in zip(self.pool.layers[layer], self.pool.stored(layer, kept_N + self.begin), strict=True):
                if exact:
                    part[:, 0] = rotate_kv_storage_keys(part[:, 0], moved_N, inv_freq)
                stored[self.begin : self.begin + len(kept_N)] = part
        if not exact:
            self.moved = self._moved_of_all(device).index_select(0, kept_N) + moved_N, inv_freq
        self.length = len(kept_N)

    def _held(self, layer: int) -> tuple[Tensor, Tensor]:
        pool = self.reserve(0)
        states = pool.read(layer, slice(self.begin, self.begin + self.length))
        keys, values = states[:, 0], states[:, 1]
        if self.moved is not None:
            keys = rotate_kv_storage_keys(keys, self._moved_of_all(keys.device), self.moved[1])
        return keys.transpose(0, 1)[None], values.transpose(0, 1)[None]

    def _moved_of_all(self, device: torch.device) -> Tensor:
        """Return (T,) how many positions each token has moved since it was stored."""
        moved_T = torch.zeros(self.length, dtype=torch.long, device=device)
        if self.moved is not None:
            moved_T[: len(self.moved[0])] = self.moved[0]
        return moved_T
