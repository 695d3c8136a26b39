"""A folder that appears whole or not at all, made by one process even where several want it.

python -c "from prospect_core.util.atomic import atomic_folder; help(atomic_folder)"
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from prospect_core.util.errors import UserError


@contextmanager
def atomic_folder(root: Path) -> Iterator[Path]:
    """A new folder to fill beside ``root``, which it becomes at the end; an error leaves nothing.

    A ``root`` that exists is refused (`UserError`), also where another process has just made it: two that make the same
    wait for each other. What one that was killed left behind goes.
    """
    from filelock import FileLock

    def refuse() -> None:
        if root.exists():
            raise UserError(f"{root} exists already; choose another folder or delete it first")

    refuse()
    root.parent.mkdir(parents=True, exist_ok=True)
    scratch, lock = root.parent / f".{root.name}.part", root.parent / f".{root.name}.lock"
    with FileLock(lock):
        refuse()
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        try:
            yield scratch
            scratch.rename(root)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        finally:
            # from here on the folder itself refuses others
            with suppress(OSError):
                lock.unlink()


def write_atomic(path: Path, data: str | bytes) -> None:
    """Write a file so that a crash leaves the old one or the new one: temp file, fsync, rename, fsync of the folder.

    A link is followed, and the file that it names is written. A device, a pipe, and what this process writes its output
    to are written to and never replaced.

    An `OSError` names the file that was to be written.
    """
    try:
        payload = data.encode() if isinstance(data, str) else data
        if bypasses_atomic_write(path):
            _write_in_place(path, payload)
            return
        with atomic_file(path.resolve() if path.is_symlink() else path) as file:
            file.write(payload)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def bypasses_atomic_write(path: Path) -> bool:
    """Whether a path leads to a device, a pipe or a socket, or to the file that standard output or error goes to."""
    try:
        found = path.stat()
    except OSError:
        return False
    if not stat.S_ISREG(found.st_mode):
        return not stat.S_ISDIR(found.st_mode)
    return _stream_of(found) is not None


def _write_in_place(path: Path, payload: bytes) -> None:
    stream = _stream_of(path.stat())
    sys.stdout.flush()
    # a stream's own place in a file moves on with what is written: opened a second time, each would write over the other
    with path.open("ab") if stream is None else os.fdopen(os.dup(stream), "wb") as file:
        file.write(payload)


def _stream_of(found: os.stat_result) -> int | None:
    """The number of the standard stream that goes to this file; None where neither does."""
    for number in (1, 2):
        with suppress(OSError):
            if os.path.samestat(os.fstat(number), found):
                return number
    return None


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A binary file to write, which becomes ``path`` at the end; an error or a crash leaves what was there.

    The file is synced, renamed, and its folder synced. Its rights are those that the umask gives.
    """
    name = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        name.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
