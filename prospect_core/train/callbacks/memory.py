"""How much memory training takes, and keeping that steady.

python -c "from prospect_core.train.callbacks.memory import current_memory_bytes; print(current_memory_bytes())"
"""

from __future__ import annotations

import ctypes
import sys

#: optimiser steps between two calls of `release_memory`, which takes some hundredths of a second
EVERY_STEPS = 10


def release_memory() -> bool:
    """Hand free memory back to the system; returns whether it could be asked for (glibc alone has the call).

    Every batch has another shape, so that freed tensors leave holes in the heap that the next ones do not fit: without
    this, resident memory grew by a quarter between steps 20 and 200 with nothing of ours alive in it.
    """
    if not sys.platform.startswith("linux"):
        return False
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim is not None and trim(0) >= 0


def current_memory_bytes() -> int:
    """Memory of the current GPU that is allocated, or else the resident size of this process, in bytes."""
    import psutil
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.memory_allocated())
    return int(psutil.Process().memory_info().rss)


def peak_memory_bytes() -> int:
    """The most that `current_memory_bytes` has been in the life of this process (the most allocated, on a GPU)."""
    import resource

    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
