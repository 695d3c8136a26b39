"""Stream batcher: several streams run until each wants to read, and share one forward pass.

A stream's code is the same as for a single stream: its reader hands over the request and returns
with the answer. Streams are greenlets, which run one at a time in a fixed order, so results do not
depend on scheduling.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import torch
from greenlet import getcurrent, greenlet

from prospect_core.model.modeling import DSTSmolVLM
from prospect_core.stream.forward import ForwardRequest, forward_stream_requests
from prospect_core.stream.kv_pool import KVPool

T = TypeVar("T")


class StreamBatcher:
    """Forward passes for several streams (`StreamForward`).

    Args:
        model: The model.
    """

    def __init__(self, model: DSTSmolVLM) -> None:
        self.model = model
        self._pool: KVPool | None = None

    def __call__(self, request: ForwardRequest) -> tuple[Any, float]:
        """Return the answer to the running stream's request, and its share of the seconds by tokens."""
        hub = getcurrent().parent
        if hub is None:
            raise RuntimeError("Together reads for streams that `run` has started")
        answer: tuple[Any, float] = hub.switch(request)
        return answer

    @torch.no_grad()
    def run(self, jobs: Iterable[Callable[[], T]], most: int) -> Iterator[T]:
        """Run jobs that read through this batcher; yield their results when they end.

        An error of a job ends all of them.

        Args:
            jobs: Functions that process streams.
            most: Maximum number of jobs that run at the same time.
        """
        waiting: list[tuple[greenlet, ForwardRequest]] = []
        queue = iter(jobs)
        more = True
        while more or waiting:
            while more and len(waiting) < most:
                job = next(queue, None)
                if job is None:
                    more = False
                else:
                    yield from self._go(greenlet(job), (), waiting)
            if waiting:
                begin = time.perf_counter()
                lanes, waiting = waiting, []
                requests = [request for _, request in lanes]
                self._pool = self._pool or KVPool(requests[0].cache.storage)
                answers = forward_stream_requests(self.model, requests, self._pool)
                seconds = time.perf_counter() - begin
                whole = sum(len(request.ids) for _, request in lanes)
                for (lane, request), answer in zip(lanes, answers, strict=True):
                    yield from self._go(lane, ((answer, seconds * len(request.ids) / whole),), waiting)

    @staticmethod
    def _go(lane: greenlet, given: tuple[Any, ...], waiting: list[tuple[greenlet, ForwardRequest]]) -> Iterator[Any]:
        """Run a stream until it wants to read or ends."""
        wanted = lane.switch(*given)
        if lane.dead:
            yield wanted
        else:
            waiting.append((lane, wanted))
