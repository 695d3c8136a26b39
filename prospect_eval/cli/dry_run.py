"""Dry run of an evaluation or a sweep: number of episodes, output folder and estimated time.

prospect-eval run --ckpt workbench-tiny --suite workbench --dry-run
"""

from __future__ import annotations

import time
from pathlib import Path

from prospect_core.data.jsonl_index import LazyEpisodes
from prospect_core.util.console import format_count, format_duration
from prospect_core.util.errors import DataError
from prospect_eval.analysis.sweep import UNLIMITED, Grid, describe_sweep_knob, sweep_checkpoint_folder
from prospect_eval.models.base import Predictor
from prospect_eval.runs.folder import run_folder_record_path


def dry_run_sweep(root: Path, grid: Grid, predictor: Predictor, episodes: LazyEpisodes) -> list[str]:
    """Describe a sweep without running it.

    The time is estimated from the shortest episode with the first checkpoint.

    Args:
        root: Folder of the sweep.
        grid: Settings of the sweep.
        predictor: The first checkpoint.
        episodes: The episodes of each run.

    Returns:
        Lines for a reader.
    """
    clips = episodes.clips()
    contexts = [UNLIMITED for name in grid.strategies if name == UNLIMITED]
    contexts += [
        f"{name} at {budget:g}{' of the peak' if budget <= 1 else ''}"
        for name in grid.strategies
        for budget in grid.budgets
        if name != UNLIMITED
    ]
    moved = {knob: values for knob, values in (grid.thresholds or {}).items() if values}
    runs = len(grid.ckpts) * len(contexts) * (1 + sum(map(len, moved.values())))
    there = len(list(root.glob("**/DONE.json")))
    frames = [clip.end_frame - clip.start_frame for clip in clips]
    lines = [
        f"{format_count(runs, 'run')} of {format_count(len(clips), 'episode')}: {', '.join(map(sweep_checkpoint_folder, grid.ckpts))}; {', '.join(contexts)}",
        *(f"each also at {_plural(knob)} {', '.join(f'{v:g}' for v in values)}" for knob, values in moved.items()),
        f"output: {root} ({there} of the runs are done)",
    ]
    if runs > there:
        shortest = min(range(len(clips)), key=frames.__getitem__)
        seconds = _seconds_a_frame(predictor, episodes, shortest, frames[shortest]) * sum(frames) * (runs - there)
        lines.append(_estimate(seconds))
    return lines


def _plural(knob: str) -> str:
    return describe_sweep_knob(knob) if knob == "latency" else f"{knob} thresholds"


def _estimate(seconds: float) -> str:
    return f"estimated time: {format_duration(seconds)}, measured on the shortest episode alone; parallel episodes are faster"


def _seconds_a_frame(predictor: Predictor, episodes: LazyEpisodes, place: int, frames: int) -> float:
    begin = time.perf_counter()
    ((_, result),) = predictor.predict(episodes.some([place]))
    if isinstance(result, DataError):
        raise result
    return (time.perf_counter() - begin) / frames


def dry_run_evaluation(folder: Path, predictor: Predictor, episodes: LazyEpisodes, workers: int) -> list[str]:
    """Describe an evaluation without running it.

    The shortest episode is replayed to estimate the time. Nothing is written to the run folder.

    Args:
        folder: The run folder.
        predictor: The model.
        episodes: The episodes of the run.
        workers: Number of workers.

    Returns:
        Lines for a reader.
    """
    clips = episodes.clips()
    frames = [clip.end_frame - clip.start_frame for clip in clips]
    todo = [k for k, clip in enumerate(clips) if not run_folder_record_path(folder, clip.id).is_file()]
    hours = sum(frames[k] / clips[k].fps for k in todo) / 3600
    lines = [
        f"{format_count(len(clips), 'episode')} of {format_count(len({clip.video for clip in clips}), 'video')}: {len(todo)} to replay"
        f" ({hours:.2f} h of video), {len(clips) - len(todo)} done",
        f"model {predictor.name} ({predictor.digest[:12]}), strategy {predictor.knobs.strategy}, speaking threshold"
        f" {predictor.knobs.speaking_threshold:g}, update threshold {predictor.knobs.update_threshold:g}"
        f" (source: {predictor.thresholds_from or 'unknown'})",
        f"output: {folder}",
    ]
    if todo:
        shortest = min(todo, key=frames.__getitem__)
        left = sum(frames[k] for k in todo)
        seconds = _seconds_a_frame(predictor, episodes, shortest, frames[shortest]) * left / workers
        lines.append(_estimate(seconds))
    return lines
