"""Exact conversion between seconds and frame numbers."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import ceil, floor


class TimelineError(ValueError):
    """An annotation that contradicts itself; the message names episode, event, step and time."""


@lru_cache(maxsize=1 << 16)
def exact_fraction(value: float) -> Fraction:
    """Return the exact decimal: ``exact_fraction(0.7) == 7/10``, although the float is slightly smaller."""
    return Fraction(repr(value)) if isinstance(value, float) else Fraction(value)


def frame_floor(time_s: float, fps: float) -> int:
    """Return the last known frame at ``time_s`` seconds: ``floor(time_s * fps)``, exactly."""
    return floor(exact_fraction(time_s) * exact_fraction(fps))


def frame_ceil(time_s: float, fps: float) -> int:
    """Return the first frame that can show an event at ``time_s`` seconds: ``ceil(time_s * fps)``, exactly."""
    return ceil(exact_fraction(time_s) * exact_fraction(fps))
