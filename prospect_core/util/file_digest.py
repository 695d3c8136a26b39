"""Digests of files, stored until a file changes.

Stored pictures and features of a video are found by the digest of its content, not by its name, its
size, or the digest in a dataset: a replaced file never gets those of the old one.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from prospect_core.util.atomic import write_atomic
from prospect_core.util.cache_dir import cache_dir


def digest_file_content(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes, from the cache if the file has not changed.

    The cache key is the file's device, inode, size, and times of modification and status change.
    """
    status = path.stat()
    state = f"{status.st_dev}/{status.st_ino}/{status.st_size}/{status.st_mtime_ns}/{status.st_ctime_ns}"
    return _digest_of_state(path.absolute(), state)


@lru_cache(maxsize=100_000)
def _digest_of_state(path: Path, state: str) -> str:
    kept = cache_dir() / "digests" / hashlib.sha256(state.encode()).hexdigest()[:32]
    with suppress(OSError, ValueError):
        found = kept.read_text("ascii").strip()
        if len(bytes.fromhex(found)) == hashlib.sha256().digest_size:
            return found
    digest = digest_file(path)
    # without write access the file is read again next time
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(kept, digest + "\n")
    return digest


def digest_file(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _sha256(file)


def _sha256(file: Any) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()
