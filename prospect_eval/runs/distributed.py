"""Distributed replay by worker processes on this machine or by actors of a Ray cluster.

    prospect-eval run --ckpt workbench-tiny --suite workbench --workers 2
    prospect-eval run --ckpt runs/mine --data proassist --backend ray --workers 16 --gpus-per-worker 1 --device cuda

Each worker opens the data and the model once. It writes records into the run folder if it can
access that folder, and sends them back otherwise. A stream depends only on its episode, so the
predictions equal those of one process to the last digit.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prospect_core.data.jsonl_index import LazyEpisodes
from prospect_core.parallel.protocol import BatchHandler, WorkerOptions
from prospect_core.parallel.scheduler import WorkerTally, schedule_batches, schedule_jobs
from prospect_core.util.atomic import write_atomic
from prospect_core.util.errors import DataError
from prospect_eval.models.base import PredictorOptions
from prospect_eval.runs.executor import Replay, keep_executor_result, select_run_episodes
from prospect_eval.runs.folder import RunConfig, run_folder_record_path

#: file in the run folder by which a worker detects that it shares the folder
SHARED = ".shared"


@dataclass(frozen=True)
class EpisodeWorker:
    """Makes a worker that replays episodes of a run.

    Attributes:
        config: Configuration of the run.
        root: Folder of the data.
        asked: Settings of the replay.
        on_error: ``fail`` or ``skip``.
        folder: The run folder.
        token: Content of the file `SHARED`, by which a worker detects that it shares the run
            folder.
        cwd: Working directory of the run, for relative paths in its configuration.
    """

    config: RunConfig
    root: Path
    asked: PredictorOptions
    on_error: str
    folder: Path
    token: str
    cwd: str

    def __call__(self) -> BatchHandler:
        """Open data and model.

        Returns:
            A function that replays a batch of episodes by their index in the run's selection.

        Raises:
            DataError: Data or model differ from the run's.
        """
        from prospect_core.data.dataset import Dataset
        from prospect_core.util.console import quiet_transformers
        from prospect_eval.models.registry import open_registered_predictor

        quiet_transformers()
        with suppress(OSError):
            os.chdir(self.cwd)
        config = self.config
        data = Dataset.open(self.root)
        self._same("data", self.root, data.digest, config.data_digest)
        episodes = select_run_episodes(data, config.split, config.limit)
        predictor = open_registered_predictor(config.model, data, episodes, replace(self.asked, distributed=False))
        self._same("checkpoint", config.model, predictor.digest, config.model_digest)
        shared = _told(self.folder) == self.token
        if shared and predictor.use_folder is not None:
            predictor.use_folder(self.folder)

        def serve(places: Sequence[int]) -> Iterator[tuple[int, Any]]:
            numbers = {clip.id: number for number, clip in enumerate(episodes.some(places).clips())}
            for episode, result in predictor.predict(episodes.some(places)):
                done = keep_executor_result(config, predictor.name, episode, result, self.on_error)
                if shared and done.body is not None:
                    write_atomic(run_folder_record_path(self.folder, done.id), done.body)
                    done = replace(done, body=None)
                yield numbers[episode.id], done

        return serve

    def _same(self, what: str, name: object, here: str, there: str) -> None:
        if here != there:
            raise DataError(
                f"{name}: the {what} on {socket.gethostname()} differs ({here[:12]} there, {there[:12]} here);"
                " copy the same files to every machine"
            )


def replay_distributed(
    config: RunConfig,
    root: Path,
    asked: PredictorOptions,
    on_error: str,
    folder: Path,
    episodes: LazyEpisodes,
    pool_options: WorkerOptions,
    report: Callable[[dict[int, WorkerTally]], None] = lambda shares: None,
) -> Replay:
    """Return a replay by several workers.

    Args:
        config: Configuration of the run.
        root: Folder of the data.
        asked: Settings of the replay.
        on_error: ``fail`` to raise the error of an episode, ``skip`` to store the episode as
            failed.
        folder: The run folder.
        episodes: The run's selection of episodes.
        pool_options: Number and kind of the workers.
        report: Called after each episode with the tally of every worker.
    """

    def replay(places: Sequence[int]) -> Iterator[Any]:
        token = secrets.token_hex(8)
        mark = folder / SHARED
        write_atomic(mark, token)
        clips = episodes.some(places).clips()
        frames = [clip.end_frame - clip.start_frame for clip in clips]
        batches = schedule_batches(frames, [clip.video for clip in clips], asked.streams, pool_options.workers)
        worker = EpisodeWorker(config, root.resolve(), asked, on_error, folder.resolve(), token, os.getcwd())
        shares: dict[int, WorkerTally] = {}
        try:
            for place, done in schedule_jobs(
                worker, [[places[k] for k in batch] for batch in batches], pool_options, shares
            ):
                if isinstance(done, DataError):
                    done = keep_executor_result(config, config.model, episodes[place], done, on_error)
                report(shares)
                yield done
        finally:
            mark.unlink(missing_ok=True)

    return replay


def _told(folder: Path) -> str | None:
    try:
        return (folder / SHARED).read_text("ascii")
    except OSError:
        return None
