"""Reads the published OmniMMI annotations of PA, PT and SG in place."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from prospect_core.util.errors import DataError
from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.episode_window import LONGEST_S
from prospect_eval.suites.result_rows import (
    ResultRow,
    describe_keys,
    read_result_rows,
    read_seconds,
    read_time_span,
)

OmniMmiTask = Literal["pa", "pt", "sg"]
#: names of the published files
TASK_FILES: dict[str, OmniMmiTask] = {
    "proactive_alerting.json": "pa",
    "proactive_turntaking.json": "pt",
    "dynamic_state_grounding.json": "sg",
}
#: folders of the published repository, and of copies of it, that hold the files
_FOLDERS = ("", "omnimmi", "data")
#: a clip is named after its video and its start and end in the video
_CLIP = re.compile(r"(?P<video>.+)_(?P<start>\d+(?:\.\d+)?)_(?P<end>\d+(?:\.\d+)?)\.\w+$")
_SPAN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*--\s*(\d+(?:\.\d+)?)\s*$")


@dataclass(frozen=True)
class AlertItem:
    """PA: the assistant is to speak once within ``start`` .. ``end`` seconds of the clip."""

    id: str
    video: str
    question: str
    start: float
    end: float

    @property
    def source_video(self) -> str:
        """The video that the clip was cut from, by its name."""
        found = _CLIP.match(self.video)
        return found["video"] if found else self.video

    @property
    def clip_seconds(self) -> float | None:
        """Length of the clip by its name; None where the name does not say a length of up to a day."""
        found = _CLIP.match(self.video)
        seconds = float(found["end"]) - float(found["start"]) if found else 0.0
        return seconds if 0 < seconds <= LONGEST_S else None


@dataclass(frozen=True)
class TurnTakingItem:
    """PT: after the last turn of the user the assistant is to stay silent.

    Attributes:
        turns: (user, assistant) texts; the assistant's is None where it has not answered.
    """

    id: str
    video: str
    turns: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True)
class GroundingTurn:
    """One question of SG with its answer; the span is None where the file has no readable one."""

    question: str
    answer: str
    span: tuple[float, float] | None


@dataclass(frozen=True)
class GroundingItem:
    """SG: questions about the current state, in turn."""

    id: str
    video: str
    turns: tuple[GroundingTurn, ...]


@dataclass(frozen=True)
class OmniMmiAnnotations:
    """The items of the three tasks in order of their files; a task without a file has none."""

    alerts: tuple[AlertItem, ...] = ()
    turn_taking: tuple[TurnTakingItem, ...] = ()
    grounding: tuple[GroundingItem, ...] = ()
    counts: ReadCounts = field(default_factory=lambda: ReadCounts({}))


def read_omnimmi_annotations(path: Path) -> OmniMmiAnnotations:
    """The tasks of one annotation file, or of those of the three published files that a folder holds.

    Raises:
        DataError: A file of another kind, or a folder with none of the files.
    """
    files = [path] if path.is_file() else _find_files(path)
    rows: dict[OmniMmiTask, list[ResultRow]] = {"pa": [], "pt": [], "sg": []}
    for file in files:
        entries = read_result_rows(file)
        kinds = [find_omnimmi_task(row.value) for row in entries]
        task = TASK_FILES.get(file.name) or next((kind for kind in kinds if kind is not None), None)
        if task is None or task not in kinds:
            found = describe_keys(entries[0].value) if entries else "empty"
            raise DataError(f"{file}: no OmniMMI annotations of PA, PT or SG; the first entry is {found}")
        rows[task] += entries
    return make_omnimmi_annotations(rows["pa"], rows["pt"], rows["sg"])


def _find_files(folder: Path) -> list[Path]:
    places = [folder / name for name in _FOLDERS]
    for place in places:
        files = [place / name for name in TASK_FILES if (place / name).is_file()]
        if files:
            return files
    raise DataError(f"{folder}: holds none of {', '.join(TASK_FILES)}")


def find_omnimmi_task(value: Any) -> OmniMmiTask | None:
    """The task of an annotation or a prediction row by its keys; None for rows of another kind."""
    if not isinstance(value, dict) or "video" not in value:
        return None
    if isinstance(value.get("qa"), list):
        return "sg"
    if isinstance(value.get("conversation"), list):
        return "pt"
    return "pa" if isinstance(value.get("answer"), list | tuple) else None


def make_omnimmi_annotations(
    alerts: Sequence[ResultRow] = (), turn_taking: Sequence[ResultRow] = (), grounding: Sequence[ResultRow] = ()
) -> OmniMmiAnnotations:
    """The items of rows in the published form; rows of another form are left out and counted."""
    names = _Names()
    kept_alerts = [alert for row in alerts if (alert := _read_alert(row.value, names)) is not None]
    kept_turns = [turns for row in turn_taking if (turns := _read_turns(row.value, names)) is not None]
    kept_grounding = [item for row in grounding if (item := _read_grounding(row.value, names)) is not None]
    read = {
        "alert": len(kept_alerts),
        "conversation": len(kept_turns),
        "grounding item": len(kept_grounding),
        "grounding turn": sum(len(item.turns) for item in kept_grounding),
    }
    refused = {
        "alert without a span": len(alerts) - len(kept_alerts),
        "item without a conversation": len(turn_taking) - len(kept_turns),
        "item without questions": len(grounding) - len(kept_grounding),
    }
    counts = ReadCounts(read, {reason: number for reason, number in refused.items() if number})
    return OmniMmiAnnotations(tuple(kept_alerts), tuple(kept_turns), tuple(kept_grounding), counts)


class _Names:
    """Gives every item an id: task and video, with a number where the video has several items."""

    def __init__(self) -> None:
        self._given: Counter[str] = Counter()

    def give(self, task: OmniMmiTask, video: str) -> str:
        name = f"{task}/{video}"
        self._given[name] += 1
        return name if self._given[name] == 1 else f"{name}#{self._given[name]}"


def _read_alert(value: Any, names: _Names) -> AlertItem | None:
    span = read_time_span(value.get("answer")) if isinstance(value, dict) else None
    if span is None:
        return None
    video = str(value.get("video", ""))
    question = str(value.get("question", ""))
    return AlertItem(id=names.give("pa", video), video=video, question=question, start=span[0], end=span[1])


def _read_turns(value: Any, names: _Names) -> TurnTakingItem | None:
    turns = value.get("conversation") if isinstance(value, dict) else None
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns) or not turns:
        return None
    video = str(value.get("video", ""))
    texts = tuple((str(turn.get("human", "")), _text(turn.get("assistant"))) for turn in turns)
    return TurnTakingItem(id=names.give("pt", video), video=video, turns=texts)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _read_grounding(value: Any, names: _Names) -> GroundingItem | None:
    turns = value.get("qa") if isinstance(value, dict) else None
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns) or not turns:
        return None
    video = str(value.get("video", ""))
    read = tuple(
        GroundingTurn(
            question=str(turn.get("question", "")),
            answer=_text(turn.get("answer")) or "",
            span=read_omnimmi_span(turn.get("timestamp")),
        )
        for turn in turns
    )
    return GroundingItem(id=names.give("sg", video), video=video, turns=read)


def read_omnimmi_span(value: Any) -> tuple[float, float] | None:
    """(start, end) in seconds of ``"9.0 -- 13.0"``; None for anything else."""
    found = _SPAN.match(value) if isinstance(value, str) else None
    if found is None:
        return None
    start, end = (read_seconds(float(part)) for part in found.groups())
    return None if start is None or end is None else (start, end)
