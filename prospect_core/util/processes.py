"""Worker processes: number of cores, threads, transfer of errors, and end with the parent.

A worker process waits on a pipe that it also holds open, so it would outlive a killed parent and
keep its memory; `end_process_with_parent` prevents that.
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

#: spins of a waiting OpenMP thread before it sleeps: about 10 microseconds
SPINS = 2000


def limit_spinning() -> None:
    """Make OpenMP threads sleep after microseconds, not milliseconds, of waiting for each other.

    A forward pass of a small model consists of many short parallel regions. If other processes use
    the same cores, a spinning thread takes its core from the thread that it waits for. Call this
    before torch is imported. A setting in the environment stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def end_process_with_parent() -> None:
    """Make this worker process end with its parent, and leave Ctrl-C to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="end with parent", daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        # no process needs its results any more
        os._exit(1)


def limit_process_threads(threads: int) -> None:
    """Limit the threads of this process, because several processes with a thread per core slow each other down.

    Call this before numerical libraries are imported.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


class RemoteError(Exception):
    """Traceback of an error in the process that raised it; the cause of that error where it arrives.

    Args:
        text: The traceback.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text.rstrip()}\n"""'


class _Carried:
    """Picklable form of an error, which unpickles as the error with a `RemoteError` as its cause."""

    def __init__(self, error: Exception) -> None:
        self._text = "".join(traceback.format_exception(error))
        self._error = error if _can_be_sent(error) else RuntimeError(f"{type(error).__name__}: {error}")

    def __reduce__(self) -> Any:
        return _arrived, (self._error, self._text)


def picklable_process_error(error: Exception) -> Any:
    """Make an error picklable together with its traceback.

    A pickled error loses its traceback and its causes. An error that cannot be pickled itself
    arrives as a `RuntimeError` with its name and text.
    """
    return _Carried(error)


def _can_be_sent(error: Exception) -> bool:
    try:
        ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:
        # unpickling calls the error's constructor, which may raise anything
        return False
    return True


def _arrived(error: Exception, text: str) -> Exception:
    error.__cause__ = RemoteError(text)
    return error
