"""Ego4D Goal-Step: one episode for each video, with steps that are interrupted and resumed, and substeps.

    prospect data procedures ego4d-goalstep --output data/goalstep
    prospect data procedures ego4d-goalstep --output data/goalstep-substeps --level substeps

The folder holds ``goalstep_train.json`` or ``goalstep_valid.json``, or has them in its subfolder
``data``; videos are optional. The steps of a task are the categories of the steps in its video, in
alphabetical order: the list reveals which steps occur, not their order. Segments keep their times,
also outside their step or the goal; an episode ends with the last of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from prospect_core.data.dataset import Dataset
from prospect_core.data.procedures.annotation_json import write_annotation_labels
from prospect_core.data.procedures.goalstep_facts import count_goalstep_facts
from prospect_core.data.procedures.goalstep_files import (
    GoalSubstep,
    GoalVideo,
    find_goalstep_files,
    link_continued_segments,
    read_goalstep_videos,
)
from prospect_core.data.procedures.occurrence_events import (
    PROCEDURE_FPS,
    count_procedure_frames,
    make_clamped_transitions,
    sort_step_occurrences,
)
from prospect_core.data.procedures.published_rows import (
    LeftOutRow,
    PublishedRows,
    find_published_video,
    open_published_rows,
)
from prospect_core.timeline import Episode, Step, StepOccurrence, Task
from prospect_core.util.errors import DataError, require_choice

GOALSTEP = "goalstep"
#: the segments that are the steps of the task
GOALSTEP_LEVELS = ("steps", "substeps")
#: folders of videos, as Ego4D's downloader writes them, and shorter ones
_VIDEO_FOLDERS = (
    "v2/full_scale",
    "v2/video_540ss",
    "v1/full_scale",
    "v1/video_540ss",
    "full_scale",
    "video_540ss",
    "videos",
)


def open_goalstep(folder: Path) -> Dataset | None:
    """Open Ego4D Goal-Step at the level of steps; return None for a folder with another layout.

    The dataset is made in the cache folder on first use, and again after an annotation file has
    changed.

    Raises:
        DataError: If an annotation file is damaged.
    """
    files = find_goalstep_files(folder)
    if not files:
        return None
    return open_published_rows(GOALSTEP, folder, list(files.values()), _VIDEO_FOLDERS, lambda: read_goalstep(folder))


def read_goalstep(folder: Path, level: str = "steps", fps: float = PROCEDURE_FPS) -> PublishedRows:
    """Read the episodes of Ego4D Goal-Step.

    Args:
        folder: Folder of the annotations and of the videos.
        level: ``steps``, or ``substeps`` for a dataset whose steps are the substeps.
        fps: Decision frames per second.

    Raises:
        UserError: If the level is unknown.
        DataError: If there is no file, or one is damaged.
    """
    require_choice("--level", level, GOALSTEP_LEVELS)
    files = find_goalstep_files(folder)
    if not files:
        raise DataError(f"{folder}: holds neither goalstep_train.json nor goalstep_valid.json")
    videos = {split: read_goalstep_videos(path) for split, path in files.items()}
    named = [(video, split) for split, found in videos.items() for video in found]
    left_out = [LeftOutRow(video.video_uid, f"has no {level}") for video, _ in named if not _segments_of(video, level)]
    return PublishedRows(
        name=GOALSTEP if level == "steps" else f"{GOALSTEP}_{level}",
        fps=fps,
        splits={
            split: [
                make_goalstep_episode(video, _find_video(folder, video.video_uid), level, fps)
                for video in found
                if _segments_of(video, level)
            ]
            for split, found in videos.items()
        },
        videos_root=folder,
        left_out=tuple(left_out),
        counts=count_goalstep_facts([video for video, _ in named]),
        meta={"level": level},
    )


def make_goalstep_episode(video: GoalVideo, path: str, level: str = "steps", fps: float = PROCEDURE_FPS) -> Episode:
    """Return the episode of a video, from its start to the end of the goal or of the last segment.

    Args:
        video: The annotations.
        path: Relative path of the video file.
        level: ``steps``, or ``substeps`` for a task whose steps are the substeps.
        fps: Decision frames per second.
    """
    segments: Sequence[GoalSubstep] = _segments_of(video, level)
    steps = _name_categories(segments, "S")
    substeps = _name_categories(video.substeps if level == "steps" else (), "B")
    occurrences = _occurrences(segments, steps)
    if level == "steps":
        occurrences += _substep_occurrences(video, substeps)
    every = [video.end_time, *(part.end_time for part in (*video.segments, *video.substeps))]
    frames = count_procedure_frames(max(every), fps)
    return Episode(
        id=video.video_uid,
        video=path,
        fps=fps,
        start_frame=0,
        end_frame=frames,
        task=Task(
            goal=" ".join(video.goal_description.split()),
            steps=_list_steps(steps),
            substeps=_list_steps(substeps),
        ),
        events=make_clamped_transitions((item for item in occurrences if item.step in steps.values()), frames, fps),
        dataset=GOALSTEP if level == "steps" else f"{GOALSTEP}_{level}",
        meta=_meta(video),
        recording=video.video_uid,
        occurrences=sort_step_occurrences(occurrences),
    )


def _segments_of(video: GoalVideo, level: str) -> Sequence[GoalSubstep]:
    return video.segments if level == "steps" else video.substeps


def _find_video(folder: Path, uid: str) -> str:
    return find_published_video(folder, [f"{name}/{uid}.mp4" for name in _VIDEO_FOLDERS])


def _name_categories(segments: Sequence[GoalSubstep], letter: str) -> dict[str, str]:
    """Return an id for each category, numbered in alphabetical order."""
    categories = sorted({segment.step_category for segment in segments})
    return {category: f"{letter}{number}" for number, category in enumerate(categories, 1)}


def _list_steps(names: dict[str, str]) -> tuple[Step, ...]:
    return tuple(Step(name, " ".join(category.split())) for category, name in names.items())


def _occurrences(segments: Sequence[GoalSubstep], names: dict[str, str]) -> list[StepOccurrence]:
    """Return the occurrence of each segment; its number is the place of the segment from 1."""
    links = link_continued_segments(segments)
    return [
        StepOccurrence(
            id=f"O{place + 1}",
            step=names[segment.step_category],
            start=segment.start_time,
            end=segment.end_time,
            continues=f"O{links[place] + 1}" if place in links else "",
            text=segment.step_description,
            labels=write_annotation_labels(
                is_relevant=segment.is_relevant,
                is_procedural=segment.is_procedural,
                is_continued=segment.is_continued,
                summary=" | ".join(text for text in segment.summary if text.strip()),
            ),
        )
        for place, segment in enumerate(segments)
    ]


def _substep_occurrences(video: GoalVideo, names: dict[str, str]) -> list[StepOccurrence]:
    """Return the occurrences of substeps; their ids continue that of their step, such as ``O3.1``."""
    ids = [
        (f"O{step}.{substep}", f"O{step}")
        for step, segment in enumerate(video.segments, 1)
        for substep in range(1, len(segment.segments) + 1)
    ]
    own = {f"O{place}": name for place, (name, _) in enumerate(ids, 1)}
    return [
        replace(item, id=name, continues=own.get(item.continues, ""), part_of=whole)
        for item, (name, whole) in zip(_occurrences(video.substeps, names), ids, strict=True)
    ]


def _meta(video: GoalVideo) -> dict[str, str]:
    meta = {
        "goal_category": video.goal_category,
        "goal_start": repr(video.start_time),
        "goal_end": repr(video.end_time),
        "goal_description": video.goal_description,
        "goal_wikihow_url": video.goal_wikihow_url or "",
        "summary": json.dumps(video.summary, ensure_ascii=False) if video.summary else "",
        "is_procedural": "" if video.is_procedural is None else str(video.is_procedural).lower(),
    }
    return {key: value for key, value in meta.items() if value}
