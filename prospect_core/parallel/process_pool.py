"""Map functions over short jobs without state, in worker processes (concurrent.futures)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from typing import TypeVar

from prospect_core.util.processes import count_cores, end_process_with_parent

J = TypeVar("J")


R = TypeVar("R")


#: below this number of jobs, processes take longer to start than they save
FEW_JOBS = 8


def open_process_pool(workers: int | None = None) -> ProcessPoolExecutor:
    """Open a pool of newly started processes, one per core by default; they leave Ctrl-C to the parent."""
    return ProcessPoolExecutor(
        workers or count_cores(), mp_context=get_context("spawn"), initializer=end_process_with_parent
    )


def map_in_process_pool(
    function: Callable[[J], R],
    jobs: Sequence[J],
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[R]:
    """Yield the result of ``function`` for each job, in order.

    Args:
        function: A picklable function.
        jobs: Its arguments.
        workers: Number of processes; fewer than `FEW_JOBS` jobs run in this process.
        progress: Called with (jobs done, jobs in total).
    """
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
