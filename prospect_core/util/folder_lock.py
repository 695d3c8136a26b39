"""Exclusive folder lock; reports its holder.

The operating system releases the lock when a process ends, killed or not, so no lock is ever stale.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prospect_core.util.errors import DataError

LOCK, OWNER = ".lock", ".owner.json"


@contextmanager
def lock_folder(folder: Path, what: str) -> Iterator[None]:
    """Hold a folder exclusively; create it if necessary.

    A process may hold a folder twice; it is released after both. A folder that this call created is
    removed if it stays empty.

    Args:
        folder: The folder.
        what: Name of the folder in the message to another process.

    Raises:
        DataError: If another process holds the folder; the message names that process.
    """
    from filelock import FileLock, Timeout

    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    owner = folder / OWNER
    lock = FileLock(folder / LOCK, timeout=0, is_singleton=True)
    try:
        lock.acquire()
    except Timeout as error:
        raise DataError(
            f"{what}: in use by another process{_told(owner)}; wait for it or choose another folder"
        ) from error
    try:
        if lock.lock_counter == 1:
            owner.write_text(
                json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}), "utf-8"
            )
        yield
    finally:
        if lock.lock_counter == 1:
            with suppress(OSError):
                owner.unlink()
            with suppress(OSError):
                if made and all(file.name == LOCK for file in folder.iterdir()):
                    # empty after an early error: while the lock is held, no
                    # other process can hold the removed file
                    (folder / LOCK).unlink()
                    folder.rmdir()
        lock.release()


def _told(owner: Path) -> str:
    try:
        found = json.loads(owner.read_bytes())
        minutes = max(0.0, time.time() - found["since"]) / 60
        return f" (process {found['pid']} on {found['host']}, for {minutes:.0f} min)"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
