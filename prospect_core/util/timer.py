"""Where time goes: seconds by stage, each moment counted once, for the innermost stage that is running.

python -c "from prospect_core.util.timer import StageTimer; w = StageTimer(); exec('with w(\\"a\\"): pass'); print(w.seconds)"
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class StageTimer:
    """``with watch("stage"):`` adds to ``watch.seconds["stage"]``; stages may lie within one another.

    ``synchronise`` waits for a device that works on after it was told what to do: without it, the time of that work is counted
    for whichever stage waits for its results.
    """

    def __init__(self, synchronise: Callable[[], None] | None = None) -> None:
        self.synchronise = synchronise
        self.seconds: dict[str, float] = {}
        #: seconds that went to others while a stage ran here
        self.waited = 0.0
        self._running: list[str] = []
        self._since = 0.0

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """The stage runs until the block ends."""
        self._count()
        self._running.append(stage)
        try:
            yield
        finally:
            self._count()
            self._running.pop()

    def take(self) -> dict[str, float]:
        """The seconds by stage since they were last taken."""
        self._count()
        taken, self.seconds = self.seconds, {}
        return taken

    def over(self, stage: str, items: Iterable[T]) -> Iterator[T]:
        """The items, the time that getting them takes counted for the stage."""
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
        """The block is work for several: of its time, the seconds that it puts into the list are this watch's, the rest
        are waited for."""
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
