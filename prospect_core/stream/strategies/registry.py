"""Context strategies by name: what a stream remembers when its cache reaches the budget.

    prospect strategies

Two families behind one small interface: *text* strategies (`text_strategies`) rebuild the context, *token* strategies
(`token_strategies`) choose what stays of the cache. One of your own is an object in the entry point group
``prospect.strategies``: with ``name``, ``keeps`` (a line for people), ``limited`` (whether it takes a budget), ``writes``
(whether the model writes a summary, which the budget reserves room for), and either ``rebuild(memory) -> Context`` or
``select(keys, values, meta, most) -> indices``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol, runtime_checkable

from prospect_core.sequence.layout import Context
from prospect_core.stream.strategies.text import DropAll, DSTRefresh, StreamMemory, SummarizeAndDrop, SummarizeWithDST
from prospect_core.stream.strategies.tokens import TOKEN_STRATEGIES, Layers
from prospect_core.stream.token_metadata import TokenMeta
from prospect_core.util.entry_points import list_entry_points, load_entry_point
from prospect_core.util.errors import UserError, require_choice

GROUP = "prospect.strategies"


class Strategy(Protocol):
    """What both families tell."""

    @property
    def name(self) -> str:
        """As in ``--strategy``."""
        ...

    @property
    def keeps(self) -> str:
        """What it keeps, in a line."""
        ...

    @property
    def limited(self) -> bool:
        """Whether it takes a budget; only ``none`` does not."""
        ...

    @property
    def writes(self) -> bool:
        """Whether the model writes a summary."""
        ...


@runtime_checkable
class Rebuilds(Protocol):
    """A text strategy."""

    def rebuild(self, memory: StreamMemory) -> Context:
        """What the new prompt shows."""
        ...


@runtime_checkable
class Selects(Protocol):
    """A token strategy."""

    def select(self, keys: Layers, values: Layers, meta: TokenMeta, most: int) -> list[int]:
        """Indices to keep, ascending, at most ``most``, the prompt's among them."""
        ...


#: kinds of rotary embeddings whose frequencies depend on how long the text is
LENGTH_DEPENDENT = ("dynamic", "longrope")


class KeepAll:
    """``none``: the unlimited reference."""

    name, keeps, limited, writes = "none", "everything; there is no budget", False, False


BUILT_IN: tuple[Strategy, ...] = (
    KeepAll(), DropAll(), *TOKEN_STRATEGIES, SummarizeAndDrop(), SummarizeWithDST(), DSTRefresh(),
)  # fmt: skip


@cache
def list_registered_strategies() -> dict[str, Strategy]:
    """All strategies by name: ours, and those of installed packages. A name that is taken, or an object that is neither
    of both families, is a `UserError`."""
    found: dict[str, Strategy] = {strategy.name: strategy for strategy in BUILT_IN}
    for point in list_entry_points(GROUP):
        theirs: Any = load_entry_point(point)
        if missing := [part for part in ("name", "keeps", "limited", "writes") if not hasattr(theirs, part)]:
            raise UserError(f"strategy {point.value}: has no {', '.join(missing)}")
        if not any(isinstance(theirs, family) for family in (Rebuilds, Selects)):
            raise UserError(f"strategy {point.value}: has neither rebuild(memory) nor select(keys, values, meta, most)")
        if theirs.name in found:
            raise UserError(f"strategy {point.value}: the name {theirs.name!r} is taken; give it another one")
        found[theirs.name] = theirs
    return found


def require_rotatable_strategy(chosen: Strategy, text_config: Any) -> None:
    """Refuse, as a `UserError`, a strategy that moves keys of a model whose rotary frequencies change with the length of the text:
    what was turned by other frequencies cannot be turned back."""
    parameters = getattr(text_config, "rope_parameters", None) or {}
    kind = parameters.get("rope_type", "default")
    if isinstance(chosen, Selects) and kind in LENGTH_DEPENDENT:
        raise UserError(
            f"strategy {chosen.name!r}: keeps keys in other places, which rotary embeddings of type {kind!r} do not allow; use one"
            " that rebuilds the prompt, as dst_refresh"
        )


def find_registered_strategy(name: str, budget: int | None) -> Strategy:
    """The strategy of that name; ``none`` takes no budget and every other one needs it."""
    chosen = list_registered_strategies()[require_choice("strategy", name, list_registered_strategies())]
    if chosen.limited and budget is None:
        raise UserError(f"strategy {name!r} needs a budget in tokens: give --budget N")
    if not chosen.limited and budget is not None:
        raise UserError(f"strategy {name!r} is unlimited and would ignore a budget of {budget}: leave --budget out")
    return chosen


def require_valid_strategy_selection(
    chosen: Strategy, indices: Sequence[int], prompt: int, length: int, most: int
) -> None:
    """Refuse, as a `UserError`, what a token strategy must not keep.

    Args:
        chosen: The strategy.
        indices: Positions of the context that it keeps.
        prompt: Tokens of the prompt, all of which have to stay.
        length: Tokens of the context.
        most: How many tokens may stay.
    """
    whole = sorted(set(indices))
    if list(indices) != whole or whole[:prompt] != list(range(prompt)) or whole[-1] >= length:
        raise UserError(f"strategy {chosen.name!r}: keeps tokens out of order, twice, or not all of the prompt")
    if len(whole) > most:
        raise UserError(f"strategy {chosen.name!r}: keeps {len(whole)} tokens, at most {most} may stay")
