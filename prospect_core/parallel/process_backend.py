"""Workers that are processes of this machine.

python -c "from prospect_core.parallel.process_backend import ProcessBackend; help(ProcessBackend)"
"""

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
    """Freshly started processes, each behind a pipe."""

    def __init__(self, factory: WorkerFactory, pool_options: WorkerOptions) -> None:
        self._factory, self._options = factory, pool_options
        self._context = get_context("spawn")
        self._workers: dict[connection.Connection, tuple[int, Any]] = {}
        self._ends: dict[int, connection.Connection] = {}
        #: {worker: place}; the place decides which cards the worker uses
        self._places: dict[int, int] = {}
        self._started = 0

    def start_worker(self) -> int:
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
        """The lowest place that no worker holds, so that a replacement gets the cards of the worker that it replaces."""
        taken = set(self._places.values())
        return next(place for place in range(len(taken) + 1) if place not in taken)

    def submit(self, worker: int, batch: Sequence[Any]) -> None:
        # one that is gone is told of by `next`
        with suppress(OSError):
            self._ends[worker].send(batch)

    def next(self) -> tuple[int, PoolEvent]:
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
    """The GPUs of the worker at a place, of those that this process sees; None: as they are."""
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
