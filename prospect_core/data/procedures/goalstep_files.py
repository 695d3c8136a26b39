"""Files of Ego4D Goal-Step, read as they are: ``goalstep_train.json`` and ``goalstep_valid.json``.

Each video has one goal with steps, each step can have substeps. ``is_continued``, ``is_procedural``
and ``is_relevant`` can be missing, and ``is_relevant`` has the values essential, optional, irrelevant
and unsure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prospect_core.data.procedures.annotation_json import read_annotation_json, require_ordered_annotation_spans
from prospect_core.util.errors import DataError

#: file of each split
GOALSTEP_FILES = {"train": "goalstep_train.json", "val": "goalstep_valid.json"}


@dataclass(frozen=True)
class GoalSubstep:
    """A substep; times in seconds. Values that the file lacks are None."""

    start_time: float
    end_time: float
    step_category: str
    step_description: str = ""
    is_continued: bool | None = None
    is_procedural: bool | None = None
    is_relevant: str | None = None
    summary: tuple[str, ...] = ()


@dataclass(frozen=True)
class GoalStepSegment(GoalSubstep):
    """A step with its substeps."""

    segments: tuple[GoalSubstep, ...] = ()


@dataclass(frozen=True)
class GoalVideo:
    """A video with its goal; ``start_time`` and ``end_time`` are those of the goal, in seconds."""

    video_uid: str
    start_time: float
    end_time: float
    goal_category: str = ""
    goal_description: str = ""
    goal_wikihow_url: str | None = None
    summary: tuple[str, ...] = ()
    is_procedural: bool | None = None
    segments: tuple[GoalStepSegment, ...] = ()

    @property
    def substeps(self) -> list[GoalSubstep]:
        """Substeps of all steps, in the order of the file."""
        return [substep for step in self.segments for substep in step.segments]


@dataclass(frozen=True)
class _GoalFile:
    videos: tuple[GoalVideo, ...]


def find_goalstep_files(folder: Path) -> dict[str, Path]:
    """Return the file of each split that a folder or its subfolder ``data`` has, by split."""
    found = {}
    for split, name in GOALSTEP_FILES.items():
        places = (folder / name, folder / "data" / name)
        path = next((place for place in places if place.is_file()), None)
        if path is not None:
            found[split] = path
    return found


def read_goalstep_videos(path: Path) -> list[GoalVideo]:
    """Read the videos of a file.

    Raises:
        DataError: If the file is damaged, names a video twice, or a segment ends before it starts.
    """
    videos = list(read_annotation_json(path, _GoalFile).videos)
    seen: set[str] = set()
    for video in videos:
        where = f"{path}: video {video.video_uid}"
        if video.video_uid in seen:
            raise DataError(f"{where} appears twice")
        seen.add(video.video_uid)
        spans = [("the goal", video.start_time, video.end_time)]
        spans += [("a step", step.start_time, step.end_time) for step in video.segments]
        spans += [("a substep", substep.start_time, substep.end_time) for substep in video.substeps]
        require_ordered_annotation_spans(where, spans)
    return videos


def link_continued_segments(segments: Sequence[GoalSubstep]) -> dict[int, int]:
    """Return the place of the segment that each continued segment resumes, by its own place.

    The annotations hold no links. A segment with ``is_continued`` is joined to the latest earlier one
    of its category in the video, by start and then by order of the list. One without such an earlier
    segment is not joined.

    Args:
        segments: Steps, or substeps, of one video.
    """
    latest: dict[str, int] = {}
    links: dict[int, int] = {}
    for place in sort_goalstep_places(segments):
        segment = segments[place]
        if segment.is_continued and segment.step_category in latest:
            links[place] = latest[segment.step_category]
        latest[segment.step_category] = place
    return links


def sort_goalstep_places(segments: Sequence[GoalSubstep]) -> list[int]:
    """Return the places of segments by start, then by order of the list."""
    return sorted(range(len(segments)), key=lambda place: (segments[place].start_time, place))
