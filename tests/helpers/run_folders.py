"""Make run folders from records, without a replay."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from prospect_core.records import EpisodeRecord, Knobs
from prospect_core.timeline import Episode, Event, Step, Task
from prospect_core.util.json_io import dump_json
from prospect_eval.runs.folder import RunConfig, open_run_folder, run_folder_record_path


def numbered_episode(number: int) -> Episode:
    """Make an episode of 10.5 s with turns at 2, 6 and 10 s and a step from 4 s to 8 s."""
    task = Task("t", (Step("S1", "boil"),))
    events = (
        Event("a1", 2.0, "assistant", f"Boil the water, {number}."),
        Event("d1", 4.0, "transition", step="S1", change="start"),
        Event("a2", 6.0, "assistant", "Good | so <b>far</b>."),
        Event("d2", 8.0, "transition", step="S1", change="complete"),
        Event("a3", 10.0, "assistant", "That is all."),
    )
    return Episode(f"e{number:02d}", f"v{number:02d}", 2, 0, 21, task, events, dataset="x").validate()


def store_run(folder: Path, records: Iterable[EpisodeRecord]) -> Path:
    """Make a run folder with the records and without scores."""
    open_run_folder(folder, RunConfig("m", "", "data", "d", "test", None, Knobs(), ""))
    for record in records:
        run_folder_record_path(folder, record.episode.id).write_text(dump_json(record))
    return folder
