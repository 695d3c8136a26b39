"""Measure the memory of a training and keep it constant."""

from __future__ import annotations

import ctypes
import sys

#: optimizer steps between calls of `release_memory`, which takes some hundredths of a second
EVERY_STEPS = 10


def release_memory() -> bool:
    """Return free memory to the system.

    Every batch has another shape, so freed tensors leave holes in the heap that the next ones do
    not fit. Without this call, resident memory grew by a quarter between steps 20 and 200 although
    no live object needed it.

    Returns:
        Whether the call is available (only in glibc).
    """
    if not sys.platform.startswith("linux"):
        return False
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim is not None and trim(0) >= 0


def current_memory_bytes() -> int:
    """Return the allocated memory of the current GPU, or the resident size of this process, in bytes."""
    import psutil
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.memory_allocated())
    return int(psutil.Process().memory_info().rss)


def peak_memory_bytes() -> int:
    """Return the maximum of `current_memory_bytes` in the life of this process."""
    import resource

    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
