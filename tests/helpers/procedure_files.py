"""Small published folders of step annotations, and the state of steps read off their occurrences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prospect_core.timeline import Episode, StepState
from tests.helpers.paths import SHARED_DATA


def find_procedure_folder(name: str) -> Path:
    """Return the published annotations next to the checkout; skip the test if they are absent."""
    folder = SHARED_DATA / "field" / name
    if not (folder / "expected.json").is_file():
        pytest.skip(f"{folder.relative_to(SHARED_DATA)} is not next to this checkout")
    return folder


def list_differences(found: Any, expected: Any, place: str = "") -> list[str]:
    """Return the places at which two JSON values differ; numbers differ by more than 1e-6."""
    if isinstance(expected, dict) and isinstance(found, dict):
        wrong = [f"{place}: keys {sorted(found)} instead of {sorted(expected)}"] if set(found) != set(expected) else []
        for key in set(found) & set(expected):
            wrong += list_differences(found[key], expected[key], f"{place}.{key}")
        return wrong
    if isinstance(expected, list) and isinstance(found, list) and len(found) == len(expected):
        pairs = enumerate(zip(found, expected, strict=True))
        return [line for number, (a, b) in pairs for line in list_differences(a, b, f"{place}[{number}]")]
    if isinstance(expected, float) and isinstance(found, int | float):
        return [] if abs(found - expected) <= 1e-6 else [f"{place}: {found} instead of {expected}"]
    return [] if found == expected else [f"{place}: {found} instead of {expected}"]


def count_values(value: Any) -> int:
    """Return the number of values in a JSON value."""
    if isinstance(value, dict):
        return sum(count_values(item) for item in value.values())
    return sum(count_values(item) for item in value) if isinstance(value, list) and value else 1


def read_states_off_occurrences(episode: Episode) -> list[dict[str, str]]:
    """Return the state of each step after each frame, from the occurrences alone.

    The last frame shows everything that happens later, since transitions after it are decided there.
    Times are compared as floats, which is exact for a rate that is a power of two.
    """
    spans: dict[str, list[tuple[float, float]]] = {step: [] for step in episode.task.step_ids}
    for item in episode.occurrences:
        if item.step in spans:
            spans[item.step].append((item.start, item.end))
    times = [frame / episode.fps for frame in range(episode.end_frame - 1)]
    return [{step: _state_in(spans[step], time) for step in spans} for time in [*times, None]]


def list_replayed_states(episode: Episode) -> list[dict[str, StepState]]:
    """Return the state of each step after each frame, by replay of the transitions."""
    changes = {frame: {step: state[step] for step in state.step_ids} for frame, state in episode.states_by_change()}
    state = changes[-1]
    states = []
    for frame in range(episode.end_frame):
        state = changes.get(frame, state)
        states.append(state)
    return states


def _state_in(spans: list[tuple[float, float]], time: float | None) -> str:
    """Return the state of a step at a time; None is the end of the episode."""
    state = "not_started"
    for start, end in spans:
        if time is None or end <= time:
            state = "completed"
        elif start <= time:
            return "in_progress"
    return state


def write_json_file(path: Path, value: Any) -> Path:
    """Write a JSON file and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def make_cooking_entry(step: int, start: float, end: float, text: str, **more: Any) -> dict[str, Any]:
    """Return an entry of a recording; ``errors`` and ``modified_description`` go to the error annotations."""
    return {"step_id": step, "start_time": start, "end_time": end, "description": text, **more}


def write_cooking_folder(root: Path, recordings: dict[str, list[dict[str, Any]]], **files: Any) -> Path:
    """Write CaptainCook4D annotations of one activity, Tea (id 1), of person 4 in environment 2.

    Args:
        root: Folder to write.
        recordings: Entries (`make_cooking_entry`) by id of the recording.
        files: ``graph`` (steps and edges), ``seconds`` (by recording) and ``split``; without ``split``
            every recording is in the train split.
    """
    steps, errors = {}, []
    for name, entries in recordings.items():
        keys = ("step_id", "start_time", "end_time", "description")
        plain = [{key: entry[key] for key in keys} for entry in entries]
        about = {"activity_id": 1, "activity_name": "Tea", "person_id": 4, "environment": 2}
        flags = [entry.get("has_errors", bool(entry.get("errors"))) for entry in entries]
        steps[name] = {
            **about,
            "recording_id": name,
            "steps": [{**entry, "has_errors": flag} for entry, flag in zip(plain, flags, strict=True)],
        }
        details = [{key: value for key, value in entry.items() if key != "has_errors"} for entry in entries]
        errors.append({"recording_id": name, "activity_id": 1, "is_error": any(flags), "step_annotations": details})
    write_json_file(root / "annotation_json" / "complete_step_annotations.json", steps)
    write_json_file(root / "annotation_json" / "error_annotations.json", errors)
    if "graph" in files:
        write_json_file(root / "task_graphs" / "tea.json", files["graph"])
    split = files.get("split", {"train": list(recordings), "val": [], "test": []})
    write_json_file(root / "data_splits" / "recordings_data_split_combined.json", split)
    if "seconds" in files:
        lines = ["recording_id,environment_id,person_id,duration(min),duration(sec)"]
        lines += [f"{name},2,4,{seconds / 60:.2f},{seconds}" for name, seconds in files["seconds"].items()]
        (root / "metadata").mkdir()
        (root / "metadata" / "video_information.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def make_goal_segment(start: float, end: float, category: str, **more: Any) -> dict[str, Any]:
    """Return a step or substep of Ego4D Goal-Step; ``segments`` are the substeps of a step."""
    segment = {"start_time": start, "end_time": end, "step_category": category, "step_description": category.lower()}
    flags = {"is_continued": False, "is_procedural": True, "is_relevant": "essential", "summary": []}
    return {**segment, **flags, **more}


def write_goalstep_file(root: Path, videos: dict[str, list[dict[str, Any]]], name: str = "goalstep_valid.json") -> Path:
    """Write a file of Ego4D Goal-Step whose goals run from 1 s to 100 s; return the folder."""
    rows = [
        {
            "video_uid": uid,
            "start_time": 1,
            "end_time": 100.0,
            "goal_category": "COOKING:MAKE_TEA",
            "goal_description": "Make  tea\nwith milk",
            "goal_wikihow_url": "",
            "summary": ["boils water"],
            "is_procedural": True,
            "segments": segments,
        }
        for uid, segments in videos.items()
    ]
    write_json_file(root / name, {"version": "1.0", "split": "val", "videos": rows})
    return root
