"""Replay in spans: several frames in one call of a model with ``advance``."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from prospect_core.stream.step_output import StepOutput

#: length of the first span in frames, before anything is known about the stream
FIRST_SPAN = 4


def replay_in_spans(
    advance: Callable[[list[Any]], list[StepOutput]], seen: Iterator[Any], longest: int
) -> Iterator[StepOutput]:
    """Yield every step's output from spans of adaptive length.

    The next span is twice as long after one without an event, and half as long after one of which
    less than half was used.

    Args:
        advance: Processes a span; returns the outputs of at least its first frame.
        seen: (frame, user text) in order.
        longest: Maximum frames of a span.
    """
    ahead: deque[Any] = deque()
    span = min(FIRST_SPAN, longest)
    while True:
        ahead.extend(islice(seen, max(0, span - len(ahead))))
        if not ahead:
            return
        tried = list(islice(ahead, span))
        outputs = advance(tried)
        for _ in outputs:
            ahead.popleft()
        yield from outputs
        if len(outputs) == len(tried):
            span = min(2 * span, longest)
        elif 2 * len(outputs) < len(tried):
            span = max(min(FIRST_SPAN, longest), span // 2)
