"""A folder for one process alone; who has it is said to whoever comes second.

    python -c "from prospect_core.util.folder_lock import lock_folder; from pathlib import Path; help(lock_folder)"

The lock is the operating system's, which lets go of it when a process ends, killed or not: none is ever stale.
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
    """Hold a folder, which is made if need be; ``what`` names it in the message to a second process (`DataError`).

    Held twice by one process it stays held until both are through. A folder that was made for it and stayed empty is removed.
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
            f"{what}: another process is at work there{_told(owner)}; wait for it or choose another folder"
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
                    # refused before anything was written: unlinked while it is held, no other process can hold it too
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
