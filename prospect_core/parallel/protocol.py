"""What the scheduler and the backends of the worker pool share: options, jobs, events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from prospect_core.util.errors import UserError, require_choice

#: what a worker does with a pack: (which job of it, what came of that) as they end, in any order
BatchHandler = Callable[[Sequence[Any]], Iterator[tuple[int, Any]]]


#: makes a worker, in the process where it works; must be picklable
WorkerFactory = Callable[[], BatchHandler]


BACKENDS = ("process", "ray")


@dataclass(frozen=True)
class WorkerOptions:
    """How many workers, and where: ``gpus`` is how much of a GPU each has (0: none), ``address`` that of a Ray cluster (None:
    RAY_ADDRESS, or one that is started on this machine for the while)."""

    workers: int = 1
    backend: Literal["process", "ray"] = "process"
    gpus: float = 0
    address: str | None = None

    def check(self) -> WorkerOptions:
        """Itself; what does not go together is a `UserError`."""
        require_choice("--backend", self.backend, BACKENDS)
        if self.address is not None and self.backend != "ray":
            raise UserError(f"--address {self.address}: belongs to --backend ray")
        return self


@dataclass(frozen=True)
class WorkerReady:
    """A worker is there and waits for a pack."""

    host: str
    pid: int


@dataclass(frozen=True)
class JobDone:
    """What came of one job of the pack in hand."""

    number: int
    value: Any


@dataclass(frozen=True)
class BatchDone:
    """The pack in hand is done."""


@dataclass(frozen=True)
class WorkerDied:
    """A worker has ended without being asked to; ``why`` as far as one can tell."""

    why: str


PoolEvent = WorkerReady | JobDone | BatchDone | WorkerDied


class WorkerPool(Protocol):
    """Workers of one kind. Errors that a worker raises are raised by `next`."""

    def start_worker(self) -> int:
        """Start a worker; its number."""

    def submit(self, worker: int, batch: Sequence[Any]) -> None:
        """Have a worker that waits begin a pack."""

    def next(self) -> tuple[int, PoolEvent]:
        """The next that happens, whichever worker it is; waits for it."""

    def close(self) -> None:
        """End all workers at once."""
