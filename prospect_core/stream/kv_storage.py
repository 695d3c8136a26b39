"""Storage of keys and values: unchanged, or in one byte per number with a scale per token and head.

One byte per number is a quarter of the memory of float32. The errors are at most 0.4 % (int8) or
3.6 % (fp8) of the largest number of the same token and head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


class AsIs:
    """Stores states (..., D) unchanged."""

    def parts(self, states: Tensor) -> tuple[Tensor, ...]:
        """Return the tensors to store for states, each (..., any)."""
        return (states,)

    def states(self, parts: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
        """Return the states of stored tensors."""
        return parts[0]


@dataclass(frozen=True)
class Scaled:
    """Stores one byte per number and one scale (float32) per token and head.

    Attributes:
        kind: Number type of the bytes.
        largest: Largest number of that type.
    """

    kind: torch.dtype
    largest: float

    def parts(self, states: Tensor) -> tuple[Tensor, ...]:
        """Return codes (..., D) uint8 and scales (..., 1)."""
        states = states.float()
        scale = states.abs().amax(-1, keepdim=True).clamp(min=1e-12) / self.largest
        codes = states / scale
        codes = codes if self.kind.is_floating_point else codes.round()
        return codes.clamp(-self.largest, self.largest).to(self.kind).view(torch.uint8), scale

    def states(self, parts: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
        """Return the numbers of codes and scales."""
        codes, scale = parts
        return (codes.contiguous().view(self.kind).float() * scale).to(dtype)


Storage = AsIs | Scaled
#: storages by their names in ``--cache-dtype``
STORAGES: dict[str, Storage] = {
    "model": AsIs(),
    "int8": Scaled(torch.int8, 127.0),
    "fp8": Scaled(torch.float8_e4m3fn, 448.0),
}


def rotate_kv_storage_keys(keys_NHD: Tensor, moved_N: Tensor, inv_freq: Tensor) -> Tensor:
    """Move keys by some positions, computed in float32.

    The result is k cos(moved f) + rotate_half(k) sin(moved f) with frequencies f.

    Args:
        keys_NHD: Keys.
        moved_N: Positions by which each key moves.
        inv_freq: (D / 2,) frequencies of the rotary embedding.
    """
    angle_N1D = torch.outer(moved_N.float(), inv_freq.float().to(moved_N.device)).repeat(1, 2)[:, None]
    keys = keys_NHD.float()
    first, second = keys.chunk(2, -1)
    rotated = keys * angle_N1D.cos() + torch.cat((-second, first), -1) * angle_N1D.sin()
    return rotated.to(keys_NHD.dtype)
