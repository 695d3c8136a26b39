"""Functions mapped over jobs by worker processes (concurrent.futures), for short jobs without state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from typing import TypeVar

from prospect_core.util.processes import count_cores, end_process_with_parent

J = TypeVar("J")


R = TypeVar("R")


#: with fewer jobs than this, processes take longer to start than they save
FEW_JOBS = 8


def open_process_pool(workers: int | None = None) -> ProcessPoolExecutor:
    """A pool of freshly started processes, by default one a core. Ctrl-C is left to the parent."""
    return ProcessPoolExecutor(
        workers or count_cores(), mp_context=get_context("spawn"), initializer=end_process_with_parent
    )


def map_in_process_pool(
    function: Callable[[J], R],
    jobs: Sequence[J],
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[R]:
    """What ``function`` makes of each job, in order, done by so many processes; few jobs are not worth any."""
    total = len(jobs)
    with ExitStack() as stack:
        if workers > 1 and total >= FEW_JOBS:
            chunk = max(1, min(64, total // (8 * workers)))
            results: Iterable[R] = stack.enter_context(open_process_pool(workers)).map(function, jobs, chunksize=chunk)
        else:
            results = map(function, jobs)
        for done, result in enumerate(results, 1):
            progress(done, total)
            yield result
