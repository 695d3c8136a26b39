"""One event loop in a thread, on which streams in other threads await their requests."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
_lock = threading.Lock()
#: the loop, and the process that it runs in: a forked process needs its own
_running: tuple[asyncio.AbstractEventLoop, int] | None = None


def shared_event_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop of this process; it is started on first use."""
    global _running
    with _lock:
        if _running is None or _running[1] != os.getpid():
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="requests", daemon=True).start()
            _running = (loop, os.getpid())
        return _running[0]


def await_from_thread(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the shared event loop and wait for its result.

    Args:
        work: The coroutine. It is cancelled if the wait is interrupted.

    Returns:
        Its result.

    Raises:
        BaseException: The error of the coroutine.
    """
    future = asyncio.run_coroutine_threadsafe(work, shared_event_loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise
