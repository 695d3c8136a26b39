"""Ray backend of the worker pool: workers are actors of a Ray cluster, on one or several machines.

PROSPECT, the data and the checkpoint must have the same paths on every machine. Digests verify what
a worker reads there.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Sequence
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
from prospect_core.util.errors import DataError, UserError
from prospect_core.util.processes import limit_process_threads

#: seconds to wait for an answer of the cluster
PATIENCE_S = 10


class Actor:
    """A worker in a process of Ray.

    Args:
        factory: Makes the worker.
        threads: Threads that it may use.
    """

    def __init__(self, factory: WorkerFactory, threads: int) -> None:
        limit_process_threads(threads)
        self._serve = factory()

    def ready(self) -> WorkerReady:
        """Return host and process id; Ray answers after the worker is made."""
        return WorkerReady(socket.gethostname(), os.getpid())

    def serve(self, batch: Sequence[Any]) -> Iterator[JobDone]:
        """Yield the result of each job when it is done."""
        for number, value in self._serve(batch):
            yield JobDone(number, value)


class RayBackend:
    """Worker pool of Ray actors with one core each and the requested GPUs (`WorkerPool`).

    Args:
        factory: Makes a worker in its process.
        pool_options: Number of workers, GPUs and the cluster's address.

    Raises:
        UserError: If Ray is not installed or the cluster is too small.
        DataError: If no cluster answers.
    """

    def __init__(self, factory: WorkerFactory, pool_options: WorkerOptions) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Ray sets the visible GPUs of a worker that has some; without any, it must not
        # hide the machine's
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            import ray
        except ImportError as error:
            raise UserError("--backend ray needs the package ray: pip install 'prospect-suite[ray]'") from error
        self._ray, self._options = ray, pool_options
        self._began = not ray.is_initialized()
        if self._began:
            _connect(ray, pool_options)
        self._check()
        self._factory = ray.put(factory)
        self._actor = ray.remote(num_cpus=1, num_gpus=pool_options.gpus, max_restarts=0)(Actor)
        self._actors: dict[int, Any] = {}
        #: pending results, with their workers
        self._pending: dict[Any, int] = {}

    def start_worker(self) -> int:
        """Start an actor; return its number."""
        number = len(self._actors)
        self._actors[number] = self._actor.remote(self._factory, 1)
        self._pending[self._actors[number].ready.remote()] = number
        return number

    def submit(self, worker: int, batch: Sequence[Any]) -> None:
        """Send a batch to a waiting worker."""
        stream = self._actors[worker].serve.options(num_returns="streaming").remote(list(batch))
        self._pending[stream] = worker

    def next(self) -> tuple[int, PoolEvent]:
        """Wait for the next event of any worker; return (worker, event)."""
        ray = self._ray
        (found,), _ = ray.wait(list(self._pending), num_returns=1, fetch_local=False)
        number = self._pending[found]
        try:
            if isinstance(found, ray.ObjectRef):
                event = ray.get(found)
                del self._pending[found]
            else:
                event = ray.get(next(found))
        except StopIteration:
            del self._pending[found]
            return number, BatchDone()
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, Exception):
                raise cause from error
            del self._pending[found]
            return number, WorkerDied(str(error).strip().splitlines()[0])
        return number, event

    def close(self) -> None:
        """Kill all workers and leave the cluster."""
        for actor in self._actors.values():
            self._ray.kill(actor)
        self._leave()

    def _check(self) -> None:
        """Refuse more actors than the cluster has room for: Ray would wait for them without end."""
        pool_options, have = self._options, self._ray.cluster_resources()
        for what, each in (("CPU", 1.0), ("GPU", pool_options.gpus)):
            if each * pool_options.workers > have.get(what, 0):
                self._leave()
                raise UserError(
                    f"--workers {pool_options.workers}: needs {each * pool_options.workers:g} {what}, the cluster has"
                    f" {have.get(what, 0):g}"
                )

    def _leave(self) -> None:
        """Leave the cluster if this object started or joined it."""
        if self._began:
            self._ray.shutdown()


def _connect(ray: Any, pool_options: WorkerOptions) -> None:
    address = pool_options.address or os.environ.get("RAY_ADDRESS") or "local"
    options: dict[str, Any] = {}
    if address == "local":
        options = {"num_cpus": pool_options.workers, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise DataError(f"--address {address}: no Ray cluster answers ({str(error).splitlines()[0]})") from error


def _knock(address: str) -> None:
    """Check that an address answers, because Ray itself would wait for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), PATIENCE_S).close()
