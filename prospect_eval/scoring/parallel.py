"""Run folders scored by several processes, each reading and counting a share: hours of probabilities are slow to read.

    python -c "from prospect_eval.scoring.parallel import score_folder; help(score_folder)"

The processes are started before anything heavy is imported here, so that they import at the same time.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prospect_core.util.errors import DataError
from prospect_core.util.processes import belong, carried
from prospect_eval.matching.settings import STANDARD, ScoreSettings
from prospect_eval.runs.folder import read_config, read_records, record_files

if TYPE_CHECKING:
    from prospect_eval.metrics import ScoringResources
    from prospect_eval.scoring.shards import RecordShard

#: below so many bytes of records one process is quicker than starting others
WORTH_SHARING = 64 << 20


def score_folder(
    folder: Path,
    similarity: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    settings: ScoreSettings = STANDARD,
) -> dict[str, Any]:
    """`score.score_records` of a run folder, by several processes where its records are large.

    CIDEr and the accuracy of answers use the references of the whole split, where these are stored or the data can be
    opened.
    """
    files = record_files(folder)
    config = read_config(folder)
    from prospect_eval.suites.training_data import training_of

    training = training_of(config.data, config.split)
    if sum(file.stat().st_size for file in files) < WORTH_SHARING:
        from prospect_eval.scoring.score import score_records

        return score_records(read_records(folder)[1], _resources(folder, similarity, settings), progress, training)
    with workers(files, similarity, settings) as shards:
        from prospect_eval.scoring.score import score_shards
        from prospect_eval.scoring.shards import single_threaded

        with single_threaded():
            resources = _resources(folder, similarity, settings)
            return score_shards(shards, resources, lambda: read_records(folder)[1], progress, training)


def _resources(folder: Path, similarity: str | None, settings: ScoreSettings) -> ScoringResources:
    from prospect_eval.metrics.resources import make_resources
    from prospect_eval.scoring.corpora import split_corpus

    return replace(make_resources(similarity, settings), corpus=split_corpus(folder, read_config(folder)))


class Workers:
    """A share in this process and others in processes of their own, each reading its record files first."""

    def __init__(self, own: RecordShard, ends: Sequence[Connection]) -> None:
        self._own, self._ends = own, ends

    def ask(self, what: str, *arguments: Any) -> list[Any]:
        """What each share answers to the same question."""
        for end in self._ends:
            _send(end, what, *arguments)
        own = getattr(self._own, what)(*arguments)
        return [own, *map(_answer, self._ends)]

    def deal(self, what: str, items: list[Any]) -> list[Any]:
        """The answer to each item, whichever share gives it."""
        number = len(self._ends) + 1
        for k, end in enumerate(self._ends, 1):
            _send(end, what, items[k::number])
        out: list[Any] = [None] * len(items)
        out[0::number] = getattr(self._own, what)(items[0::number])
        for k, end in enumerate(self._ends, 1):
            out[k::number] = _answer(end)
        return out


@contextmanager
def workers(files: Sequence[Path], similarity: str | None, settings: ScoreSettings = STANDARD) -> Iterator[Workers]:
    """As many processes as there are cores, this one among them, each with its share of the record files."""
    number = min(os.cpu_count() or 1, len(files))
    context = multiprocessing.get_context("spawn")
    ends, processes = [], []
    try:
        for k in range(1, number):
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there, files[k::number], similarity, settings), daemon=True)
            process.start()
            there.close()
            ends.append(here)
            processes.append(process)
        with without_collection():
            yield Workers(_read_share(files[0::number], similarity, settings), ends)
    finally:
        for process in processes:
            # it holds nothing that wants an orderly end
            process.terminate()


@contextmanager
def without_collection() -> Iterator[None]:
    """No garbage collection within: there are millions of floats in tuples, and not one circle among them."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _read_share(files: Sequence[Path], similarity: str | None, settings: ScoreSettings) -> RecordShard:
    from prospect_core.records import EpisodeRecord
    from prospect_core.util.json_io import load
    from prospect_eval.metrics.resources import make_resources
    from prospect_eval.scoring.shards import RecordShard

    records = [load(EpisodeRecord, file.read_bytes(), str(file)) for file in files]
    return RecordShard(records, make_resources(similarity, settings))


def _send(end: Connection, what: str, *arguments: Any) -> None:
    # one that is gone is told of where its answer is awaited
    with suppress(OSError):
        end.send((what, arguments))


def _answer(end: Connection) -> Any:
    try:
        answer = end.recv()
    except (EOFError, OSError) as error:
        raise DataError("a process that was counting has died, perhaps for want of memory; start again") from error
    if isinstance(answer, Exception):
        raise answer
    return answer


def _serve(end: Connection, files: Sequence[Path], similarity: str | None, settings: ScoreSettings) -> None:
    """A worker: reads its records, then answers until it is ended."""
    from prospect_eval.scoring.shards import single_threaded

    belong()
    gc.disable()
    single_threaded()
    share: RecordShard | None = None
    while True:
        try:
            if share is None:
                share = _read_share(files, similarity, settings)
            what, arguments = end.recv()
            end.send(getattr(share, what)(*arguments))
        except EOFError:
            return
        except Exception as error:
            # the one who asks gets it, whatever it is
            end.send(carried(error))
            return
