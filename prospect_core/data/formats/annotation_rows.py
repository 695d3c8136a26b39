"""Convert rows of tables and cues of subtitles to events; each item is used, left out or refused."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from prospect_core.data.formats.speakers import Speakers
from prospect_core.data.formats.subtitles import read_subtitle_cues
from prospect_core.data.formats.tables import TextTable, fit_delimited_table_row
from prospect_core.timeline import CHANGES, Event, Step
from prospect_core.util.console import format_count
from prospect_core.util.errors import DataError, did_you_mean

COLUMNS = ("time", "kind", "what")
LEVELS = ("step", "substep", "action")
LEVEL_COLUMNS = ("type", "id", "start_ts", "end_ts", "name")
KINDS = (*CHANGES, "say", "or", "user")
#: largest number of mistakes that one error reports
TOLD = 20
_CLOCK = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:[.,]\d+)?)")


@dataclass
class Reading:
    """Result of reading the rows or cues of a file: ``items == used + left_out + len(refused)``.

    Attributes:
        what: Name of an item: ``row`` or ``cue``.
        items: Number of items in the file.
        steps: Steps that a three-level table defines.
        events: Events that were read. Their ids are the places of their items, ``line N`` or ``line
            N: cue K``.
        refused: Reason by place of a refused item.
        left_out: Number of rows that belong to another level of the table.
        wordings: By place of an alternative wording, the place of its event.
        notes: Remarks that the user should check.
    """

    what: str
    items: int = 0
    steps: list[Step] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    left_out: int = 0
    wordings: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def used(self) -> int:
        """Number of items that became events or alternative wordings."""
        return self.items - self.left_out - len(self.refused)

    def refuse(self, wrong: Mapping[str, str]) -> None:
        """Refuse items after reading, with the alternative wordings of their events.

        Args:
            wrong: Reason by place.
        """
        self.refused |= wrong
        for place, event in list(self.wordings.items()):
            if event in wrong:
                self.refused[place] = f"gives another wording of {event}, which was refused"
                del self.wordings[place]
        self.events = [event for event in self.events if event.id not in wrong]

    def lines(self) -> list[str]:
        """Return one line per refused item."""
        return [f"{place}: {reason}" for place, reason in self.refused.items()]

    def summary(self) -> str:
        """Summarise the result, as in ``read 41 cues: 40 events, 1 refused (line 7: ...)``."""
        parts = [format_count(len(self.events), "event")]
        parts += [format_count(len(self.wordings), "wording")] if self.wordings else []
        parts += [f"{self.left_out} of other levels"] if self.left_out else []
        if self.refused:
            lines = self.lines()
            more = f"; and {len(lines) - TOLD} more" if len(lines) > TOLD else ""
            parts.append(f"{len(lines)} refused ({'; '.join(lines[:TOLD])}{more})")
        return f"read {format_count(self.items, self.what)}: {', '.join(parts)}"


def parse_annotation_row_time(text: str) -> float:
    """Convert a time such as ``12.5``, ``1:02`` or ``1:02:03,5`` to seconds.

    Raises:
        ValueError: If the text has another form.
    """
    found = _CLOCK.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r} is not a time; write seconds or h:mm:ss")
    hours, minutes, rest = found.groups()
    return 3600 * int(hours or 0) + 60 * int(minutes or 0) + float(rest.replace(",", "."))


def annotation_rows_from_subtitles(file: Path, text: str, speakers: Speakers) -> Reading:
    """Convert subtitles to events at the start of their cues.

    Args:
        file: File that the text comes from; its suffix is the format.
        text: Contents of the file.
        speakers: Assigns the words of a cue to user and assistant.

    Raises:
        DataError: If the text is not in that format.
    """
    try:
        found = read_subtitle_cues(text, file.suffix.lower())
    except ValueError as error:
        raise DataError(f"{file}: not readable as {file.suffix[1:].upper()} subtitles ({error})") from error
    reading = Reading("cue", found.items)
    for refusal in found.refused:
        place, _, reason = refusal.partition(": ")
        reading.refused[place] = reason
    for cue in found.cues:
        place = f"line {cue.line}: cue {cue.number}"
        try:
            turns = speakers.turns(cue)
            reading.events += [Event(place, parse_annotation_row_time(cue.begin), kind, words) for kind, words in turns]
        except ValueError as error:
            reading.refused[place] = str(error)
    reading.notes += [
        f"{format_count(count, 'line')} that begin with '{label}:' were read as text; if it is a speaker, give --user or --assistant"
        for label, count in speakers.labels.items()
    ]
    return reading


def annotation_rows_from_table(file: Path, table: TextTable, level: str) -> Reading:
    """Convert a table of events, or one level of a three-level table.

    Args:
        file: File of the table, for error messages.
        table: Its rows, the first of which names the columns.
        level: One of `LEVELS`, for three-level tables.

    Raises:
        DataError: If the columns have other names, or the table has no row of that level.
    """
    first = table.rows[0]
    names = [cell.strip().lower() for cell in first.cells]
    while len(names) > 1 and not names[-1]:
        names.pop()
    if names[0].lower() in LEVELS:
        return _levels(table, list(LEVEL_COLUMNS), level, file)
    for columns in (COLUMNS, LEVEL_COLUMNS):
        if set(columns) <= set(names):
            if twice := [name for name, count in Counter(names).items() if name in columns and count > 1]:
                raise DataError(f"{file}: line {first.line}: two columns are named {twice[0]!r}; rename one of them")
            body = replace(table, rows=table.rows[1:])
            if columns == COLUMNS:
                return _happenings(body, names)
            return _levels(body, names, level, file)
    missing = [name for name in COLUMNS if name not in names]
    hints = [did_you_mean(name, missing) for name in names if name not in COLUMNS]
    hint = next(filter(None, hints), "")
    raise DataError(
        f"{file}: line {first.line}: columns {', '.join(names)}; use {', '.join(COLUMNS)}, or {', '.join(LEVEL_COLUMNS)},"
        f" with tabs, commas or semicolons between{hint}"
    )


def _each_row(
    reading: Reading, table: TextTable, names: list[str], wanted: Sequence[str], take: Callable[[str, list[str]], None]
) -> None:
    """Call ``take`` with the place and the wanted cells of each row; a `ValueError` refuses the row."""
    at = [names.index(name) for name in wanted]
    for row in table.rows:
        reading.items += 1
        place = f"line {row.line}"
        try:
            cells = fit_delimited_table_row(row, names, table.separator)
            take(place, [cells[k] for k in at])
        except ValueError as error:
            reading.refused[place] = str(error)
    if further := [name or "(no name)" for name in names if name not in wanted]:
        reading.notes.append(f"columns {', '.join(further)} were ignored")


def _happenings(table: TextTable, names: list[str]) -> Reading:
    reading = Reading("row")
    before = ""

    def take(place: str, cells: list[str]) -> None:
        nonlocal before
        last, before = before, place
        event = _happening(place, *cells)
        if cells[1].lower() != "or":
            reading.events.append(event)
            return
        if last in reading.refused:
            raise ValueError(f"gives another wording of {last}, which was refused")
        reading.events[-1:] = [_with_wording(reading, event)]
        reading.wordings[place] = reading.events[-1].id

    _each_row(reading, table, names, COLUMNS, take)
    return reading


def _with_wording(reading: Reading, wording: Event) -> Event:
    """Add an accepted wording to the last event; raise ValueError if that is no turn of the same time."""
    last = reading.events[-1] if reading.events else None
    if last is None or last.kind != "assistant" or last.time != wording.time:
        raise ValueError("an `or` line needs a `say` or `or` line with the same time directly above it")
    return replace(last, alternatives=(*last.alternatives, wording.text))


def _happening(place: str, time: str, kind: str, what: str) -> Event:
    moment, kind = parse_annotation_row_time(time), kind.lower()
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r} is unknown: use {', '.join(KINDS)}{did_you_mean(kind, KINDS)}")
    if not what:
        raise ValueError("the column `what` is empty")
    if kind in CHANGES:
        return Event(place, moment, "transition", step=what, change=kind)
    return Event(place, moment, "user" if kind == "user" else "assistant", what)


def _levels(table: TextTable, names: list[str], level: str, file: Path) -> Reading:
    """Convert one level of a three-level table: each row is a step that starts and completes once."""
    reading = Reading("row")

    def take(place: str, cells: list[str]) -> None:
        kind, name_id, begin, end, name = cells
        if kind.lower() not in LEVELS:
            raise ValueError(f"type {kind!r} is unknown: use {', '.join(LEVELS).upper()}{did_you_mean(kind, LEVELS)}")
        if kind.lower() != level:
            reading.left_out += 1
            return
        step = Step(name_id if name_id.startswith("S") else f"S{name_id}", name)
        if step.id in [known.id for known in reading.steps]:
            raise ValueError(f"step {step.id} is given twice; give each step a unique id")
        started = Event(place, parse_annotation_row_time(begin), "transition", step=step.id, change="start")
        completed = Event(place, parse_annotation_row_time(end), "transition", step=step.id, change="complete")
        reading.steps.append(step)
        reading.events += [started, completed]

    _each_row(reading, table, names, LEVEL_COLUMNS, take)
    if not reading.steps and not reading.refused:
        raise DataError(f"{file}: has no {level.upper()}; give --level {' or '.join(LEVELS)}")
    return reading
