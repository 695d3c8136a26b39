"""Prefetch: run an iterator in a thread, a bounded number of items in advance."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

#: seconds that the thread waits for room before it checks whether the iterator is still in use
PATIENCE_S = 0.1


def prefetch(items: Iterable[T], most: int) -> Iterator[T]:
    """Yield the items in order.

    The thread ends with the iterator, exhausted or not. An error is raised at the position of its
    item.

    Args:
        items: Source of the items.
        most: Maximum number of items in advance.
    """
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
            # hand every error to the consumer
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
