"""CaptainCook4D: one episode for each recording, with steps, mistakes and the task graph of its recipe.

    prospect data procedures CaptainCook4D --output data/captaincook4d --split-by person

The folder holds the annotation repository itself, or has it as its subfolder ``annotations``; videos
are optional. `prospect_core.data.procedures.captaincook4d_files` describes the files.

The list of steps is that of the activity, the same for all of its recordings. The step of an entry
is its ``step_id``; in a few recordings the text of an entry is that of another step.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from prospect_core.data.dataset import Dataset
from prospect_core.data.procedures.annotation_json import write_annotation_labels
from prospect_core.data.procedures.captaincook4d_facts import count_captaincook4d_facts
from prospect_core.data.procedures.captaincook4d_files import (
    CookingAnnotations,
    CookingErrorStep,
    CookingRecording,
    choose_captaincook4d_split,
    find_captaincook4d_annotations,
    list_captaincook4d_files,
    read_captaincook4d_annotations,
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
from prospect_core.data.procedures.recipe_graphs import (
    list_recipe_activities,
    make_recipe_task,
    match_recipe_graphs,
    recipe_step_id,
)
from prospect_core.timeline import Episode, Mistake, StepOccurrence, Task

CAPTAINCOOK4D = "captaincook4d"
#: key of ``Episode.meta``: the entries of steps that were not done, as JSON
NOT_DONE = "not_done"
#: folders and suffixes of videos, as the set's downloader writes them, and shorter ones
_VIDEOS = (
    ("captain_cook_4d/gopro/resolution_360p", "_360p"),
    ("captain_cook_4d/gopro/resolution_4k", "_4K"),
    ("gopro/resolution_360p", "_360p"),
    ("gopro/resolution_4k", "_4K"),
    ("resolution_360p", "_360p"),
    ("videos", "_360p"),
    ("videos", ""),
)


def open_captaincook4d(folder: Path) -> Dataset | None:
    """Open CaptainCook4D with its splits over recordings; return None for a folder with another layout.

    The dataset is made in the cache folder on first use, and again after an annotation file has
    changed.

    Raises:
        DataError: If an annotation file is missing or damaged.
    """
    root = find_captaincook4d_annotations(folder)
    if root is None:
        return None
    return open_published_rows(
        CAPTAINCOOK4D,
        folder,
        list_captaincook4d_files(root),
        [name for name, _ in _VIDEOS],
        lambda: read_captaincook4d(folder, root),
    )


def read_captaincook4d(
    folder: Path,
    root: Path,
    split_by: str = "recordings",
    scope: str = "combined",
    fps: float = PROCEDURE_FPS,
) -> PublishedRows:
    """Read the episodes of CaptainCook4D.

    Args:
        folder: Folder of the videos.
        root: Folder of the annotations.
        split_by: Property that separates the splits: recordings, person, environment or recipes.
        scope: ``normal`` for recordings without errors, ``combined`` for all.
        fps: Decision frames per second.

    Raises:
        UserError: If ``split_by`` or ``scope`` is unknown.
        DataError: If a file is missing or damaged, or the splits are empty.
    """
    annotations = read_captaincook4d_annotations(root)
    split = choose_captaincook4d_split(annotations, split_by, scope)
    episodes = make_captaincook4d_episodes(annotations, folder, fps)
    left_out = [
        LeftOutRow(name, f"is in the {part} split but has no steps in the annotations")
        for part, names in split.items()
        for name in names
        if name not in episodes
    ]
    chosen = {name for _, names in split.items() for name in names}
    where = f"{split_by} ({scope})"
    left_out += [LeftOutRow(name, f"is in no split over {where}") for name in episodes if name not in chosen]
    left_out += [
        LeftOutRow(name, "has errors but no steps in the annotations")
        for name in annotations.errors
        if name not in episodes
    ]
    return PublishedRows(
        name=CAPTAINCOOK4D,
        fps=fps,
        splits={part: [episodes[name] for name in names if name in episodes] for part, names in split.items()},
        videos_root=folder,
        left_out=tuple(left_out),
        counts=count_captaincook4d_facts(annotations),
        meta={"split_by": split_by, "recordings": scope},
    )


def make_captaincook4d_episodes(
    annotations: CookingAnnotations, folder: Path, fps: float = PROCEDURE_FPS
) -> dict[str, Episode]:
    """Return the episode of each recording by its id, in the order of the annotations.

    Args:
        annotations: The annotations.
        folder: Folder of the videos.
        fps: Decision frames per second.

    Raises:
        DataError: If the edges of a task graph form a cycle.
    """
    activities = list_recipe_activities(annotations.recordings.values())
    graphs = {
        activity: annotations.graphs[name]
        for name, activity in match_recipe_graphs(annotations.graphs, activities.values()).items()
    }
    tasks = {name: make_recipe_task(activity, graphs.get(name)) for name, activity in activities.items()}
    return {
        name: _episode(name, annotations, tasks, find_captaincook4d_video(folder, name), fps)
        for name in annotations.recordings
    }


def find_captaincook4d_video(folder: Path, recording: str) -> str:
    """Return the relative path of a recording's video; that of the set's downloader if there is none."""
    return find_published_video(folder, [f"{name}/{recording}{suffix}.mp4" for name, suffix in _VIDEOS])


def _episode(name: str, annotations: CookingAnnotations, tasks: Mapping[int, Task], video: str, fps: float) -> Episode:
    recording = annotations.recordings[name]
    errors = annotations.errors.get(name)
    details = errors.step_annotations if errors is not None else ()
    occurrences = _occurrences(recording, details)
    last = max((item.end for item in occurrences), default=0.0)
    frames = count_procedure_frames(annotations.seconds.get(name, last), fps)
    return Episode(
        id=name,
        video=video,
        fps=fps,
        start_frame=0,
        end_frame=frames,
        task=tasks[recording.activity_id],
        events=make_clamped_transitions(occurrences, frames, fps),
        dataset=CAPTAINCOOK4D,
        meta=_meta(recording, details, None if errors is None else errors.is_error),
        recording=name,
        participant="" if recording.person_id is None else str(recording.person_id),
        occurrences=occurrences,
        mistakes=_mistakes(details),
    )


def _occurrences(recording: CookingRecording, details: tuple[CookingErrorStep, ...]) -> tuple[StepOccurrence, ...]:
    """Return an occurrence for each step that was done; its number is that of the entry."""
    modified = _modified_descriptions(recording, details)
    return sort_step_occurrences(
        StepOccurrence(
            id=f"O{number}",
            step=recipe_step_id(step.step_id),
            start=step.start_time,
            end=step.end_time,
            text=step.description,
            labels=write_annotation_labels(
                has_errors=step.has_errors or None, modified_description=modified.get(number)
            ),
        )
        for number, step in enumerate(recording.steps, 1)
        if step.done
    )


def _mistakes(details: tuple[CookingErrorStep, ...]) -> tuple[Mistake, ...]:
    """Return the errors of a recording, ordered by the start of their steps, those without a time last."""
    steps = sorted(details, key=lambda step: step.start_time if step.start_time >= 0 else float("inf"))
    found = [(step, error) for step in steps for error in step.errors]
    return tuple(
        Mistake(
            id=f"M{number}",
            tag=error.tag,
            step=recipe_step_id(step.step_id),
            span=(step.start_time, step.end_time) if step.start_time >= 0 else None,
            description=error.description,
        )
        for number, (step, error) in enumerate(found, 1)
    )


def _modified_descriptions(recording: CookingRecording, details: tuple[CookingErrorStep, ...]) -> dict[int, str]:
    """Return the modified description by number of the entry; both lists have the same order."""
    if [step.step_id for step in details] != [step.step_id for step in recording.steps]:
        return {}
    return {
        number: step.modified_description
        for number, step in enumerate(details, 1)
        if step.modified_description is not None
    }


def _meta(recording: CookingRecording, details: tuple[CookingErrorStep, ...], is_error: bool | None) -> dict[str, str]:
    modified = _modified_descriptions(recording, details)
    not_done = [
        {
            "entry": number,
            "step": recipe_step_id(step.step_id),
            "text": step.description,
            "has_errors": step.has_errors,
            "modified_description": modified.get(number),
        }
        for number, step in enumerate(recording.steps, 1)
        if not step.done
    ]
    meta = {"activity_id": str(recording.activity_id)}
    if recording.environment is not None:
        meta["environment"] = str(recording.environment)
    if is_error is not None:
        meta["is_error"] = str(is_error).lower()
    if not_done:
        meta[NOT_DONE] = json.dumps(not_done, ensure_ascii=False)
    return meta
