"""What was dear to compute, kept on disk by text: embeddings, METEOR of a pair, a judge's verdict.

    python -c "from prospect_eval.text.disk_cache import DiskCache; s = DiskCache('notes'); s.write({'a': b'1'}); print(s.read(['a', 'b']))"

One SQLite file a kind of value in the cache folder, whose name must tell everything that the value depends on beside the
text. Several processes may use it at once. A folder that cannot be written to is a store that is always empty.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from prospect_core.util.cache_dir import cache_dir

_AT_ONCE = 500


class DiskCache:
    """Values (bytes) by text."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def file(self) -> Path:
        """Where it lies; the folder is looked up each time, for tests move it."""
        return cache_dir() / f"{self.name}.sqlite"

    def read(self, texts: Iterable[str]) -> dict[str, bytes]:
        """The values of those texts that have one."""
        if not self.file.is_file():
            return {}
        keys = {_key(text): text for text in texts}
        out = {}
        try:
            with closing(sqlite3.connect(self.file, timeout=30)) as base:
                for key, value in _rows(base, list(keys)):
                    out[keys[key]] = value
        except sqlite3.DatabaseError:
            return {}
        return out

    def write(self, values: Mapping[str, bytes], replace: bool = False) -> None:
        """Keep these values; a text that has one keeps the first, or with ``replace`` gets the new one."""
        rows = [(_key(text), value) for text, value in values.items()]
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.file, timeout=30)) as base, base:
                base.execute("create table if not exists kept (key blob primary key, value blob) without rowid")
                base.executemany(f"insert or {'replace' if replace else 'ignore'} into kept values (?, ?)", rows)
        except (OSError, sqlite3.DatabaseError):
            return


def _rows(base: sqlite3.Connection, keys: Sequence[bytes]) -> Iterable[tuple[bytes, bytes]]:
    for begin in range(0, len(keys), _AT_ONCE):
        some = keys[begin : begin + _AT_ONCE]
        marks = ",".join("?" * len(some))
        yield from base.execute(f"select key, value from kept where key in ({marks})", some)


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
