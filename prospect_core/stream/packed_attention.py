"""Causal attention of a packed row of tokens, each stream over its own cache, by groups of streams.

The shape of a stream's attention never depends on the other streams, so its results are the same
bits in any batch:

* On the CPU, a stream with a large cache (`MOST_COPIED_BYTES` of a layer) attends alone: one more
  operator costs less than a copy of its keys and values next to those of others.
* All other streams are padded to numbers of queries and keys (`kv_cache_bucket_size`) that depend
  on the stream alone, and only streams of equal sizes share a group. The number of queries is at
  least `FEWEST_QUERIES`: below it, the buffers of PyTorch's threads have other alignments, for
  which sums have another order, and the thread that works on a stream depends on the other streams.

Shape letters: T tokens of the packed row, B streams of a group, Q padded queries of a stream, L
padded keys of a stream, H heads, D size of a head.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor
from torch.nn import functional

from prospect_core.stream.kv_cache import FIRST_ROOM, StreamCache, kv_cache_bucket_size
from prospect_core.stream.kv_pool import KVPool, kv_pool_row_windows
from prospect_core.stream.kv_storage import AsIs, rotate_kv_storage_keys

#: smallest number of padded queries of a stream
FEWEST_QUERIES = 8
#: largest size of a layer's keys and values of a stream that shares a group on the CPU, in bytes
MOST_COPIED_BYTES = 1 << 17
#: largest number of entries of a group's mask: 64 MiB in float32
MOST_SCORES = 1 << 24


@dataclass(frozen=True)
class Part:
    """New tokens of one stream.

    Attributes:
        start: Position of the first token in the packed row.
        count: Number of tokens.
        cache: Cache of the stream before these tokens.
    """

    start: int
    count: int
    cache: StreamCache

    @property
    def held(self) -> int:
        """Number of tokens of the stream including the new ones."""
        return self.cache.length + self.count

    @property
    def new_rows(self) -> range:
        """Rows of the pool for the new tokens."""
        first = self.cache.begin + self.cache.length
        return range(first, first + self.count)


@dataclass(frozen=True)
class AttentionGroup:
    """Streams whose queries and keys are padded to the same sizes.

    Attributes:
        streams: B.
        sizes: Q and L.
        queries: Positions of the queries in the packed row: (B * Q), with the last one of a stream
            repeated as padding. If the streams' tokens are equally spaced, (first, distance)
            instead.
        rows: Rows of the pool that the streams hold: (B * L). If unrounded rows are equally spaced,
            (first, distance) instead.
        mask: (B, 1, Q, L) that is added to the scores: -inf for keys behind the query; None for no
            mask.
        moved: (B * L) positions by which keys have moved, and the frequencies; None if no key has.
    """

    streams: int
    sizes: tuple[int, int]
    queries: Tensor | tuple[int, int]
    rows: Tensor | tuple[int, int]
    mask: Tensor | None
    moved: tuple[Tensor, Tensor] | None


class PackedAttention:
    """Causal attention of a packed row, each stream over its own cache; prepared once for all layers."""

    def __init__(
        self,
        pool: KVPool,
        counts: Sequence[int],
        caches: Sequence[StreamCache],
        embeds_TW: Tensor,
        row_bytes: int,
    ) -> None:
        """Reserve rows for new tokens and group the streams.

        Args:
            pool: Pool of all caches.
            counts: New tokens of each stream.
            caches: Cache of each stream.
            embeds_TW: Embeddings of the packed row; T is at least the sum of the counts.
            row_bytes: Bytes of a token's keys and values in a layer.
        """
        self.pool = pool
        starts = list(accumulate(counts, initial=0))
        streams = [Part(*part) for part in zip(starts, counts, caches, strict=False)]
        for part in streams:
            part.cache.reserve(part.count)
        self.appended = torch.tensor([row for part in streams for row in part.new_rows], device=embeds_TW.device)
        self.groups: list[AttentionGroup] = []
        #: number of tokens behind the packed row that are read as padding of queries
        self.margin = 0
        #: for each token of the packed row, the position of its result among those of the
        #: groups
        found = [0] * len(embeds_TW)
        done = 0
        for (queries, keys), parts in _grouped(streams, row_bytes, embeds_TW.device.type == "cpu"):
            self.groups.append(_group(parts, (queries, keys), embeds_TW, isinstance(pool.storage, AsIs)))
            for part in parts:
                self.margin = max(self.margin, queries - part.count)
                found[part.start : part.start + part.count] = range(done, done + part.count)
                done += queries
        identical = found == list(range(done)) and done == sum(counts)
        self.found = None if identical else torch.tensor(found, device=embeds_TW.device)

    def __call__(self, layer: int, states_THD: Tensor, kept: int, scaling: float) -> Tensor:
        """Append keys and values to a layer and attend.

        Args:
            layer: Number of the layer.
            states_THD: For each token, and for ``margin`` more: heads of queries, then ``kept``
                heads of keys, then ``kept`` heads of values.
            kept: Number of heads of keys.
            scaling: Factor of the scores.

        Returns:
            (T, heads of queries * D).
        """
        heads = states_THD.shape[1] - 2 * kept
        new_N2HD = states_THD[: len(self.appended), heads:].unflatten(1, (2, kept))
        self.pool.write(layer, self.appended, new_N2HD)
        queries_THD = states_THD[:, :heads]
        results = [self._attend(group, layer, queries_THD, scaling) for group in self.groups]
        result = results[0] if len(results) == 1 else torch.cat(results)
        return result if self.found is None else result.index_select(0, self.found)

    def _attend(self, group: AttentionGroup, layer: int, queries_THD: Tensor, scaling: float) -> Tensor:
        """Return (B * Q, heads of queries * D) of one group."""
        asking_BQHD = self._asking(group, queries_THD)
        held = self._held(group, layer)
        keys_BLHD, values_BLHD = held[:, :, 0], held[:, :, 1]
        if group.moved is not None:
            keys_BLHD = rotate_kv_storage_keys(keys_BLHD.flatten(0, 1), *group.moved).view_as(keys_BLHD)
        query, key, value = (states.transpose(1, 2) for states in (asking_BQHD, keys_BLHD, values_BLHD))
        result_BHQD: Tensor = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=group.mask, scale=scaling, enable_gqa=query.shape[1] != key.shape[1]
        )
        return result_BHQD.transpose(1, 2).flatten(2).flatten(0, 1)

    def _asking(self, group: AttentionGroup, queries_THD: Tensor) -> Tensor:
        """Return queries (B, Q, H, D) of a group; without a copy, the padding is the tokens that follow."""
        sizes = group.streams, group.sizes[0]
        if isinstance(group.queries, tuple):
            return kv_pool_row_windows(queries_THD, *group.queries, *sizes)
        gathered_BQHD: Tensor = queries_THD.index_select(0, group.queries).unflatten(0, sizes)
        return gathered_BQHD

    def _held(self, group: AttentionGroup, layer: int) -> Tensor:
        """Return keys and values (B, L, 2, H, D) of a group; equally spaced rows are not copied."""
        sizes = group.streams, group.sizes[1]
        if isinstance(group.rows, tuple):
            return self.pool.spans(layer, *group.rows, *sizes)
        gathered: Tensor = self.pool.read(layer, group.rows).unflatten(0, sizes)
        return gathered


def _grouped(streams: Sequence[Part], row_bytes: int, on_cpu: bool) -> Iterator[tuple[tuple[int, int], Sequence[Part]]]:
    """Yield ((queries, keys), streams) of each group."""
    padded: dict[tuple[int, int], list[Part]] = {}
    for part in streams:
        if on_cpu and part.held * row_bytes > MOST_COPIED_BYTES:
            yield (part.count, part.held), [part]
        else:
            sizes = kv_cache_bucket_size(part.count, FEWEST_QUERIES), kv_cache_bucket_size(part.held, FIRST_ROOM)
            padded.setdefault(sizes, []).append(part)
    for (queries, keys), parts in padded.items():
        parts.sort(key=lambda part: part.cache.begin)
        most = max(1, MOST_SCORES // (queries * keys))
        for begin in range(0, len(parts), most):
            yield (queries, keys), parts[begin : begin + most]


def _group(parts: Sequence[Part], sizes: tuple[int, int], like: Tensor, exact: bool) -> AttentionGroup:
    """Make a group of streams padded to these sizes; ``exact`` is whether the storage is unrounded."""
    (queries, keys), device = sizes, like.device
    steps_Q, steps_L = torch.arange(queries, device=device), torch.arange(keys, device=device)
    numbers_B4 = torch.tensor([(p.start, p.count, p.cache.length, p.cache.begin) for p in parts], device=device)
    starts_B, counts_B, lengths_B, begins_B = numbers_B4.unbind(1)
    own_BQ = torch.minimum(steps_Q, counts_B[:, None] - 1)
    mask_B1QL = None
    if len(parts) > 1 or sizes != (1, parts[0].held):
        behind_BQL = steps_L > (lengths_B[:, None] + own_BQ)[..., None]
        mask_BQL = torch.zeros(behind_BQL.shape, dtype=like.dtype, device=device)
        mask_B1QL = mask_BQL.masked_fill_(behind_BQL, -torch.inf)[:, None]
    return AttentionGroup(
        streams=len(parts),
        sizes=sizes,
        queries=_spacing([part.start for part in parts]) or (starts_B[:, None] + own_BQ).flatten(),
        rows=(exact and _spacing([part.cache.begin for part in parts])) or (begins_B[:, None] + steps_L).flatten(),
        mask=mask_B1QL,
        moved=_moved([part.cache for part in parts], keys, device),
    )


def _moved(caches: Sequence[StreamCache], keys: int, device: torch.device) -> tuple[Tensor, Tensor] | None:
    """Return (B * L) how many positions the keys of each stream have moved, and the frequencies."""
    moved = [(number, cache.moved) for number, cache in enumerate(caches) if cache.moved is not None]
    if not moved:
        return None
    moved_BL = torch.zeros(len(caches), keys, dtype=torch.long, device=device)
    for number, (moved_N, _) in moved:
        moved_BL[number, : len(moved_N)] = moved_N
    return moved_BL.flatten(), moved[0][1][1]


def _spacing(begins: Sequence[int]) -> tuple[int, int] | None:
    """Return (first, distance) of ascending numbers that are equally spaced, otherwise None."""
    distances = {after - before for before, after in pairwise(begins)} or {0}
    if len(distances) > 1 or min(distances) < 0:
        return None
    return begins[0], distances.pop()
