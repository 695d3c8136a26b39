"""Protocol between the scheduler and the backends of the worker pool: options, jobs, events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from prospect_core.util.errors import UserError, require_choice

#: processes a batch; yields (number of a job in the batch, its result) in any order
BatchHandler = Callable[[Sequence[Any]], Iterator[tuple[int, Any]]]


#: makes a worker in the process where it runs; must be picklable
WorkerFactory = Callable[[], BatchHandler]


BACKENDS = ("process", "ray")


@dataclass(frozen=True)
class WorkerOptions:
    """Number of workers and where they run.

    Attributes:
        workers: Number of workers.
        backend: ``process`` or ``ray``.
        gpus: GPUs per worker; fractions share a GPU, 0 is none.
        address: Address of a Ray cluster. None uses RAY_ADDRESS, or a temporary cluster on this
            machine.
    """

    workers: int = 1
    backend: Literal["process", "ray"] = "process"
    gpus: float = 0
    address: str | None = None

    def check(self) -> WorkerOptions:
        """Return the options if they are consistent.

        Raises:
            UserError: If they are not.
        """
        require_choice("--backend", self.backend, BACKENDS)
        if self.address is not None and self.backend != "ray":
            raise UserError(f"--address {self.address}: works only with --backend ray")
        return self


@dataclass(frozen=True)
class WorkerReady:
    """A worker has started and waits for a batch."""

    host: str
    pid: int


@dataclass(frozen=True)
class JobDone:
    """One job of the current batch has a result.

    Attributes:
        number: Number of the job in the batch.
        value: Its result.
    """

    number: int
    value: Any


@dataclass(frozen=True)
class BatchDone:
    """The current batch is complete."""


@dataclass(frozen=True)
class WorkerDied:
    """A worker has ended unexpectedly; ``why`` is the known reason."""

    why: str


PoolEvent = WorkerReady | JobDone | BatchDone | WorkerDied


class WorkerPool(Protocol):
    """Workers of one kind; `next` raises the errors that a worker raises."""

    def start_worker(self) -> int:
        """Start a worker; return its number."""

    def submit(self, worker: int, batch: Sequence[Any]) -> None:
        """Send a batch to a waiting worker."""

    def next(self) -> tuple[int, PoolEvent]:
        """Wait for the next event of any worker; return (worker, event)."""

    def close(self) -> None:
        """End all workers."""
