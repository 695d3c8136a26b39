"""Scheduler of the worker pool: distribute batches of jobs to workers and recover from lost workers.

A worker is made once in its process (`WorkerFactory`: it opens data and loads a model) and then
gets one batch after the other. Each result is returned when its job is done, so a lost worker costs
only the unfinished jobs of its batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from prospect_core.parallel.protocol import (
    BatchDone,
    JobDone,
    PoolEvent,
    WorkerFactory,
    WorkerOptions,
    WorkerPool,
    WorkerReady,
)
from prospect_core.util.errors import DataError
from prospect_core.util.signals import stop_requested

#: number of workers that a job may lose before it fails
MOST_LOSSES = 3


@dataclass
class WorkerTally:
    """Work of one worker so far.

    Attributes:
        host: Name of its machine.
        pid: Its process id.
        jobs: Number of finished jobs.
    """

    host: str
    pid: int
    jobs: int = 0


def schedule_jobs(
    factory: WorkerFactory,
    batches: Sequence[Sequence[Any]],
    pool_options: WorkerOptions,
    tallies: dict[int, WorkerTally] | None = None,
) -> Iterator[tuple[Any, Any]]:
    """Run jobs on a pool of workers.

    After a worker has died, its unfinished jobs run again one by one. A job that has lost
    `MOST_LOSSES` workers fails. After the first Ctrl-C only batches that workers already have are
    finished.

    Args:
        factory: Makes a worker in its process.
        batches: Batches of hashable jobs.
        pool_options: Number of workers and where they run.
        tallies: Filled with the work of each worker, by its number.

    Yields:
        (job, result) of every job when it is done; the result of a failed job is a `DataError`.

    Raises:
        DataError: If no worker starts.
    """
    pool = _open_pool(factory, pool_options.check())
    dispatcher = _Dispatcher(pool, batches, pool_options.workers, {} if tallies is None else tallies)
    try:
        dispatcher.start_workers()
        while dispatcher.submit_batches():
            worker, event = pool.next()
            yield from dispatcher.handle(worker, event)
    finally:
        pool.close()


class _Dispatcher:
    """Assigns batches to workers and replaces workers that die."""

    def __init__(
        self, pool: WorkerPool, batches: Sequence[Sequence[Any]], workers: int, tallies: dict[int, WorkerTally]
    ) -> None:
        self.pool, self.workers, self.tallies = pool, workers, tallies
        self.waiting = deque(list(batch) for batch in batches if batch)
        #: by worker: its batch, and the numbers of the jobs that are done
        self.running: dict[int, tuple[list[Any], set[int]]] = {}
        self.losses: dict[Any, int] = {}
        self.idle: list[int] = []
        self.starting = 0
        self.failed_starts = 0

    def start_workers(self) -> None:
        """Start the wanted number of workers, at most one per batch."""
        for _ in range(min(self.workers, len(self.waiting))):
            self._start_worker()

    def submit_batches(self) -> bool:
        """Give idle workers their next batches; return False if there is nothing to wait for."""
        while self.idle and self.waiting and not stop_requested():
            worker = self.idle.pop()
            self.running[worker] = self.waiting.popleft(), set()
            self.pool.submit(worker, self.running[worker][0])
        return bool(self.running or (self.waiting and not stop_requested()))

    def handle(self, worker: int, event: PoolEvent) -> Iterator[tuple[Any, Any]]:
        """Process an event; yield its results."""
        if isinstance(event, WorkerReady):
            self.tallies[worker] = WorkerTally(event.host, event.pid)
            self.idle.append(worker)
            self.starting, self.failed_starts = self.starting - 1, 0
        elif isinstance(event, JobDone):
            batch, done = self.running[worker]
            done.add(event.number)
            self.tallies[worker].jobs += 1
            yield batch[event.number], event.value
        elif isinstance(event, BatchDone):
            del self.running[worker]
            self.idle.append(worker)
        else:
            yield from self._replace(worker, event.why)

    def _replace(self, worker: int, why: str) -> Iterator[tuple[Any, Any]]:
        """Queue the unfinished jobs of a dead worker, and start another worker if there is work for it."""
        if worker in self.running:
            yield from self._retry(worker, why)
        elif worker in self.tallies:
            self.idle.remove(worker)
        else:
            self.starting, self.failed_starts = self.starting - 1, self.failed_starts + 1
            if self.failed_starts >= MOST_LOSSES:
                raise DataError(f"no worker starts: {why}")
        if self.waiting and len(self.running) + len(self.idle) + self.starting < self.workers:
            self._start_worker()

    def _retry(self, worker: int, why: str) -> Iterator[tuple[Any, Any]]:
        batch, done = self.running.pop(worker)
        unfinished = [job for number, job in enumerate(batch) if number not in done]
        for job in unfinished:
            self.losses[job] = self.losses.get(job, 0) + 1
        given_up = [job for job in unfinished if len(unfinished) == 1 and self.losses[job] >= MOST_LOSSES]
        self.waiting.extendleft([job] for job in unfinished if job not in given_up)
        for job in given_up:
            yield job, DataError(f"{MOST_LOSSES} workers died on this job; the last: {why}")

    def _start_worker(self) -> None:
        self.pool.start_worker()
        self.starting += 1


def schedule_batches(costs: Sequence[float], groups: Sequence[Any], least: int, workers: int) -> list[list[int]]:
    """Group jobs into batches of similar cost, most expensive first.

    Jobs of similar cost that run at the same time end at the same time.

    Args:
        costs: Cost of each job.
        groups: Group of each job, such as its video; jobs of a group stay together.
        least: Wanted number of jobs per batch; fewer if a worker would get fewer than about four
            batches.
        workers: Number of workers.

    Returns:
        Indices of the jobs of each batch.
    """
    members: dict[Any, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    dearest = sorted(members.values(), key=lambda group: -max(costs[index] for index in group))
    size = max(1, min(least, -(-len(costs) // (4 * workers))))
    batches: list[list[int]] = []
    for group in dearest:
        if batches and len(batches[-1]) + len(group) <= size:
            batches[-1] += group
        else:
            batches.append(list(group))
    return batches


def _open_pool(factory: WorkerFactory, pool_options: WorkerOptions) -> WorkerPool:
    if pool_options.backend == "ray":
        from prospect_core.parallel.ray_backend import RayBackend

        return RayBackend(factory, pool_options)
    from prospect_core.parallel.process_backend import ProcessBackend

    return ProcessBackend(factory, pool_options)
