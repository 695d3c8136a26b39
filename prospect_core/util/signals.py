"""Deferred interruption: the first Ctrl-C lets running work finish, the second one stops immediately."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_asked = threading.Event()


def stop_requested() -> bool:
    """Return whether no new work should start."""
    return _asked.is_set()


@contextmanager
def defer_interrupt(under_way: str) -> Iterator[None]:
    """Defer the first Ctrl-C or SIGTERM inside the context.

    The first signal makes `stop_requested` true and prints which work is being finished; the
    context then ends with `KeyboardInterrupt`. The second signal raises it immediately. Outside the
    main thread signals are not changed.

    Args:
        under_way: Work that is finished first, for the user.

    Raises:
        KeyboardInterrupt: At the end of the context after the first signal, or immediately after
            the second.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if _asked.is_set():
            raise KeyboardInterrupt
        _asked.set()
        print(
            f"\ninterrupted: waiting for {under_way}; press Ctrl-C again to stop immediately",
            file=sys.stderr,
            flush=True,
        )

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
        if _asked.is_set():
            raise KeyboardInterrupt
    finally:
        _asked.clear()
        for number, handler in before.items():
            signal.signal(number, handler)
