"""Store bfloat16 numbers in NumPy, which lacks the type, as uint16: the upper half of a float32."""

from __future__ import annotations

import numpy as np


def to_bfloat16_bits(numbers: np.ndarray) -> np.ndarray:
    """Round float32 numbers to bfloat16.

    Args:
        numbers: Finite numbers of any shape.

    Returns:
        The nearest bfloat16 (ties to even) as uint16 of the same shape.
    """
    bits = np.ascontiguousarray(numbers, dtype=np.float32).view(np.uint32)
    rounding = 0x7FFF + ((bits >> 16) & 1)
    return ((bits + rounding) >> 16).astype(np.uint16)


def from_bfloat16_bits(bits: np.ndarray) -> np.ndarray:
    """Return the exact float32 numbers of `to_bfloat16_bits`."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
