"""Files of CaptainCook4D's annotation repository, read as they are.

    annotation_json/complete_step_annotations.json   steps with times of each recording
    annotation_json/error_annotations.json           the same steps with their errors
    task_graphs/*.json                               one task graph for each activity
    data_splits/FAMILY_data_split_SCOPE.json         recordings of train, val and test
    metadata/video_information.csv                   length of each video

A step that was not done stays in the list with the times -1. ``start_time`` can be a whole number.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from prospect_core.data.procedures.annotation_json import read_annotation_json, require_ordered_annotation_spans
from prospect_core.util.errors import DataError, require_choice

STEPS_FILE = "annotation_json/complete_step_annotations.json"
ERRORS_FILE = "annotation_json/error_annotations.json"
GRAPHS_FOLDER = "task_graphs"
VIDEO_FILE = "metadata/video_information.csv"
#: properties by which the published splits separate recordings
SPLIT_FAMILIES = ("recordings", "person", "environment", "recipes")
#: ``normal`` splits hold recordings without errors only, ``combined`` ones all
SPLIT_SCOPES = ("combined", "normal")
SPLIT_NAMES = ("train", "val", "test")
_DURATION = "duration(sec)"


@dataclass(frozen=True)
class CookingStep:
    """An entry in the list of steps of a recording; times in seconds, -1 if the step was not done."""

    step_id: int
    start_time: float
    end_time: float
    description: str
    has_errors: bool

    @property
    def done(self) -> bool:
        """Whether the step was done."""
        return self.start_time >= 0


@dataclass(frozen=True)
class CookingRecording:
    """A recording with its steps in the order of the file."""

    activity_id: int
    activity_name: str
    steps: tuple[CookingStep, ...]
    person_id: int | None = None
    environment: int | None = None


@dataclass(frozen=True)
class CookingError:
    """An error of a step."""

    tag: str
    description: str = ""


@dataclass(frozen=True)
class CookingErrorStep:
    """An entry in the list of steps of a recording, with its errors."""

    step_id: int
    start_time: float
    end_time: float
    description: str = ""
    errors: tuple[CookingError, ...] = ()
    modified_description: str | None = None


@dataclass(frozen=True)
class CookingErrors:
    """Errors of a recording."""

    recording_id: str
    is_error: bool
    step_annotations: tuple[CookingErrorStep, ...]


@dataclass(frozen=True)
class CookingGraph:
    """A task graph: text by node id, START and END included, and (earlier node, later node)."""

    steps: dict[str, str]
    edges: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class CookingSplit:
    """Recordings of the splits."""

    train: tuple[str, ...] = ()
    val: tuple[str, ...] = ()
    test: tuple[str, ...] = ()

    def items(self) -> list[tuple[Literal["train", "val", "test"], tuple[str, ...]]]:
        """Return (name, recordings) of each split."""
        return [("train", self.train), ("val", self.val), ("test", self.test)]


@dataclass(frozen=True)
class CookingAnnotations:
    """The annotations in a folder.

    Attributes:
        root: The folder.
        recordings: Recordings by id, in the order of the file.
        errors: Errors by id of the recording.
        graphs: Task graphs by name of the file without its suffix.
        seconds: Length of the video by id of the recording, as far as the metadata has it.
        splits: Splits by name of the file without its suffix.
    """

    root: Path
    recordings: dict[str, CookingRecording]
    errors: dict[str, CookingErrors]
    graphs: dict[str, CookingGraph]
    seconds: dict[str, float]
    splits: dict[str, CookingSplit] = field(default_factory=dict)


def find_captaincook4d_annotations(folder: Path) -> Path | None:
    """Return the folder with CaptainCook4D's annotations: the given one or its subfolder ``annotations``.

    Returns:
        None if the folder holds no annotations of CaptainCook4D.
    """
    return next((path for path in (folder, folder / "annotations") if (path / STEPS_FILE).is_file()), None)


def list_captaincook4d_files(root: Path) -> list[Path]:
    """Return the annotation files in a folder of annotations."""
    patterns = (STEPS_FILE, ERRORS_FILE, f"{GRAPHS_FOLDER}/*.json", "data_splits/*.json", VIDEO_FILE)
    return sorted(path for pattern in patterns for path in root.glob(pattern))


def read_captaincook4d_annotations(root: Path) -> CookingAnnotations:
    """Read the annotations in a folder.

    Args:
        root: Folder of ``annotation_json``, ``task_graphs``, ``data_splits`` and ``metadata``.

    Raises:
        DataError: If a file is missing or damaged, or a step ends before it starts.
    """
    recordings = read_annotation_json(root / STEPS_FILE, dict[str, CookingRecording])
    for name, recording in recordings.items():
        spans = ((f"step {s.step_id}", s.start_time, s.end_time) for s in recording.steps if s.done)
        require_ordered_annotation_spans(f"{root / STEPS_FILE}: recording {name}", spans)
    return CookingAnnotations(
        root=root,
        recordings=recordings,
        errors=_read_errors(root / ERRORS_FILE),
        graphs={path.stem: _read_graph(path) for path in sorted((root / GRAPHS_FOLDER).glob("*.json"))},
        seconds=_read_seconds(root / VIDEO_FILE),
        splits={
            path.stem: read_annotation_json(path, CookingSplit) for path in sorted(root.glob("data_splits/*.json"))
        },
    )


def choose_captaincook4d_split(annotations: CookingAnnotations, family: str, scope: str) -> CookingSplit:
    """Return the recordings of train, val and test.

    Args:
        annotations: The annotations.
        family: One of `SPLIT_FAMILIES`.
        scope: One of `SPLIT_SCOPES`.

    Raises:
        UserError: If there is no such family or scope.
        DataError: If the file is missing, names no recording, or names one in two splits.
    """
    require_choice("--split-by", family, SPLIT_FAMILIES)
    require_choice("--recordings", scope, SPLIT_SCOPES)
    name = f"{family}_data_split_{scope}"
    path = annotations.root / "data_splits" / f"{name}.json"
    if name not in annotations.splits:
        raise DataError(f"{path}: no such file; there are {', '.join(sorted(annotations.splits)) or 'no splits'}")
    split = annotations.splits[name]
    others = ", ".join(other for other in SPLIT_FAMILIES if other not in (family, "recipes"))
    owner: dict[str, str] = {}
    for part, names in split.items():
        for recording in names:
            if owner.setdefault(recording, part) != part:
                raise DataError(f"{path}: recording {recording} is in {owner[recording]} and in {part}")
    if not owner:
        raise DataError(f"{path}: its lists of recordings are empty; use --split-by {others}")
    return split


def _read_errors(path: Path) -> dict[str, CookingErrors]:
    read = read_annotation_json(path, list[CookingErrors])
    errors = {one.recording_id: one for one in read}
    if len(errors) < len(read):
        raise DataError(f"{path}: {len(read)} entries for {len(errors)} recordings; each must appear once")
    return errors


def _read_graph(path: Path) -> CookingGraph:
    graph = read_annotation_json(path, CookingGraph)
    wrong = [node for node in graph.steps if not node.isdecimal()]
    if wrong:
        raise DataError(f"{path}: node {wrong[0]!r} must be a number")
    unknown = [node for edge in graph.edges for node in edge if str(node) not in graph.steps]
    if unknown:
        raise DataError(f"{path}: an edge names node {unknown[0]}, which the graph lacks")
    return graph


def _read_seconds(path: Path) -> dict[str, float]:
    """Return the length of each video; empty if there is no such file."""
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.DictReader(lines))
            return {row["recording_id"]: _positive(row[_DURATION]) for row in rows}
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise DataError(f"{path}: needs recording_id and {_DURATION} in seconds in each row ({error})") from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error


def _positive(text: str) -> float:
    seconds = float(text)
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"{text!r} is no length")
    return seconds
