"""Standard streams in encodings other than UTF-8: replace what they cannot encode instead of failing."""

from __future__ import annotations

import codecs
import io
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

#: name of the error handler of streams
PLAIN = "prospect-plain"
#: ASCII forms of characters in our tables; all others are escaped
_PLAIN = {
    "–": "-",
    "—": "-",
    "−": "-",
    "±": "+-",
    "…": "...",
    "×": "x",
    "’": "'",
    "“": '"',
    "”": '"',
    "→": "->",
    "≤": "<=",
}
_PLAIN |= {"≥": ">=", "·": ".", "\u202f": " ", "\xa0": " ", "│": "|", "─": "-"}


def standard_stream_ascii(text: str) -> str:
    """Convert text to ASCII: plain forms for characters of tables, escapes for all others."""
    return "".join(c if c.isascii() else _PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in text)


def _replaced(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return standard_stream_ascii(error.object[error.start : error.end]), error.end


codecs.register_error(PLAIN, _replaced)


@contextmanager
def lenient_standard_streams() -> Iterator[None]:
    """Make standard output and standard error accept every text inside the context."""
    changed: list[tuple[io.TextIOWrapper, str]] = []
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape", "backslashreplace"):
            changed.append((stream, stream.errors))
            stream.reconfigure(errors=PLAIN)
    try:
        yield
    finally:
        for stream, errors in changed:
            if not stream.closed:
                stream.reconfigure(errors=errors)


def json_for_standard_stream(text: str, stream: TextIO) -> str:
    """Return JSON text for a stream: with ASCII escapes, which keep every character, if it is not UTF-8."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    if codecs.lookup(encoding).name.startswith("utf"):
        return text
    return re.sub(r"[^\x00-\x7f]", lambda found: json.dumps(found[0])[1:-1], text)


def decode_standard_stream_leniently(stream: TextIO) -> TextIO:
    """Make a stream read undecodable bytes as U+FFFD; return the stream."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")
    return stream


def standard_stream_argument(text: str) -> str:
    """Return a command-line argument with undecodable bytes, which Python keeps as lone surrogates, as U+FFFD."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
