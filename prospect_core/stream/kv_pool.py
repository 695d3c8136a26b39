"""Memory pool for the keys and values of all streams: one block per layer.

Every stream owns a span of consecutive rows. One operator then appends the new keys and values of
all streams to a layer, and one operator collects what several streams hold. Freed rows are reused;
a span grows in place if the rows behind it are free.
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
        layers: Stored tensors of each layer, each (rows, 2, H, any): keys at index 0, values at
            index 1.
        dtype: Number type of the states that were appended first.
    """

    def __init__(self, storage: str = "model") -> None:
        self.storage = STORAGES[storage]
        self.layers: list[list[Tensor]] = []
        self.dtype = torch.float32
        self.rows = 0
        #: (begin, end) of unused rows, ascending, never adjacent
        self._free: list[tuple[int, int]] = []

    def take(self, count: int) -> int:
        """Allocate ``count`` consecutive rows; return the first."""
        for begin, end in self._free:
            if end - begin >= count:
                self._use(begin, begin + count)
                return begin
        begin = self._free[-1][0] if self._free and self._free[-1][1] == self.rows else self.rows
        self._grow(begin + count)
        self._use(begin, begin + count)
        return begin

    def extend(self, end: int, wanted: int) -> bool:
        """Allocate the rows ``end`` to ``wanted`` if they are unused; return whether they were."""
        if end == self.rows or (end, self.rows) in self._free:
            self._grow(wanted)
        if not any(begin == end and wanted <= free_end for begin, free_end in self._free):
            return False
        self._use(end, wanted)
        return True

    def give_back(self, begin: int, end: int) -> None:
        """Free the rows ``begin`` to ``end``."""
        regions: list[tuple[int, int]] = []
        for region in sorted([*self._free, (begin, end)]):
            if regions and regions[-1][1] == region[0]:
                regions[-1] = (regions[-1][0], region[1])
            else:
                regions.append(region)
        self._free = regions

    def write(self, layer: int, rows: Tensor, states_N2HD: Tensor) -> None:
        """Store keys and values of N tokens in rows of a layer; the first call for a layer creates it.

        Args:
            layer: Number of the layer.
            rows: (N,) rows.
            states_N2HD: Keys at index 0 and values at index 1.
        """
        parts = self.storage.parts(states_N2HD)
        if layer == len(self.layers):
            self.dtype = states_N2HD.dtype
            # zeros, because rows behind a stream's last token are read with weight 0
            # and must be finite
            self.layers.append([part.new_zeros(self.rows, *part.shape[1:]) for part in parts])
        for stored, part in zip(self.layers[layer], parts, strict=True):
            stored.index_copy_(0, rows, part)

    def read(self, layer: int, rows: Tensor | slice) -> Tensor:
        """Return keys and values (N, 2, H, D) of rows of a layer.

        A slice of unrounded storage is not copied.
        """
        return self.storage.states(self.stored(layer, rows), self.dtype)

    def spans(self, layer: int, first: int, distance: int, count: int, length: int) -> Tensor:
        """Return keys and values (count, length, 2, H, D) of equally spaced spans, without a copy.

        The storage must be unrounded.

        Args:
            layer: Number of the layer.
            first: First row of the first span.
            distance: Rows between the starts of adjacent spans.
            count: Number of spans.
            length: Rows of each span.
        """
        (stored,) = self.layers[layer]
        return kv_pool_row_windows(stored, first, distance, count, length)

    def stored(self, layer: int, rows: Tensor | slice) -> Sequence[Tensor]:
        """Return the stored tensors (N, 2, H, any) of rows of a layer."""
        if isinstance(rows, slice):
            return [stored[rows] for stored in self.layers[layer]]
        return [stored.index_select(0, rows) for stored in self.layers[layer]]

    def move(self, begin: int, end: int, target: int) -> None:
        """Copy the rows ``begin`` to ``end`` of all layers to ``target``; the two must not overlap."""
        for stored in (part for parts in self.layers for part in parts):
            stored[target : target + end - begin] = stored[begin:end]

    @property
    def row_bytes(self) -> int:
        """Bytes of one row over all layers."""
        return sum(part[:1].numel() * part.element_size() for parts in self.layers for part in parts)

    def _use(self, begin: int, end: int) -> None:
        """Remove rows from the free region that holds them."""
        kept = []
        for region in self._free:
            if region[0] <= begin and end <= region[1]:
                kept += [part for part in ((region[0], begin), (end, region[1])) if part[0] < part[1]]
            else:
                kept.append(region)
        self._free = kept

    def _grow(self, wanted: int) -> None:
        """Grow to at least ``wanted`` rows, and by half if it grows, so that it rarely does."""
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
    """Return (count, length, ...): windows of ``length`` rows at equal distances, without a copy.

    Args:
        rows: (rows, ...).
        first: First row of the first window.
        distance: Rows between the starts of adjacent windows.
        count: Number of windows.
        length: Rows of each window.
    """
    row = rows.stride(0)
    offset = rows.storage_offset() + first * row
    return rows.as_strided((count, length, *rows.shape[1:]), (distance * row, *rows.stride()), offset)
