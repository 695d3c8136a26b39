"""Adaptive limit of concurrent requests to a server.

The limit grows while more concurrent requests give more replies per second, that is, while the time
of a reply grows more slowly than the limit. It halves when the server is overloaded.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

#: first limit, and smallest number of replies in a measurement
START, WINDOW = 4, 8
#: share of the growth of the limit that must show as growth of the throughput
GAIN = 0.25
#: number of measurements without growth after one that did not pay
HOLD = 16


class RequestLimit:
    """Number of requests that may be open at the same time. Used from one event loop only.

    Attributes:
        most: Largest limit.
        limit: Current limit, 1 to ``most``.
        open: Number of open requests.
        waiting: Requests that wait for a place, in order.
        paused_until: Time of `time.monotonic` before which no request starts.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = min(most, START)
        self.open = 0
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.paused_until = 0.0
        self._halved = 0.0
        # limit and throughput before the last growth
        self._before: tuple[int, float] | None = None
        self._doubles = True
        self._hold = 0
        self._ignored = 0
        self._seconds: list[float] = []

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a place, and hold it inside the context."""
        if self.open < self.limit and not self.waiting:
            self.open += 1
        else:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._leave()
                raise
        try:
            yield
        finally:
            self._leave()

    async def wait_until_open(self) -> None:
        """Wait until the end of a pause that the server asked for."""
        while (rest := self.paused_until - time.monotonic()) > 0:
            await asyncio.sleep(rest)

    def note_reply(self, seconds: float) -> None:
        """Record a reply. After each round of replies the limit may grow, or shrink to the one before.

        Args:
            seconds: Time from the request to the reply.
        """
        if self._ignored:
            # sent under the limit before
            self._ignored -= 1
            return
        self._seconds.append(seconds)
        if len(self._seconds) < max(self.limit, WINDOW):
            return
        throughput = self.limit * len(self._seconds) / max(sum(self._seconds), 1e-9)
        self._seconds.clear()
        if self.open >= self.limit:
            # otherwise fewer requests are made than the limit allows
            self._adapt(throughput)

    def note_overload(self, began: float, pause: float = 0.0) -> None:
        """Halve the limit, once for all requests that were open at the same time.

        Args:
            began: Time of `time.monotonic` at which the refused request was sent.
            pause: Seconds during which no request starts.
        """
        now = time.monotonic()
        if began >= self._halved:
            self._halved = now
            self._doubles = False
            self._before = None
            self._set(max(1, self.limit // 2))
        self.paused_until = max(self.paused_until, now + pause)

    def _adapt(self, throughput: float) -> None:
        if self._hold:
            self._hold -= 1
            return
        if self._before is not None:
            limit, reached = self._before
            if throughput < reached * (1 + GAIN * (self.limit / limit - 1)):
                self._before, self._hold, self._doubles = None, HOLD, False
                self._set(limit)
                return
        if self.limit == self.most:
            self._before = None
            return
        self._before = (self.limit, throughput)
        self._set(min(self.most, self.limit + (self.limit if self._doubles else max(1, self.limit // 8))))

    def _set(self, limit: int) -> None:
        self.limit = limit
        self._ignored = self.open
        self._seconds.clear()
        self._admit()

    def _leave(self) -> None:
        self.open -= 1
        self._admit()

    def _admit(self) -> None:
        while self.waiting and self.open < self.limit:
            turn = self.waiting.popleft()
            if not turn.done():
                self.open += 1
                turn.set_result(None)
