"""Atomic writes: files and folders that appear only when they are complete."""

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
    """Provide a new folder that is renamed to ``root`` at the end; an error removes it.

    Two processes that make the same folder wait for each other. Leftovers of a killed process are
    removed.

    Args:
        root: The folder to create.

    Raises:
        UserError: If ``root`` exists, also if another process has just made it.
    """
    from filelock import FileLock

    def refuse() -> None:
        if root.exists():
            raise UserError(f"{root} already exists; choose another folder or delete it first")

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
            # from here on the folder itself makes other processes stop
            with suppress(OSError):
                lock.unlink()


def write_atomic(path: Path, data: str | bytes) -> None:
    """Write a file such that a crash leaves either the old or the new one.

    The steps are: temporary file, fsync, rename, fsync of the folder. A symbolic link stays and its
    target is written. A device, a pipe, and the target of this process's output are written in
    place and never replaced.

    Args:
        path: The file.
        data: Its new content.

    Raises:
        OSError: If the file cannot be written; the error names ``path``.
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
    """Check for a device, a pipe or a socket, or the file that standard output or error goes to."""
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
    # a stream's position in a file advances with its output: a second open file would
    # overwrite it
    with path.open("ab") if stream is None else os.fdopen(os.dup(stream), "wb") as file:
        file.write(payload)


def _stream_of(found: os.stat_result) -> int | None:
    """Return the number of the standard stream that goes to this file; None if neither does."""
    for number in (1, 2):
        with suppress(OSError):
            if os.path.samestat(os.fstat(number), found):
                return number
    return None


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Provide a binary file that becomes ``path`` at the end; an error or a crash keeps the old file.

    The file is synced and renamed, and its folder is synced. Its permissions follow the umask.
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
