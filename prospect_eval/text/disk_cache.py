"""On-disk cache of values that are expensive to compute from a text.

It holds embeddings, METEOR scores and verdicts of the LLM judge. Each kind of value has one SQLite
file in the cache folder. The file's name must identify everything that the value depends on except
the text. Several processes can use a file concurrently. If the folder is not writable, the cache
stays empty.
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
    """Values (bytes) by text.

    Attributes:
        name: Name of the file without its suffix; it may contain folders.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def file(self) -> Path:
        """Path of the SQLite file, from the current cache folder."""
        return cache_dir() / f"{self.name}.sqlite"

    def read(self, texts: Iterable[str]) -> dict[str, bytes]:
        """Return the stored values of texts.

        Args:
            texts: The texts to look up.

        Returns:
            The value of each text that has one. Empty if the file does not exist or is damaged.
        """
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
        """Store values by text. Does nothing if the file cannot be written.

        Args:
            values: The value of each text.
            replace: Replace the value of a text that already has one. By default the old value
                stays.
        """
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
