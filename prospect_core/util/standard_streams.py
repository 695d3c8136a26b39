"""Standard streams of terminals that are not UTF-8: what they cannot show is replaced, and never ends a command.

python -c "from prospect_core.util.standard_streams import standard_stream_ascii; print(standard_stream_ascii('0.5 – 0.7 ± 0.1'))"
"""

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
#: characters of our own tables in ASCII; any other is shown as its escape
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
    """ASCII for a text: a plain form of the characters that tables use, the escape of any other."""
    return "".join(c if c.isascii() else _PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in text)


def _replaced(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return standard_stream_ascii(error.object[error.start : error.end]), error.end


codecs.register_error(PLAIN, _replaced)


@contextmanager
def lenient_standard_streams() -> Iterator[None]:
    """Standard output and standard error that take every text, whatever their encoding, while the context lasts."""
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
    """JSON text for a stream: one that is not UTF-8 gets ASCII with escapes, which keeps every character."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    if codecs.lookup(encoding).name.startswith("utf"):
        return text
    return re.sub(r"[^\x00-\x7f]", lambda found: json.dumps(found[0])[1:-1], text)


def decode_standard_stream_leniently(stream: TextIO) -> TextIO:
    """The same stream; bytes on it that are not text in its encoding are read as U+FFFD."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")
    return stream


def standard_stream_argument(text: str) -> str:
    """An argument of the command line as text: bytes that were not UTF-8, which Python keeps as half characters, are U+FFFD."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
