"""Greedy decoding with prompt lookup: the same tokens as one-by-one decoding in fewer forward passes.

Drafts come from earlier occurrences of the last tokens in the context (prompt lookup decoding).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

#: number of last tokens that are looked up, and the longest draft in tokens
KEY, DRAFT = 2, 8


class Lookup:
    """Index of a context by its last `KEY` tokens, which drafts what followed their newest occurrence.

    Args:
        context: Token ids so far.
    """

    def __init__(self, context: Sequence[int]) -> None:
        self._tokens: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}
        for token in context:
            self.add(token)

    def add(self, token: int) -> None:
        """Append a token."""
        if len(self._tokens) >= KEY:
            self._after[tuple(self._tokens[-KEY:])] = len(self._tokens)
        self._tokens.append(token)

    def draft(self, most: int, stops: set[int]) -> list[int]:
        """Draft the next tokens.

        Args:
            most: Maximum number of tokens.
            stops: Ids before which a draft ends.
        """
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
    """Decode greedily.

    Args:
        said: First token of the result.
        following: Reads tokens into the context; returns the likeliest token after each.
        take_back: Removes the last n tokens from the context.
        eos: Id that ends the result; it is not read into the context.
        limit: Maximum number of tokens.
        banned: Ids that ``following`` never returns, at which a draft ends.
        heard: Called with each token when it is decided.
        context: Token ids already in the context, from which drafts come.
        draft: Maximum tokens of a draft; a draft is kept as far as it equals the greedy result.

    Returns:
        (tokens without eos, whether the limit ended the result).
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
