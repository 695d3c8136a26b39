"""Parse WebVTT and SubRip files: each cue is read, or refused with its line.

Published parsers skip cues that they cannot read. Here every line of the file belongs to a cue, to
a block without speech (``NOTE``, ``STYLE``, ``REGION``, the header), or to a refused line. Both
formats accept times with points or commas, without fractions and without hours, and cues without a
number. Markup that the formats define is removed; other angle brackets are words. HTML entities
that end with a semicolon are decoded.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_CLOCK = r"(?:\d+\s*:\s*)?\d{1,2}\s*:\s*\d{1,2}(?:\s*[.,:]\s*\d+)?"
#: two times and little else: meant as the times of a cue, well formed or not
_TIMING = re.compile(rf"^\s*{_CLOCK}\s*(?:[-–—=]+\s*>|→|⟶)\s*\d|^\s*{_CLOCK}(?:\s|[^\w\s]){{1,6}}{_CLOCK}\s*$")
_TIMES = re.compile(
    r"^\s*((?:\d+:)?\d{1,2}:\d{1,2}(?:[.,]\d+)?)\s*-->\s*((?:\d+:)?\d{1,2}:\d{1,2}(?:[.,]\d+)?)(?:\s+(.*))?$"
)
_SETTING = re.compile(r"(?:(?:vertical|line|position|size|align|region):\S+|[XY][12]:-?\d+)$")
#: markup of WebVTT and SubRip that players interpret
_TAG = re.compile(
    r"</?(?:[ibus]|c|ruby|rt|lang|font|v)(?:[.\s][^<>\n]*)?>|<(?:\d+:)?\d{1,2}:\d{2}[.,]\d+>|\{\\[^{}\n]*\}", re.I
)
_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?\s+([^<>\n]+)>", re.I)
_ENTITY = re.compile(r"&(?:#\d+|#[xX][0-9a-fA-F]+|[A-Za-z]\w*);")
_BLOCKS = re.compile(r"^(?:NOTE|STYLE|REGION)(?:\s|$)")


@dataclass(frozen=True)
class Voiced:
    """Words of one voice in a cue.

    Attributes:
        voice: Name in a ``<v NAME>`` tag; empty without one.
        lines: The words, by line.
    """

    voice: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Cue:
    """A cue that was read.

    Attributes:
        line: Number of the line with its times.
        number: Number of the cue in the file, from 1.
        begin: Start time as text.
        said: Words in order.
    """

    line: int
    number: int
    begin: str
    said: tuple[Voiced, ...]


@dataclass
class Cues:
    """Cues of a file.

    Attributes:
        cues: Cues that were read.
        refused: ``line N: reason`` for each cue or stray line that could not be read.
    """

    cues: list[Cue] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @property
    def items(self) -> int:
        """Number of cues and stray lines in the file."""
        return len(self.cues) + len(self.refused)


@dataclass
class _Block:
    """Lines of one cue as the file has them."""

    line: int
    timing: str
    body: list[str] = field(default_factory=list)


def read_subtitle_cues(text: str, suffix: str) -> Cues:
    """Parse the cues of a file.

    Args:
        text: Contents of the file, without a byte order mark.
        suffix: ``.vtt`` or ``.srt``.

    Raises:
        ValueError: If the text is not in that format: no WebVTT signature, or no cue.
    """
    lines = re.split(r"\r\n|\n|\r", text)
    found = Cues()
    if suffix == ".vtt":
        if not re.match(r"WEBVTT(?:\s|$)", lines[0]):
            raise ValueError("line 1: a WebVTT file begins with WEBVTT")
        blocks = _vtt_blocks(lines, found)
    else:
        blocks = _srt_blocks(lines, found)
    for number, block in enumerate(blocks, 1):
        _read_block(block, number, suffix, found)
    if not found.items:
        raise ValueError("holds no cue (a line such as 00:00:01,000 --> 00:00:02,000)")
    return found


def _read_block(block: _Block, number: int, suffix: str, found: Cues) -> None:
    times = _TIMES.match(block.timing)
    if times is None:
        found.refused.append(
            f"line {block.line}: cue {number}: {block.timing.strip()!r} is not a timing line;"
            " write 00:00:01,000 --> 00:00:02,000"
        )
        return
    body = list(block.body)
    if rest := (times[3] or "").strip():
        settings = all(_SETTING.match(word) for word in rest.split())
        if not settings and suffix == ".vtt":
            found.refused.append(
                f"line {block.line}: cue {number}: {rest!r} follows the times; write the text on the next line"
            )
            return
        body = body if settings else [rest, *body]
    said = tuple(voiced for voiced in _voices(body) if any(voiced.lines))
    if not said:
        found.refused.append(
            f"line {block.line}: cue {number} has no text; delete it, or write its text below the times"
        )
        return
    found.cues.append(Cue(block.line, number, times[1], said))


def _vtt_blocks(lines: list[str], found: Cues) -> list[_Block]:
    """Separate the blocks of a WebVTT file: they end at an empty line; the header follows the signature."""
    blocks: list[_Block] = []
    for start, part in _paragraphs(lines):
        if start == 1:
            part = _without_header(part, found)
            start += len(_paragraph_at(lines, 0)) - len(part)
        if not part or (_BLOCKS.match(part[0]) and not any(map(_is_timing, part))):
            continue
        if _BLOCKS.match(part[0]) and not _is_timing(part[0]):
            start, part = start + 1, part[1:]
        _take_paragraph(start, part, blocks, found)
    return blocks


def _take_paragraph(start: int, part: list[str], blocks: list[_Block], found: Cues) -> None:
    """Add the cues of one paragraph: identifier, times and words.

    Times start a new cue even without an empty line before them.
    """
    at = [k for k, line in enumerate(part) if _is_timing(line)]
    stray = part[: at[0]] if at else part
    # a single line before the times is the identifier of the cue
    if at and len(stray) <= 1:
        stray = []
    if stray:
        found.refused.append(f"line {start}: {stray[0].strip()!r} belongs to no cue; a timing line is missing above it")
    ends = [*at, len(part)][1:]
    for k, end in zip(at, ends, strict=False):
        body = part[k + 1 : end]
        if end < len(part) and body and body[-1].strip().isdigit() and len(body) > 1:
            body = body[:-1]
        blocks.append(_Block(start + k, part[k], body))


def _srt_blocks(lines: list[str], found: Cues) -> list[_Block]:
    """Separate the blocks of a SubRip file: words may contain empty lines and end at the next number or times."""
    blocks: list[_Block] = []
    last_number = 0
    stray: list[int] = []
    for index, line in enumerate(lines):
        if not _is_timing(line):
            if blocks:
                blocks[-1].body.append(line)
            elif line.strip():
                stray.append(index)
            continue
        before = blocks[-1].body if blocks else [lines[k] for k in stray]
        if before and _is_number(before, last_number):
            last_number = int(before.pop().strip())
            if not blocks:
                stray.pop()
        blocks.append(_Block(index + 1, line))
    found.refused += [
        f"line {k + 1}: {lines[k].strip()!r} belongs to no cue; a timing line is missing above it" for k in stray
    ]
    return blocks


def _is_number(before: list[str], last: int) -> bool:
    """Check whether the line before a cue's times is its number, and not words of the cue before."""
    text = before[-1].strip()
    if not re.fullmatch(r"[0-9]{1,9}", text):
        return False
    return len(before) == 1 or not before[-2].strip() or int(text) == last + 1


def _is_timing(line: str) -> bool:
    return bool(_TIMING.match(line)) or "-->" in line


def _paragraphs(lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield (number of the first line, lines) of each run of lines that are not empty."""
    index = 0
    while index < len(lines):
        part = _paragraph_at(lines, index)
        if part:
            yield index + 1, part
        index += len(part) + 1


def _paragraph_at(lines: list[str], index: int) -> list[str]:
    end = index
    while end < len(lines) and lines[end].strip():
        end += 1
    return lines[index:end]


def _without_header(part: list[str], found: Cues) -> list[str]:
    """Return the first paragraph from its first cue; refuse a header line that maps to a stream's clock."""
    for number, line in enumerate(part, 1):
        if line.startswith("X-TIMESTAMP-MAP") and not _is_zero_map(line) and not _is_timing(line):
            found.refused.append(
                f"line {number}: {line.strip()} shifts all cues to a stream's clock; shift the times to the video's"
                " clock and remove the line"
            )
    first = next((k for k, line in enumerate(part) if _is_timing(line)), len(part))
    return part[first:]


def _is_zero_map(line: str) -> bool:
    clock = re.search(r"MPEGTS:(\d+)", line)
    local = re.search(r"LOCAL:([\d:.]+)", line)
    return bool(clock and local and not int(clock[1]) and not re.search("[1-9]", local[1]))


def _voices(body: list[str]) -> list[Voiced]:
    """Return the words of a cue without markup, separated by voice tag."""
    out: list[tuple[str, list[str]]] = [("", [])]
    for line in body:
        pieces = _VOICE.split(line)
        for k in range(0, len(pieces), 2):
            if k:
                out.append((_plain(pieces[k - 1]), []))
            if words := _plain(pieces[k]):
                out[-1][1].append(words)
    return [Voiced(voice, tuple(lines)) for voice, lines in out]


def _plain(text: str) -> str:
    """Remove markup, decode entities and collapse runs of blanks."""
    decoded = _ENTITY.sub(lambda entity: html.unescape(entity[0]), _TAG.sub("", text))
    return " ".join(decoded.split())
