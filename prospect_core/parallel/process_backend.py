"""Process backend of the worker pool: workers are processes of this machine."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import connection, get_context
from typing import Any

from prospect_core.parallel.protocol import (
    BatchDone,
    JobDone,
    PoolEvent,
    WorkerDied,
    WorkerFactory,
    WorkerOptions,
    WorkerReady,
)
from prospect_core.util.processes import (
    count_cores,
    end_process_with_parent,
    limit_process_threads,
    picklable_process_error,
)


class ProcessBackend:
    """Worker pool of newly started processes, each connected by a pipe (`WorkerPool`).

    Args:
        factory: Makes a worker in its process.
        pool_options: Number of workers and GPUs.
    """

    def __init__(self, factory: WorkerFactory, pool_options: WorkerOptions) -> None:
        self._factory, self._options = factory, pool_options
        self._context = get_context("spawn")
        self._workers: dict[connection.Connection, tuple[int, Any]] = {}
        self._ends: dict[int, connection.Connection] = {}
        #: {worker: place}; the place decides which GPUs the worker uses
        self._places: dict[int, int] = {}
        self._started = 0

    def start_worker(self) -> int:
        """Start a process; return its number."""
        here, there = self._context.Pipe()
        number, self._started = self._started, self._started + 1
        threads = max(1, count_cores() // self._options.workers)
        place = self._free_place()
        process = self._context.Process(
            target=_serve, args=(there, self._factory, threads, _cards(place, self._options.gpus)), daemon=True
        )
        process.start()
        there.close()
        self._workers[here], self._ends[number], self._places[number] = (number, process), here, place
        return number

    def _free_place(self) -> int:
        """Return the lowest free place, so that a replacement gets the GPUs of the worker that it replaces."""
        taken = set(self._places.values())
        return next(place for place in range(len(taken) + 1) if place not in taken)

    def submit(self, worker: int, batch: Sequence[Any]) -> None:
        """Send a batch to a waiting worker."""
        # `next` reports a worker that has died
        with suppress(OSError):
            self._ends[worker].send(batch)

    def next(self) -> tuple[int, PoolEvent]:
        """Wait for the next event of any worker; return (worker, event)."""
        end = connection.wait(list(self._workers))[0]
        assert isinstance(end, connection.Connection)
        number, process = self._workers[end]
        try:
            event = end.recv()
        except (EOFError, OSError):
            process.join()
            self._forget(number)
            code = process.exitcode
            return number, WorkerDied(
                f"a process ended by signal {-code}" if code and code < 0 else f"exit status {code}"
            )
        if isinstance(event, Exception):
            raise event
        return number, event

    def close(self) -> None:
        """Kill all workers."""
        for number, process in list(self._workers.values()):
            process.kill()
            process.join()
            self._forget(number)

    def _forget(self, worker: int) -> None:
        end = self._ends.pop(worker)
        del self._places[worker]
        del self._workers[end]
        end.close()


def _cards(place: int, gpus: float) -> str | None:
    """Return the GPUs of the worker at a place, from those visible to this process; None for no change."""
    if not gpus:
        return None
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    first, number = int(place * gpus), max(1, int(gpus))
    names = seen.split(",") if seen else [str(k) for k in range(first + number)]
    return ",".join(names[first : first + number])


def _serve(end: connection.Connection, factory: WorkerFactory, threads: int, cards: str | None) -> None:
    end_process_with_parent()
    if cards is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = cards
    limit_process_threads(threads)
    try:
        serve = factory()
        end.send(WorkerReady(socket.gethostname(), os.getpid()))
        while True:
            for number, value in serve(end.recv()):
                end.send(JobDone(number, value))
            end.send(BatchDone())
    except EOFError:
        return
    except Exception as error:
        end.send(picklable_process_error(error))
