"""Many streams at once: each runs on until it wants to read, and what all of them want is read in one forward.

    python -c "from prospect_core.stream.batching import StreamBatcher; help(StreamBatcher)"

A stream's code is the same as alone; its reader hands the request over and comes back with the answer. Streams are
greenlets: one runs at a time, always in the same order, so nothing is shared by chance.
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
    """A `Reader` for several streams."""

    def __init__(self, model: DSTSmolVLM) -> None:
        self.model = model
        self._pool: KVPool | None = None

    def __call__(self, request: ForwardRequest) -> tuple[Any, float]:
        """The answer to the request of the stream that runs now, and its share of the seconds, by tokens."""
        hub = getcurrent().parent
        if hub is None:
            raise RuntimeError("Together reads for streams that `run` has started")
        answer: tuple[Any, float] = hub.switch(request)
        return answer

    @torch.no_grad()
    def run(self, jobs: Iterable[Callable[[], T]], most: int) -> Iterator[T]:
        """What the jobs return, as they end: at most ``most`` run at a time, the next one begins as one ends. A job's
        error ends the whole."""
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
        """Let a stream run until it wants to read or ends."""
        wanted = lane.switch(*given)
        if lane.dead:
            yield wanted
        else:
            waiting.append((lane, wanted))
