"""Greedy decoding with prompt look-up: the words of one token at a time, in fewer forwards.

python -c "from prospect_core.model.generation import Lookup; l = Lookup([1, 2, 3, 1, 2]); print(l.draft(4, set()))"
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

#: tokens that are looked up, and the most that are read ahead of what is certain
KEY, DRAFT = 2, 8


class Lookup:
    """What followed on the last `KEY` tokens when they stood in the context before: the newest such place."""

    def __init__(self, context: Sequence[int]) -> None:
        self._tokens: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}
        for token in context:
            self.add(token)

    def add(self, token: int) -> None:
        """One token more."""
        if len(self._tokens) >= KEY:
            self._after[tuple(self._tokens[-KEY:])] = len(self._tokens)
        self._tokens.append(token)

    def draft(self, most: int, stops: set[int]) -> list[int]:
        """At most so many tokens that may come next, up to the first that ends or cannot be said."""
        at = self._after.get(tuple(self._tokens[-KEY:]))
        out: list[int] = []
        for token in () if at is None else self._tokens[at : at + most]:
            if token in stops:
                break
            out.append(token)
        return out


def generate_greedily(
    said: int,
    following: Callable[[list[int]], list[int]],
    take_back: Callable[[int], None],
    eos: int,
    limit: int,
    banned: Sequence[int] = (),
    heard: Callable[[int], None] = lambda token: None,
    context: Sequence[int] = (),
    draft: int = DRAFT,
) -> tuple[list[int], bool]:
    """What is said from the token ``said`` on, without eos, and whether the limit cut it.

    ``following(tokens)`` reads tokens into the context and gives the likeliest one after each; ``take_back(n)`` has it
    forget the last n. ``heard`` is told of each token as soon as it is known. ``context`` are the token ids that stand
    there already: what followed on the last tokens there is read along as a draft of at most ``draft`` tokens, and kept as
    far as it is what would have been said. The eos is not read.
    """
    lookup = Lookup(context)
    stops = {eos, *banned}
    tokens: list[int] = []
    while said != eos and len(tokens) < limit:
        tokens.append(said)
        heard(said)
        lookup.add(said)
        drafted = lookup.draft(min(draft, limit - len(tokens)), stops)
        after = following([said, *drafted])
        right = next((k for k, token in enumerate(drafted) if token != after[k]), len(drafted))
        if right < len(drafted):
            take_back(len(drafted) - right)
        for token in drafted[:right]:
            tokens.append(token)
            heard(token)
            lookup.add(token)
        said = after[right]
    return tokens, said != eos
