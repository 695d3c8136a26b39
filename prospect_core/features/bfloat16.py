"""bfloat16 numbers in NumPy, which has no such type: the upper half of a float32, kept as uint16."""

from __future__ import annotations

import numpy as np


def to_bfloat16_bits(numbers: np.ndarray) -> np.ndarray:
    """Finite float32 numbers of any shape, rounded to the nearest bfloat16 (ties to even), as uint16 of the same shape."""
    bits = np.ascontiguousarray(numbers, dtype=np.float32).view(np.uint32)
    rounding = 0x7FFF + ((bits >> 16) & 1)
    return ((bits + rounding) >> 16).astype(np.uint16)


def from_bfloat16_bits(bits: np.ndarray) -> np.ndarray:
    """The float32 numbers of `to_bfloat16_bits`, exactly."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
