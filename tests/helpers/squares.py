"""A minimal worker in a module with few imports, so that its processes start fast."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from prospect_core.util.errors import DataError


@dataclass(frozen=True)
class Squares:
    """Worker that squares numbers.

    Attributes:
        folder: Folder of marks: a mark makes one job of ``kills`` kill the worker.
        kills: Jobs that kill the worker while marks are left.
        fails: Jobs that fail.
        born: Whether the worker starts at all.
    """

    folder: Path
    kills: tuple[int, ...] = ()
    fails: tuple[int, ...] = ()
    born: bool = True

    def __call__(self) -> Callable[[Sequence[int]], Iterator[tuple[int, int]]]:
        if not self.born:
            os._exit(7)

        def serve(batch: Sequence[int]) -> Iterator[tuple[int, int]]:
            for number, job in enumerate(batch):
                if job in self.kills and self._left(job):
                    os.kill(os.getpid(), signal.SIGKILL)
                if job in self.fails:
                    raise DataError(f"{job} is broken")
                yield number, job * job

        return serve

    def _left(self, job: int) -> list[Path]:
        marks = sorted(self.folder.glob(f"{job}-*"))
        for mark in marks[:1]:
            mark.unlink()
        return marks

    def kill_at(self, job: int, times: int) -> None:
        for k in range(times):
            (self.folder / f"{job}-{k}").touch()
