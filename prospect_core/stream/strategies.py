"""Context strategies: what a stream remembers when its cache reaches the budget.

    python -c "from prospect_core.stream.strategies import STRATEGIES; print({n: s.keeps for n, s in STRATEGIES.items()})"

A text strategy says what the rebuilt prompt shows; the runner drops the cache and reads that prompt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from prospect_core.errors import UserError, choose
from prospect_core.sequence import Context, SequenceBuilder, fitting
from prospect_core.timeline import DialogState, Task


@dataclass(frozen=True)
class StreamMemory:
    """What the runner knows outside its cache: the tracked state and what was said, oldest first (who, text)."""

    task: Task
    state: DialogState
    said: tuple[tuple[str, str], ...]
    builder: SequenceBuilder
    recent_utterances: int


class TextStrategy(Protocol):
    """Rebuilds the context from text. ``limited`` is False for the one that never compresses."""

    name: str
    keeps: str
    limited: bool

    def rebuild(self, memory: StreamMemory) -> Context:
        """What the new prompt shows."""
        ...


class KeepAll:
    """``none``: the unlimited reference."""

    name, keeps, limited = "none", "everything; there is no budget", False

    def rebuild(self, memory: StreamMemory) -> Context:
        raise AssertionError("`none` never compresses")


class DropAll:
    """``drop_all``: the system prompt, states blank."""

    name, keeps, limited = "drop_all", "the system prompt with blank states", True

    def rebuild(self, memory: StreamMemory) -> Context:
        return Context()


class DSTRefresh:
    """``dst_refresh``: the steps with their tracked states, order and times, and the last utterances."""

    name, keeps, limited = "dst_refresh", "the steps with the tracked states, and the last utterances", True

    def rebuild(self, memory: StreamMemory) -> Context:
        return Context(memory.state, "", fitting(memory.builder, memory.said, memory.recent_utterances))


STRATEGIES: dict[str, TextStrategy] = {s.name: s for s in (KeepAll(), DropAll(), DSTRefresh())}


def strategy(name: str, budget: int | None) -> TextStrategy:
    """The strategy of that name; ``none`` takes no budget and every other one needs it."""
    chosen = STRATEGIES[choose("strategy", name, STRATEGIES)]
    if chosen.limited and budget is None:
        raise UserError(f"strategy {name!r} needs a budget in tokens: give --budget N")
    if not chosen.limited and budget is not None:
        raise UserError(f"strategy {name!r} is unlimited and would ignore a budget of {budget}: leave --budget out")
    return chosen
