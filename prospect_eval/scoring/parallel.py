"""Score a run folder in several processes, each of which reads and counts a share of the records.

Reading the probabilities of hours of video is slow. The processes start before this process imports
heavy modules, so that all of them import at the same time.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prospect_core.parallel.process_backend import ProcessBackend
from prospect_core.parallel.protocol import BatchDone, BatchHandler, JobDone, WorkerDied, WorkerOptions
from prospect_core.util.errors import DataError
from prospect_eval.matching.settings import STANDARD, ScoreSettings
from prospect_eval.runs.folder import (
    RunConfig,
    list_run_folder_record_files,
    read_run_folder_config,
    read_run_folder_records,
)

if TYPE_CHECKING:
    from prospect_eval.metrics import ScoringResources
    from prospect_eval.scoring.baseline_scores import AdditionalBaselines
    from prospect_eval.scoring.shards import RecordShard

#: job that names the record files of a worker
READ = "read"
#: with fewer bytes of records, one process is faster than several
WORTH_SHARING = 64 << 20


def score_folder_in_parallel(
    folder: Path,
    similarity: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    settings: ScoreSettings = STANDARD,
) -> dict[str, Any]:
    """Score a run folder, in several processes if its records are large.

    CIDEr and the accuracy of answers use the references of the whole split if these are stored or
    the data can be opened.

    Args:
        folder: The run folder.
        similarity: A sentence-transformers model; None for the packaged one.
        progress: Called with (parts done, parts).
        settings: Parameters of scoring.

    Returns:
        The result of `score.score_records`.

    Raises:
        DataError: The folder has no records, all records failed, or a process died.
    """
    files = list_run_folder_record_files(folder)
    config = read_run_folder_config(folder)
    from prospect_eval.suites.training_data import open_suite_training_data

    training = open_suite_training_data(config.data, config.split)
    additional = _open_additional_baselines(config)
    if sum(file.stat().st_size for file in files) < WORTH_SHARING:
        from prospect_eval.scoring.score import score_records

        return score_records(
            read_run_folder_records(folder)[1], _resources(folder, similarity, settings), progress, training, additional
        )
    with open_parallel_scoring_workers(files, similarity, settings) as shards:
        from prospect_eval.scoring.score import score_record_shares
        from prospect_eval.scoring.shards import limit_scoring_shard_threads

        with limit_scoring_shard_threads():
            resources = _resources(folder, similarity, settings)
            return score_record_shares(
                shards, resources, lambda: read_run_folder_records(folder)[1], progress, training, additional
            )


def _open_additional_baselines(config: RunConfig) -> AdditionalBaselines:
    """Return the baselines that the run's suite adds, with all training episodes of the run's data."""
    from prospect_eval.scoring.baseline_scores import NO_ADDITIONAL, AdditionalBaselines
    from prospect_eval.suites.suite import suite_additional_baselines
    from prospect_eval.suites.training_data import PROCEDURE_EPISODES, open_suite_training_data

    names = suite_additional_baselines(config.suite)
    if not names:
        return NO_ADDITIONAL
    return AdditionalBaselines(names, open_suite_training_data(config.data, config.split, PROCEDURE_EPISODES))


def _resources(folder: Path, similarity: str | None, settings: ScoreSettings) -> ScoringResources:
    from prospect_eval.metrics.resources import make_scoring_resources
    from prospect_eval.scoring.corpora import find_scoring_split_corpus

    return replace(
        make_scoring_resources(similarity, settings),
        corpus=find_scoring_split_corpus(folder, read_run_folder_config(folder)),
    )


class ShardWorkers:
    """A shard in this process and one in each worker process."""

    def __init__(self, own: RecordShard, backend: ProcessBackend, workers: Sequence[int]) -> None:
        self._own, self._backend, self._workers = own, backend, workers

    def ask(self, what: str, *arguments: Any) -> list[Any]:
        """Call a method of every shard.

        Args:
            what: Name of the method.
            arguments: Its arguments.

        Returns:
            The result of each shard; the first is that of this process.
        """
        for worker in self._workers:
            self._backend.submit(worker, [(what, arguments)])
        own = getattr(self._own, what)(*arguments)
        return [own, *self.answers()]

    def deal(self, what: str, items: list[Any]) -> list[Any]:
        """Distribute items over the shards.

        Args:
            what: Name of a method that returns one result for each item.
            items: The items.

        Returns:
            The result of each item, in order.
        """
        number = len(self._workers) + 1
        for k, worker in enumerate(self._workers, 1):
            self._backend.submit(worker, [(what, (items[k::number],))])
        out: list[Any] = [None] * len(items)
        out[0::number] = getattr(self._own, what)(items[0::number])
        for k, answer in enumerate(self.answers(), 1):
            out[k::number] = answer
        return out

    def answers(self) -> list[Any]:
        """Return the result of each worker, in their order.

        Raises:
            DataError: A worker died.
        """
        found: dict[int, Any] = {}
        busy = set(self._workers)
        while busy:
            worker, event = self._backend.next()
            if isinstance(event, JobDone):
                found[worker] = event.value
            elif isinstance(event, BatchDone):
                busy.remove(worker)
            elif isinstance(event, WorkerDied):
                raise DataError(
                    f"a scoring process died ({event.why}), possibly from lack of memory; run the command again"
                )
        return [found[worker] for worker in self._workers]


@dataclass(frozen=True)
class ShardFactory:
    """Makes a worker that holds one shard.

    Its first job names the record files, each later job calls a method of the shard.

    Attributes:
        similarity: A sentence-transformers model; None for the packaged one.
        settings: Parameters of scoring.
    """

    similarity: str | None
    settings: ScoreSettings

    def __call__(self) -> BatchHandler:
        """Prepare the process without garbage collection, which takes long and frees nothing."""
        from prospect_eval.scoring.shards import limit_scoring_shard_threads

        gc.disable()
        limit_scoring_shard_threads()
        shard: RecordShard | None = None

        def serve(batch: Sequence[Any]) -> Iterator[tuple[int, Any]]:
            nonlocal shard
            for number, (what, arguments) in enumerate(batch):
                if what == READ:
                    shard = _read_shard(arguments[0], self.similarity, self.settings)
                    yield number, None
                else:
                    yield number, getattr(shard, what)(*arguments)

        return serve


@contextmanager
def open_parallel_scoring_workers(
    files: Sequence[Path], similarity: str | None, settings: ScoreSettings = STANDARD
) -> Iterator[ShardWorkers]:
    """Start one process for each core, including this one, each with a part of the record files.

    Args:
        files: The record files.
        similarity: A sentence-transformers model; None for the packaged one.
        settings: Parameters of scoring.

    Yields:
        The shards, whose records have been read.
    """
    number = min(os.cpu_count() or 1, len(files))
    backend = ProcessBackend(ShardFactory(similarity, settings), WorkerOptions(number))
    try:
        workers = [backend.start_worker() for _ in range(1, number)]
        for k, worker in enumerate(workers, 1):
            backend.submit(worker, [(READ, (files[k::number],))])
        with pause_parallel_scoring_collection():
            shards = ShardWorkers(_read_shard(files[0::number], similarity, settings), backend, workers)
            shards.answers()
            yield shards
    finally:
        backend.close()


@contextmanager
def pause_parallel_scoring_collection() -> Iterator[None]:
    """Pause garbage collection: millions of floats in tuples contain no cycles."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _read_shard(files: Sequence[Path], similarity: str | None, settings: ScoreSettings) -> RecordShard:
    from prospect_core.records import EpisodeRecord
    from prospect_core.util.json_io import load_json
    from prospect_eval.metrics.resources import make_scoring_resources
    from prospect_eval.scoring.shards import RecordShard

    records = [load_json(EpisodeRecord, file.read_bytes(), str(file)) for file in files]
    return RecordShard(records, make_scoring_resources(similarity, settings))
