"""What a run would do, without doing it: how much, where to, and about how long.

prospect-eval run --ckpt workbench-tiny --suite workbench --dry-run
"""

from __future__ import annotations

import time
from pathlib import Path

from prospect_core.data.index import Rows
from prospect_core.errors import DataError
from prospect_eval.adapters import Predictor
from prospect_eval.run import record_path


def plan(folder: Path, predictor: Predictor, episodes: Rows, workers: int) -> list[str]:
    """Lines for people. The shortest episode is replayed to tell how long the others will take; nothing is written to the
    run folder."""
    clips = episodes.clips()
    frames = [clip.end_frame - clip.start_frame for clip in clips]
    todo = [k for k, clip in enumerate(clips) if not record_path(folder, clip.id).is_file()]
    hours = sum(frames[k] / clips[k].fps for k in todo) / 3600
    lines = [
        f"{len(clips)} episodes of {len({clip.video for clip in clips})} videos: {len(todo)} to replay, {hours:.2f} h;"
        f" {len(clips) - len(todo)} there already",
        f"model {predictor.name} ({predictor.digest[:12]}), strategy {predictor.knobs.strategy}, thresholds"
        f" {predictor.knobs.speaking_threshold:g} and {predictor.knobs.update_threshold:g} from"
        f" {predictor.thresholds_from or 'nowhere'}",
        f"into {folder}",
    ]
    if todo:
        shortest = min(todo, key=frames.__getitem__)
        begin = time.perf_counter()
        ((_, result),) = predictor.predict(episodes.some([shortest]))
        seconds = (time.perf_counter() - begin) / frames[shortest] * sum(frames[k] for k in todo) / workers
        if isinstance(result, DataError):
            raise result
        lines.append(f"about {_spoken(seconds)} by the shortest episode alone; several at once are faster")
    return lines


def _spoken(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )
