"""One block of memory per layer for the keys and values of all streams.

Every stream owns a span of consecutive rows, so that one operator appends the new keys and values of all streams to a
layer, and one operator collects what several streams hold. Rows that a stream gives back are used again; a span grows in
place where the rows behind it are free.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from prospect_core.stream.kv_storage import STORAGES


class KVPool:
    """Rows of keys and values, one row per token.

    Args:
        storage: A name in `STORAGES`.

    Attributes:
        layers: For each layer the stored tensors, each (rows, 2, H, any): keys at index 0, values at index 1.
        dtype: Of the states that were appended first.
    """

    def __init__(self, storage: str = "model") -> None:
        self.storage = STORAGES[storage]
        self.layers: list[list[Tensor]] = []
        self.dtype = torch.float32
        self.rows = 0
        #: (begin, end) of unused rows, ascending, no two of them adjacent
        self._free: list[tuple[int, int]] = []

    def take(self, count: int) -> int:
        """The first of ``count`` consecutive unused rows, which are the caller's now."""
        for begin, end in self._free:
            if end - begin >= count:
                self._use(begin, begin + count)
                return begin
        begin = self._free[-1][0] if self._free and self._free[-1][1] == self.rows else self.rows
        self._grow(begin + count)
        self._use(begin, begin + count)
        return begin

    def extend(self, end: int, wanted: int) -> bool:
        """Whether the rows ``end`` to ``wanted`` were unused; they are the caller's then."""
        if end == self.rows or (end, self.rows) in self._free:
            self._grow(wanted)
        if not any(begin == end and wanted <= free_end for begin, free_end in self._free):
            return False
        self._use(end, wanted)
        return True

    def give_back(self, begin: int, end: int) -> None:
        """Rows that their owner no longer needs."""
        regions: list[tuple[int, int]] = []
        for region in sorted([*self._free, (begin, end)]):
            if regions and regions[-1][1] == region[0]:
                regions[-1] = (regions[-1][0], region[1])
            else:
                regions.append(region)
        self._free = regions

    def write(self, layer: int, rows: Tensor, states_N2HD: Tensor) -> None:
        """Store keys and values of N tokens in these rows of a layer; the first call for a layer makes it."""
        parts = self.storage.parts(states_N2HD)
        if layer == len(self.layers):
            self.dtype = states_N2HD.dtype
            # zeros: rows behind a stream's last token are read, with weight 0, and must be finite
            self.layers.append([part.new_zeros(self.rows, *part.shape[1:]) for part in parts])
        for stored, part in zip(self.layers[layer], parts, strict=True):
            stored.index_copy_(0, rows, part)

    def read(self, layer: int, rows: Tensor | slice) -> Tensor:
        """Keys and values (N, 2, H, D) of these rows of a layer; of a slice without a copy where they are stored as they are."""
        return self.storage.states(self.stored(layer, rows), self.dtype)

    def spans(self, layer: int, first: int, distance: int, count: int, length: int) -> Tensor:
        """Keys and values (count, length, 2, H, D) of spans that begin ``distance`` rows apart, without a copy.

        Only of storage as it is.
        """
        (stored,) = self.layers[layer]
        return kv_pool_row_windows(stored, first, distance, count, length)

    def stored(self, layer: int, rows: Tensor | slice) -> Sequence[Tensor]:
        """The stored tensors (N, 2, H, any) of these rows of a layer."""
        if isinstance(rows, slice):
            return [stored[rows] for stored in self.layers[layer]]
        return [stored.index_select(0, rows) for stored in self.layers[layer]]

    def move(self, begin: int, end: int, target: int) -> None:
        """Copy the rows ``begin`` to ``end`` of all layers to ``target`` and what follows it; both must not overlap."""
        for stored in (part for parts in self.layers for part in parts):
            stored[target : target + end - begin] = stored[begin:end]

    @property
    def row_bytes(self) -> int:
        """Bytes of one row over all layers."""
        return sum(part[:1].numel() * part.element_size() for parts in self.layers for part in parts)

    def _use(self, begin: int, end: int) -> None:
        """Take rows out of the free region that holds them."""
        kept = []
        for region in self._free:
            if region[0] <= begin and end <= region[1]:
                kept += [part for part in ((region[0], begin), (end, region[1])) if part[0] < part[1]]
            else:
                kept.append(region)
        self._free = kept

    def _grow(self, wanted: int) -> None:
        """Have at least ``wanted`` rows; half as many again where it grows, so that growing stays rare."""
        if wanted <= self.rows:
            return
        rows = max(wanted, self.rows + self.rows // 2)
        for parts in self.layers:
            for number, part in enumerate(parts):
                larger = part.new_zeros(rows, *part.shape[1:])
                larger[: self.rows] = part
                parts[number] = larger
        self.give_back(self.rows, rows)
        self.rows = rows


def kv_pool_row_windows(rows: Tensor, first: int, distance: int, count: int, length: int) -> Tensor:
    """(count, length, ...) rows: windows of ``length`` rows that begin ``distance`` rows apart, without a copy."""
    row = rows.stride(0)
    offset = rows.storage_offset() + first * row
    return rows.as_strided((count, length, *rows.shape[1:]), (distance * row, *rows.stride()), offset)
