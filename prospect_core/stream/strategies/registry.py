"""Registry of context strategies, which decide what a stream keeps when its cache reaches the budget.

    prospect strategies

There are two families: *text* strategies (`strategies.text`) rebuild the context, *token*
strategies (`strategies.tokens`) select tokens of the cache. A strategy of your own is an object in
the entry point group ``prospect.strategies`` with these attributes:

* ``name``
* ``keeps``: description for people, one line
* ``limited``: whether it takes a budget
* ``writes``: whether the model writes a summary, for which the budget reserves room
* either ``rebuild(memory) -> Context`` or ``select(keys, values, meta, most) -> indices``
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
    """Properties of both families."""

    @property
    def name(self) -> str:
        """Name in ``--strategy``."""
        ...

    @property
    def keeps(self) -> str:
        """Description of what it keeps, one line."""
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
        """Return the contents of the new prompt."""
        ...


@runtime_checkable
class Selects(Protocol):
    """A token strategy."""

    def select(self, keys: Layers, values: Layers, meta: TokenMeta, most: int) -> list[int]:
        """Select the tokens to keep.

        Args:
            keys: Keys of every layer.
            values: Values of every layer.
            meta: Metadata of every token.
            most: Maximum number of tokens.

        Returns:
            Indices, ascending, including all of the prompt.
        """
        ...


#: rotary embeddings whose frequencies depend on the length of the text
LENGTH_DEPENDENT = ("dynamic", "longrope")


class KeepAll:
    """``none``: no budget, the unlimited reference."""

    name, keeps, limited, writes = "none", "everything; takes no budget", False, False


BUILT_IN: tuple[Strategy, ...] = (
    KeepAll(), DropAll(), *TOKEN_STRATEGIES, SummarizeAndDrop(), SummarizeWithDST(), DSTRefresh(),
)  # fmt: skip


@cache
def list_registered_strategies() -> dict[str, Strategy]:
    """Return built-in strategies and those of installed packages by name.

    Raises:
        UserError: If a name is taken, or an object is of neither family.
    """
    found: dict[str, Strategy] = {strategy.name: strategy for strategy in BUILT_IN}
    for point in list_entry_points(GROUP):
        theirs: Any = load_entry_point(point)
        if missing := [part for part in ("name", "keeps", "limited", "writes") if not hasattr(theirs, part)]:
            raise UserError(f"strategy {point.value}: lacks {', '.join(missing)}")
        if not any(isinstance(theirs, family) for family in (Rebuilds, Selects)):
            raise UserError(f"strategy {point.value}: has neither rebuild(memory) nor select(keys, values, meta, most)")
        if theirs.name in found:
            raise UserError(f"strategy {point.value}: the name {theirs.name!r} is taken; choose another name")
        found[theirs.name] = theirs
    return found


def require_rotatable_strategy(chosen: Strategy, text_config: Any) -> None:
    """Check that a strategy may move keys of a model.

    Keys cannot be rotated back if the rotary frequencies change with the length of the text.

    Raises:
        UserError: If the strategy moves keys and the model does not allow it.
    """
    parameters = getattr(text_config, "rope_parameters", None) or {}
    kind = parameters.get("rope_type", "default")
    if isinstance(chosen, Selects) and kind in LENGTH_DEPENDENT:
        raise UserError(
            f"strategy {chosen.name!r}: moves keys in the cache, which rotary embeddings of type {kind!r} do not allow; use a"
            " strategy that rebuilds the prompt, such as dst_refresh"
        )


def find_registered_strategy(name: str, budget: int | None) -> Strategy:
    """Find a strategy by name.

    Args:
        name: Name of the strategy.
        budget: Token budget: None for ``none``, required for every other strategy.

    Raises:
        UserError: If the name is unknown or the budget does not fit.
    """
    chosen = list_registered_strategies()[require_choice("strategy", name, list_registered_strategies())]
    if chosen.limited and budget is None:
        raise UserError(f"strategy {name!r} needs a budget in tokens; give --budget N")
    if not chosen.limited and budget is not None:
        raise UserError(f"strategy {name!r} is unlimited and takes no budget; remove --budget {budget}")
    return chosen


def require_valid_strategy_selection(
    chosen: Strategy, indices: Sequence[int], prompt: int, length: int, most: int
) -> None:
    """Check the selection of a token strategy.

    Args:
        chosen: The strategy.
        indices: Positions of the context that it keeps.
        prompt: Tokens of the prompt, all of which must stay.
        length: Tokens of the context.
        most: Maximum number of tokens that may stay.

    Raises:
        UserError: If the selection is not ascending, lacks part of the prompt, or is too large.
    """
    whole = sorted(set(indices))
    if list(indices) != whole or whole[:prompt] != list(range(prompt)) or whole[-1] >= length:
        raise UserError(f"strategy {chosen.name!r}: keeps tokens out of order, twice, or not all of the prompt")
    if len(whole) > most:
        raise UserError(f"strategy {chosen.name!r}: keeps {len(whole)} tokens, but at most {most} are allowed")
