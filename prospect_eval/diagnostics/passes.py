"""Diagnostic passes of a run: a teacher-forced pass and a plain pass that is timed.

    prospect-eval run --ckpt workbench-tiny --suite workbench --limit 3 --teacher-forced --latency 2

The passes do not change the records. They write ``teacher_forced.json`` and the plain pass in
``timings.json``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prospect_core.records import TeacherForcedTurn
from prospect_core.timeline import Episode
from prospect_core.util.atomic import write_atomic
from prospect_core.util.errors import UserError
from prospect_core.util.json_io import dump_json, load_json, read_json
from prospect_eval.diagnostics.latency import store_latency_diagnostics
from prospect_eval.diagnostics.teacher_forced import score_teacher_forced
from prospect_eval.models.base import Predictor

Progress = Callable[[int, int], None]


def require_checkpoint_for_passes(predictor: Predictor, option: str) -> None:
    """Check that a predictor is a checkpoint, which the passes need.

    Args:
        predictor: The predictor.
        option: The command line option for the message.

    Raises:
        UserError: The predictor is not a checkpoint.
    """
    if predictor.forced is None or predictor.latency is None:
        raise UserError(f"{option}: {predictor.name} is not a checkpoint; remove the option")


def run_teacher_forced_pass(
    folder: Path, predictor: Predictor, episodes: Sequence[Episode], progress: Progress
) -> dict[str, Any]:
    """Run every episode under teacher forcing and write ``teacher_forced.json``.

    An interrupted pass resumes after the last finished episode.

    Args:
        folder: The run folder.
        predictor: A checkpoint.
        episodes: The episodes of the run.
        progress: Called with (episodes done, episodes).

    Returns:
        The contents of the file.
    """
    assert predictor.forced is not None
    file = folder / "teacher_forced.json"
    turns: dict[str, list[TeacherForcedTurn]] = {}
    if file.is_file():
        for episode_id, rows in read_json(file)["episodes"].items():
            turns[episode_id] = [load_json(TeacherForcedTurn, dump_json(row), str(file)) for row in rows]
    threshold = predictor.knobs.speaking_threshold
    for done, episode in enumerate(episodes, 1):
        if episode.id not in turns:
            turns[episode.id] = predictor.forced(episode)
            plain = {key: [asdict(turn) for turn in of] for key, of in turns.items()}
            write_atomic(file, dump_json({"schema": 1, "speaking_threshold": threshold, "episodes": plain}))
        progress(done, len(episodes))
    result = score_teacher_forced(episodes, turns, threshold)
    write_atomic(file, dump_json(result, indent=1) + "\n")
    return result


def run_latency_pass(
    folder: Path, predictor: Predictor, episodes: Sequence[Episode], number: int, progress: Progress
) -> dict[str, dict[str, Any]]:
    """Run and time a plain pass over some episodes.

    The episodes are spread evenly over the run. They are of different videos if there are enough
    videos.

    Args:
        folder: The run folder.
        predictor: A checkpoint.
        episodes: The episodes of the run.
        number: Number of episodes to run.
        progress: Called with (episodes done, episodes).

    Returns:
        The entry of each metric by name.
    """
    assert predictor.latency is not None
    one_each = list({episode.video: episode for episode in episodes}.values())
    pool = one_each if len(one_each) >= number else list(episodes)
    chosen = [pool[k * len(pool) // number] for k in range(number)] if len(pool) > number else pool
    measured = []
    for done, episode in enumerate(chosen, 1):
        measured.append((episode.video, predictor.latency(episode)))
        progress(done, len(chosen))
    return store_latency_diagnostics(folder, measured)
