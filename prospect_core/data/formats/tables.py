"""Parse text tables as people and spreadsheets write them: head lines, names of columns, rows of cells.

The separator of cells is the one of tab, comma and semicolon that the line of names uses. A
quotation mark starts a quoted cell only if a matching one ends the cell; any other quotation mark
is part of the words. Padding rows and columns are removed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from prospect_core.util.errors import did_you_mean

#: separators of cells, with their names for messages
SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons"}
_HEAD = re.compile(r"#\s*(?:step\s+(?P<step>\S+?)|(?P<key>[a-z]+))\s*[::]\s*(?P<value>.*)", re.I | re.S)
#: a line in the form of a head line: one or two words before a colon
_LIKE_HEAD = re.compile(r"#\s*(?P<word>[a-z]+)(?:\s+(?P<id>S?\d[^\s::]*))?\s*(?P<colon>[::])?", re.I)
_ROW_BEGIN = re.compile(r"(?:\d+:)*\d+(?:[.,]\d+)?$")


@dataclass(frozen=True)
class TableRow:
    """A row of a table.

    Attributes:
        line: Number of its first line.
        cells: Its cells.
        text: Its whole text.
        begins: Position in the text at which each cell starts.
    """

    line: int
    cells: tuple[str, ...]
    text: str
    begins: tuple[int, ...]

    def rest(self, cell: int) -> str:
        """Return the text of the row from a cell to the end, separators included."""
        return self.text[self.begins[cell] :]


@dataclass
class TextTable:
    """A parsed table.

    Attributes:
        separator: Separator of cells.
        head: Values of the head lines.
        rows: Rows, starting with the names of the columns if the file has them.
        refused: Refused head lines with reasons.
    """

    separator: str
    head: dict[str, str] = field(default_factory=dict)
    rows: list[TableRow] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def read_delimited_table(text: str, suffix: str, keys: Sequence[str]) -> TextTable:
    """Parse head lines and rows of a table.

    Args:
        text: Contents of the file, without a byte order mark.
        suffix: ``.tsv`` or ``.csv``, which determines the default separator.
        keys: Allowed keys of head lines in addition to steps, in lower case.
    """
    text = re.sub(r"\r\n|\r", "\n", text)
    table = TextTable(_separator(text, suffix))
    for row in _rows(text, table.separator):
        first = row.cells[0].strip() if row.cells else ""
        if first.startswith("#"):
            _take_head(row, keys, table)
        elif any(cell.strip() for cell in row.cells):
            table.rows.append(row)
    return table


def fit_delimited_table_row(row: TableRow, names: Sequence[str], separator: str) -> tuple[str, ...]:
    """Return the row's stripped cells, one per column, without padding cells.

    A separator inside the last column is part of its words if a blank follows each one, as in
    running text.

    Args:
        row: The row.
        names: Names of the columns.
        separator: Separator of cells.

    Raises:
        ValueError: If the row has too few or too many cells.
    """
    columns = len(names)
    cells = [cell.strip() for cell in row.cells]
    while len(cells) > columns and not cells[-1]:
        cells.pop()
    between = SEPARATORS[separator]
    if len(cells) < columns:
        raise ValueError(f"has {len(cells)} column(s); use {', '.join(names)}, separated by {between}")
    if len(cells) == columns:
        return tuple(cells)
    extra = row.cells[columns : len(cells)]
    running = separator in ",;" and all(cell[:1] == " " for cell in extra)
    if not running:
        raise ValueError(
            f"has {len(cells)} columns, the line of names has {columns}; put text that contains {between} in quotation marks"
        )
    last = row.rest(columns - 1)
    padding = len(row.cells) - len(cells)
    return (*cells[: columns - 1], (last[: len(last) - padding] if padding else last).strip())


def _separator(text: str, suffix: str) -> str:
    """Return the separator of the line of names; the suffix's default if the line has none."""
    usual = "\t" if suffix == ".tsv" else ","
    lines = (line for line in text.split("\n") if line.strip(" \t,;") and not line.lstrip(' "').startswith("#"))
    names = next(lines, "")
    return max(SEPARATORS, key=lambda mark: (names.count(mark), mark == usual))


def _rows(text: str, separator: str) -> list[TableRow]:
    """Separate all rows; a quoted cell may contain line breaks."""
    quoted = re.compile(rf'[ ]*"((?:[^"]|"")*)"[ ]*(?={re.escape(separator)}|\n|$(?!\n))')
    rows: list[TableRow] = []
    at, line = 0, 1
    while at < len(text):
        begin, number = at, line
        spans: list[tuple[int, str, str]] = []
        while True:
            found = quoted.match(text, at)
            if found is not None and not _swallows_rows(found[1], separator):
                raw, end = found[0], found.end()
                spans.append((at, raw, found[1].replace('""', '"')))
            else:
                end = _end_of_cell(text, at, separator)
                spans.append((at, text[at:end], text[at:end]))
            at = end
            if at >= len(text) or text[at] == "\n":
                break
            at += 1
        line += text.count("\n", begin, at) + 1
        rows.append(_row(number, spans, text[begin:at], begin, separator))
        at += 1
    return rows


def _row(number: int, spans: list[tuple[int, str, str]], whole: str, begin: int, separator: str) -> TableRow:
    """Make a row from the spans of its cells.

    In a table with tabs, quotation marks around a cell are part of the words unless the writer had
    to quote it or quotes every cell of words: people who type them mean them as words.
    """
    was_quoted = [raw != cell for _, raw, cell in spans]
    cells = []
    for (_, raw, cell), quoted in zip(spans, was_quoted, strict=True):
        needed = any(mark in cell for mark in '\t\n",;')
        keeps = separator == "\t" and quoted and not needed and sum(was_quoted) == 1 and len(spans) > 1
        cells.append(raw.strip(" ") if keeps else " ".join(cell.split("\n")) if quoted else cell)
    return TableRow(line=number, cells=tuple(cells), text=whole, begins=tuple(place - begin for place, _, _ in spans))


def _swallows_rows(cell: str, separator: str) -> bool:
    """Check whether an unclosed quotation mark met one in a later row: the lines between look like rows."""
    later = cell.split("\n")[1:]
    return any(separator in line and _ROW_BEGIN.match(line.split(separator)[0].strip()) for line in later)


def _end_of_cell(text: str, at: int, separator: str) -> int:
    ends = [place for mark in (separator, "\n") if (place := text.find(mark, at)) >= 0]
    return min(ends, default=len(text))


def _take_head(row: TableRow, keys: Sequence[str], table: TextTable) -> None:
    """Read a line that starts with ``#``: a head line, a comment, or a refused line."""
    text = _head_text(row, table.separator)
    found = _HEAD.match(text)
    key = f"step {found['step']}" if found and found["step"] else found["key"].lower() if found else ""
    value = " ".join(found["value"].split()) if found else ""
    if found and (found["step"] or key in keys):
        if key in table.head:
            table.refused.append(f"line {row.line}: {key} is given twice; delete one of the lines")
        elif not value:
            table.refused.append(f"line {row.line}: {key} has no value; write `# {key}: ...`, or delete the line")
        else:
            table.head[key] = value
        return
    if reason := _near_miss(text, keys):
        table.refused.append(f"line {row.line}: {reason}")


def _head_text(row: TableRow, separator: str) -> str:
    """Return the text of a head line without a spreadsheet's padding cells, quotes or second cell."""
    cells = [cell.strip() for cell in row.cells]
    while len(cells) > 1 and not cells[-1]:
        cells.pop()
    if len(cells) == 1 or (len(cells) == 2 and cells[0].endswith((":", ":"))):
        return " ".join(cells)
    padding = len(row.cells) - len(cells)
    whole = row.text.strip()
    return whole[: len(whole) - padding].strip() if padding and whole.endswith(separator) else whole


def _near_miss(text: str, keys: Sequence[str]) -> str:
    """Return why a line that starts with ``#`` is probably meant as a head line; empty for a comment."""
    found = _LIKE_HEAD.match(text)
    if found is None:
        return ""
    word, known = found["word"].lower(), (*keys, "step")
    hint = did_you_mean(word, known)
    allowed = f"use {', '.join(keys)} or step ID"
    if found["id"] and (word == "step" or hint):
        form = f"`# step {found['id']}: ...`"
        return f"`# {found['word']} {found['id']}` is not a step; write {form}" if word in known or hint else ""
    if word == "step" and found["colon"]:
        return "a step has an id; write `# step S1: ...`"
    if found["colon"] and hint:
        return f"`# {found['word']}:` is unknown: {allowed}{hint}"
    if word in ("goal", "fps") and not found["colon"]:
        return f"`# {found['word']}` has no colon; write `# {word}: ...`"
    return ""
