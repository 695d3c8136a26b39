"""Fetching ahead: an iterator that a thread of its own runs, a bounded number of items before they are asked for.

python -c "from prospect_core.util.prefetch import prefetch; print(list(prefetch(range(5), 2)))"
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

#: how long the thread waits for room before it looks whether anyone still wants more
PATIENCE_S = 0.1


def prefetch(items: Iterable[T], most: int) -> Iterator[T]:
    """The items in order, at most ``most`` of them waiting. An error is raised where its item would have come; the thread
    ends with the iterator, asked to the end or not."""
    box: queue.Queue[tuple[list[T], BaseException | None]] = queue.Queue(most)
    done = threading.Event()

    def put(item: list[T], error: BaseException | None) -> bool:
        while not done.is_set():
            try:
                box.put((item, error), timeout=PATIENCE_S)
                return True
            except queue.Full:
                continue
        return False

    def fetch() -> None:
        try:
            if all(put([item], None) for item in items):
                put([], None)
        except BaseException as error:
            # the one who asks gets it, whatever it is
            put([], error)

    thread = threading.Thread(target=fetch, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = box.get()
            if error is not None:
                raise error
            if not item:
                return
            yield item[0]
    finally:
        done.set()
        thread.join()
