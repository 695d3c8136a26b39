"""Strict conversion of frozen dataclasses to and from JSON, and validated reading of JSON files."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Hashable
from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast, get_type_hints

from prospect_core.util.errors import DataError

T = TypeVar("T")
#: size limit of a file that is read completely, in bytes; annotations of a hundred thousand hours
#: are smaller
MOST_BYTES = 4 << 30
#: fields of dataclasses that `dump_json` omits when they are empty
OMITTED_WHEN_EMPTY = frozenset(
    {
        "alternatives",
        "answers",
        "answers_to",
        "candidates",
        "decided",
        "dropped",
        "group",
        "mistake_prob",
        "mistake_threshold",
        "mistakes",
        "next_steps",
        "occurrences",
        "open_until",
        "order_edges",
        "participant",
        "polls",
        "protocol",
        "recorded",
        "recorded_digest",
        "recording",
        "reply_span",
        "spoken",
        "substeps",
        "timing",
        "undelivered",
        "words_heard",
    }
)
_EMPTY: tuple[object, ...] = (None, "", (), [], {})
#: JSON escapes that may be lone surrogates
_HALF_CHARACTER = re.compile(r"\\u[dD][89abAB-fF]")
_HALF_CHARACTER_BYTES = re.compile(_HALF_CHARACTER.pattern.encode())
#: largest number of fields that an error line names
MOST_NAMED = 8


@cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def load_json(kind: type[T], data: bytes | str, where: str) -> T:
    """Parse JSON text into a dataclass without coercion, unknown keys or NaN.

    Long arrays of numbers, listed in the class's ``__arrays__``, are parsed separately, which is
    three times as fast.

    Args:
        kind: The class.
        data: JSON text.
        where: Start of the error line.

    Raises:
        DataError: If the text does not match the class.
    """
    from pydantic import ValidationError

    if isinstance(data, str):
        # lone surrogates, which JSON can contain and no file can store: refused below
        # like other broken UTF-8
        data = data.encode("utf-8", "surrogatepass")
    if arrays := getattr(kind, "__arrays__", ()):
        quick = _load_in_parts(kind, data, arrays)
        if quick is not None:
            return quick
    try:
        value: T = _adapter(cast(Hashable, kind)).validate_json(data, strict=True)
    except ValidationError as error:
        raise DataError(f"{where}: {_all_that_is_wrong(error.errors(include_url=False))}") from error
    return value


def _all_that_is_wrong(errors: list[Any]) -> str:
    """Name the fields of the first kind of mistake, and count the others."""
    kind = errors[0]["msg"]
    named = [".".join(str(part) for part in error["loc"]) or "the row" for error in errors if error["msg"] == kind]
    others = len(errors) - len(named[:MOST_NAMED])
    return f"{', '.join(named[:MOST_NAMED])}: {kind}{f' (and {others} more)' if others else ''}"


def _load_in_parts(kind: type[T], data: bytes, arrays: tuple[str, ...]) -> T | None:
    """Parse arrays separately; return None for any fault, which the complete parser then explains."""
    import msgspec
    from pydantic import ValidationError

    try:
        parts = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        found = {name: _decoder(cast(Hashable, kind), name).decode(parts.pop(name)) for name in arrays if name in parts}
        rest: Any = _adapter(cast(Hashable, kind)).validate_json(msgspec.json.encode(parts), strict=True)
        return cast(T, replace(rest, **found))
    except (msgspec.MsgspecError, UnicodeDecodeError, ValidationError, RecursionError):
        return None


@cache
def _decoder(kind: Any, name: str) -> Any:
    import msgspec

    return msgspec.json.Decoder(get_type_hints(kind)[name])


def dump_json(value: Any, indent: int | None = None) -> str:
    """Convert a dataclass or plain JSON value to JSON text; NaN is refused.

    Empty fields in `OMITTED_WHEN_EMPTY` are omitted: they were added later, and files of data
    without them keep their bytes and digests.

    Args:
        value: The value.
        indent: Indentation in blanks; compact text if None.

    Raises:
        TypeError: If a value is neither a dataclass nor a JSON value.
        ValueError: If a number is not finite.
    """
    separators = (",", ":") if indent is None else None
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent, separators=separators, default=_fields)


def _fields(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass for the encoder."""
    if not is_dataclass(value):
        raise TypeError(f"{type(value).__name__} is neither a dataclass nor a JSON value")
    found = {field.name: getattr(value, field.name) for field in fields(value)}
    # 0 is a value: only empty values are omitted
    return {name: item for name, item in found.items() if item not in _EMPTY or name not in OMITTED_WHEN_EMPTY}


def digest_json(value: Any) -> str:
    """Return the SHA-256 of a dataclass's JSON."""
    return hashlib.sha256(dump_json(value).encode()).hexdigest()


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: If the file is missing, broken or too large.
    """
    return parse_json(read_limited_json_bytes(path), str(path))


def read_typed_json(path: Path, shape: type[T]) -> T:
    """Read a JSON file of a known shape.

    Args:
        path: The file.
        shape: A `TypedDict`.

    Raises:
        DataError: If the file cannot be read or has another shape; the message names file and
            field.
    """
    value = read_json(path)
    from pydantic import ValidationError

    try:
        _adapter(cast(Hashable, shape)).validate_python(value)
        return cast(T, value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DataError(f"{path}: {place}: {first['msg']}; the file is damaged or from another program") from error


def parse_json(data: bytes | str, where: str) -> Any:
    """Parse JSON text of external origin.

    Args:
        data: JSON text.
        where: Start of the error line.

    Raises:
        DataError: If the text is broken, nested too deeply, or contains numbers that are not finite
            or lone surrogates.
    """
    try:
        value = json.loads(data, parse_constant=_not_finite, parse_float=_finite)
        half = _HALF_CHARACTER.search(data) if isinstance(data, str) else _HALF_CHARACTER_BYTES.search(data)
        if half:
            # a pair of escapes is a whole character; a lone one can be parsed but not
            # written to a file
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise DataError(f"{where}: not JSON that can be read (nested too deeply)") from error
    except UnicodeEncodeError as error:
        text = ascii(error.object[error.start])
        raise DataError(f"{where}: {text} is half a Unicode character; remove it") from error
    except ValueError as error:
        raise DataError(f"{where}: not JSON ({error})") from error
    return value


def _finite(text: str) -> float:
    number = float(text)
    # 1e999 is valid JSON but parses as infinity
    return number if math.isfinite(number) else _not_finite(text)


def _not_finite(name: str) -> float:
    raise ValueError(f"{name} is not a number that JSON knows")


def read_limited_json_bytes(path: Path) -> bytes:
    """Read a whole file of at most `MOST_BYTES`.

    Raises:
        DataError: If the file is larger or cannot be read.
    """
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise DataError(f"{path}: has {size:,} bytes; the limit is {MOST_BYTES:,}")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error


def flatten_json(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten a nested mapping to dotted keys."""
    out: dict[str, Any] = {}
    for key, item in value.items():
        out |= flatten_json(item, f"{prefix}{key}.") if isinstance(item, dict) else {f"{prefix}{key}": item}
    return out
