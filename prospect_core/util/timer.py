"""Stage timer: seconds by stage, where each moment counts for the innermost running stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class StageTimer:
    """Timer of nested stages: ``with watch("stage"):`` adds to ``watch.seconds["stage"]``.

    Args:
        synchronise: Waits for an asynchronous device. Without it, the time of the device's work
            counts for the stage that waits for its results.

    Attributes:
        seconds: Seconds by stage.
        waited: Seconds that other users of the work took while a stage ran.
    """

    def __init__(self, synchronise: Callable[[], None] | None = None) -> None:
        self.synchronise = synchronise
        self.seconds: dict[str, float] = {}
        self.waited = 0.0
        self._running: list[str] = []
        self._since = 0.0

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Run a stage until the block ends."""
        self._count()
        self._running.append(stage)
        try:
            yield
        finally:
            self._count()
            self._running.pop()

    def take(self) -> dict[str, float]:
        """Return the seconds by stage since the last call."""
        self._count()
        taken, self.seconds = self.seconds, {}
        return taken

    def over(self, stage: str, items: Iterable[T]) -> Iterator[T]:
        """Yield the items; the time to get them counts for the stage."""
        source = iter(items)
        while True:
            with self(stage):
                try:
                    item = next(source)
                except StopIteration:
                    return
            yield item

    @contextmanager
    def shared(self) -> Iterator[list[float]]:
        """Time work for several users: the seconds put into the list count here, the rest counts as waiting."""
        self._count()
        mine: list[float] = []
        yield mine
        now = time.perf_counter()
        self.waited += now - self._since - sum(mine)
        self._since = now - sum(mine)

    def _count(self) -> None:
        if self.synchronise is not None:
            self.synchronise()
        now = time.perf_counter()
        if self._running:
            stage = self._running[-1]
            self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._since
        self._since = now
