"""Ctrl-C once: what is under way is finished and nothing new begun. Twice: at once.

python -c "from prospect_core.util.signals import defer_interrupt; help(defer_interrupt)"
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_asked = threading.Event()


def stop_requested() -> bool:
    """Whether nothing new should be begun."""
    return _asked.is_set()


@contextmanager
def defer_interrupt(under_way: str) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) inside only makes `stop_requested` true, says that what is ``under_way`` is finished, and ends
    the context with `KeyboardInterrupt`; the second one raises it at once. Outside the main thread nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if _asked.is_set():
            raise KeyboardInterrupt
        _asked.set()
        print(f"\ninterrupted: {under_way} are finished first; once more ends at once", file=sys.stderr, flush=True)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
        if _asked.is_set():
            raise KeyboardInterrupt
    finally:
        _asked.clear()
        for number, handler in before.items():
            signal.signal(number, handler)
