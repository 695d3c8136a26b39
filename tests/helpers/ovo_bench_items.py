"""Small invented items of OVO-Bench in the form of its annotation file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prospect_eval.suites.ovo_bench.annotations import OvoBenchAnnotations, read_ovo_bench_annotations


def choice_entry(number: int, **changes: Any) -> dict[str, Any]:
    """Make a multiple-choice entry with the gold letter B."""
    entry = {
        "id": number, "task": "EPM", "video": f"v{number}.mp4", "realtime": 12, "question": "Where is the cup?",
        "answer": "on the table", "options": ["on the floor", "on the table", "in the box"], "gt": 1,
    }  # fmt: skip
    return {**entry, **changes}


def count_entry(number: int, **changes: Any) -> dict[str, Any]:
    """Make a REC entry: two repetitions, with one poll after each."""
    entry = {
        "id": number, "task": "REC", "video": f"v{number}.mp4", "activity": "clapping", "start_times": [1, 5],
        "end_times": [3, 7], "test_info": [{"realtime": 3, "count": 1}, {"realtime": 7.5, "count": 2}],
    }  # fmt: skip
    return {**entry, **changes}


def step_entry(number: int, **changes: Any) -> dict[str, Any]:
    """Make an SSR entry: two steps, with one poll inside and one outside of the second."""
    entry = {
        "id": number, "task": "SSR", "video": f"v{number}.mp4", "tutorial": "MakeTea", "all_steps": ["boil", "pour"],
        "start_time": [2, 10], "end_time": [8, 14],
        "test_info": [{"realtime": 12, "step": "pour", "type": 1}, {"realtime": 15, "step": "pour", "type": 0}],
    }  # fmt: skip
    return {**entry, **changes}


def clue_entry(number: int, **changes: Any) -> dict[str, Any]:
    """Make a CRR entry: one poll before the clue and one after it."""
    entry = {
        "id": number, "task": "CRR", "video": f"v{number}.mp4", "question": "Who enters?", "answer": "a dog",
        "ask_time": 4, "clue_time": 9, "test_info": [{"realtime": 5, "type": 0}, {"realtime": 11, "type": 1}],
    }  # fmt: skip
    return {**entry, **changes}


def write_ovo_bench(path: Path, entries: list[Any]) -> OvoBenchAnnotations:
    """Write the entries as an annotation file and read it."""
    path.write_text(json.dumps(entries), "utf-8")
    return read_ovo_bench_annotations(path)
