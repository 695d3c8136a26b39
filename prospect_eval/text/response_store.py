"""Replies of a server on disk, so that a run that continues asks nothing twice."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from prospect_core.util.json_io import dump_json

#: name of the file in a run folder; SQLite adds files whose names begin with it
RESPONSES = "responses.sqlite"


def response_key(url: str, model: str, parameters: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the key of a request.

    Args:
        url: Address of the API.
        model: Name of the model.
        parameters: Parameters of the request.
        messages: The chat. The address of a picture (`PictureUrl`) stands for its content.
    """
    lines = [dump_json([url, model, dict(sorted(parameters.items()))])]
    for message in messages:
        content = message["content"]
        parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
        lines.append(f"{message['role']} {len(parts)}")
        for part in parts:
            value = part["text"] if part["type"] == "text" else part[part["type"]]["url"]
            # a text can hold any character, so its length is written before it
            lines.append(f"{part['type']} {len(value)} {_short(value)}")
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).digest()


def _short(value: str) -> str:
    """Return a text as it is, and a picture as its digest."""
    if isinstance(value, PictureUrl):
        return value.digest
    return hashlib.sha256(value.encode()).hexdigest() if value.startswith("data:") else value


class PictureUrl(str):
    """A picture as a data URL.

    Attributes:
        digest: SHA-256 of the URL in hexadecimal digits, computed once because each picture is part of many requests.
    """

    digest: str

    def __new__(cls, url: str) -> PictureUrl:
        """Make the picture of a data URL."""
        made = super().__new__(cls, url)
        made.digest = hashlib.sha256(url.encode()).hexdigest()
        return made


class ResponseStore:
    """Texts by key in an SQLite file. Threads and processes can share it.

    A file that cannot be written keeps nothing. A damaged file is deleted.

    Attributes:
        file: The file.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lock = threading.Lock()
        self._base = _open(file)

    def read(self, key: bytes) -> str | None:
        """Return the text of a key; None if there is none."""
        with self._lock, suppress(sqlite3.Error):
            found = self._base and self._base.execute("select value from kept where key = ?", (key,)).fetchone()
            return str(found[0]) if found else None
        return None

    def write(self, key: bytes, text: str) -> None:
        """Store the text of a key."""
        with self._lock, suppress(sqlite3.Error):
            if self._base is not None:
                self._base.execute("insert or replace into kept values (?, ?)", (key, text))

    def close(self) -> None:
        """Close the file. Later reads find nothing, and later writes do nothing."""
        with self._lock, suppress(sqlite3.Error):
            if self._base is not None:
                self._base.close()
            self._base = None


def _open(file: Path) -> sqlite3.Connection | None:
    """Return a connection; None if the file cannot be written. A damaged file is deleted first."""
    for _ in range(2):
        try:
            return _connect(str(file))
        except sqlite3.OperationalError:
            return None
        except sqlite3.DatabaseError:
            with suppress(OSError):
                file.unlink()
    return None


def _connect(path: str) -> sqlite3.Connection:
    base = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    try:
        # without a wait for the disk after each reply; a crash of the machine loses the last replies
        base.execute("pragma journal_mode = wal")
        base.execute("pragma synchronous = normal")
        base.execute("create table if not exists kept (key blob primary key, value text) without rowid")
    except sqlite3.Error:
        base.close()
        raise
    return base
