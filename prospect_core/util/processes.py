"""Worker processes: their number, their threads, the errors they send, and that they end with their parent.

    python -c "from prospect_core.util.processes import count_cores; print(count_cores())"

A worker process waits on a pipe that it holds open itself, so it would outlive a parent that is killed, with all its
memory; `end_process_with_parent` prevents that.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from multiprocessing import connection, parent_process
from multiprocessing.reduction import ForkingPickler
from typing import Any

#: how often a waiting thread of OpenMP looks before it sleeps: some 10 microseconds
SPINS = 2000


def limit_spinning() -> None:
    """Have OpenMP's threads sleep after microseconds, not milliseconds, of waiting for each other.

    A forward of a small model is many short parallel regions. Where other processes want the same cores, a thread that
    waits by spinning takes its core from the one that it waits for. To be called before torch is imported; a choice that
    the user has made in the environment stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))


def count_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def end_process_with_parent() -> None:
    """Make this worker process one that ends with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="end with parent", daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        # nothing is left that would want its results
        os._exit(1)


def limit_process_threads(threads: int) -> None:
    """Have this process compute on so many threads: as many as it has cores each would slow all of them down. Best called
    before anything heavy is imported."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


class RemoteError(Exception):
    """The traceback of an error in the process that raised it: the cause of that error where it arrives."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text.rstrip()}\n"""'


class _Carried:
    """An error on its way to another process, where it is the error itself again, caused by a `RemoteError`."""

    def __init__(self, error: Exception) -> None:
        self._text = "".join(traceback.format_exception(error))
        self._error = error if _can_be_sent(error) else RuntimeError(f"{type(error).__name__}: {error}")

    def __reduce__(self) -> Any:
        return _arrived, (self._error, self._text)


def picklable_process_error(error: Exception) -> Any:
    """What to send to another process so that it gets the error, together with where that was raised here.

    An error alone would arrive without its traceback and its causes, which cannot be sent. One that cannot be sent itself
    arrives as a `RuntimeError` with its name and text.
    """
    return _Carried(error)


def _can_be_sent(error: Exception) -> bool:
    try:
        ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:
        # an error's own constructor is called, which may raise anything
        return False
    return True


def _arrived(error: Exception, text: str) -> Exception:
    error.__cause__ = RemoteError(text)
    return error
