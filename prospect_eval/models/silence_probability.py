"""Probability of silence from the log-probabilities that a server sends with a reply.

Servers send, for each token of the reply, its log-probability and those of the most likely tokens in
its place (at most 20 for vLLM and OpenAI). The tokens of the word for silence are followed as far as
the reply follows them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

#: tokens that end a reply; a reply without words is silence
_END = re.compile(r"<\|?(?:im_end|end_of_utterance|eot_id|endoftext|end|eos|end_of_turn|/s)\|?>")
#: number of tokens that are read: a word for silence has fewer
_READ = 12
_MARKS = " \t\n\"'`*"


@dataclass(frozen=True)
class TokenChoice:
    """One token of a reply.

    Attributes:
        token: Text of the token.
        likely: Log-probabilities of the likely tokens in its place, with its own.
    """

    token: str
    likely: dict[str, float]


def read_token_choices(choice: Any) -> list[TokenChoice]:
    """Read the log-probabilities of a choice of a chat completion.

    Args:
        choice: The choice from the ``openai`` package. The types of its attributes are not
            validated.

    Returns:
        One entry for each of the first tokens; empty if the server sends none.
    """
    content = getattr(getattr(choice, "logprobs", None), "content", None)
    out: list[TokenChoice] = []
    for one in content[:_READ] if isinstance(content, list) else []:
        pairs = [_pair(other) for other in (*(getattr(one, "top_logprobs", None) or ()), one)]
        likely = {token: value for token, value in pairs if token is not None and value is not None}
        token = _pair(one)[0]
        if token is None or token not in likely:
            break
        out.append(TokenChoice(token, likely))
    return out


def silence_probability(choices: Sequence[TokenChoice], word: str) -> float | None:
    """Return the probability of silence, as far as the log-probabilities show it.

    The probability of a token that only begins the word, in place of the token of the reply, counts
    as silence. Probability outside the listed tokens does not.

    Args:
        choices: Tokens of the reply.
        word: The word for silence, in capital letters.

    Returns:
        The probability, 0..1; None without log-probabilities.
    """
    if not choices:
        return None
    total, reach, text = 0.0, 1.0, ""
    for choice in choices:
        others = (token for token in choice.likely if token != choice.token)
        total += reach * _sum(choice.likely[token] for token in others if _relation(text, token, word) != "other")
        relation = _relation(text, choice.token, word)
        blank = not (text + choice.token).strip(_MARKS)
        if relation == "other" and not blank:
            break
        reach *= math.exp(choice.likely[choice.token])
        if relation == "silence":
            total += reach
            break
        text += choice.token
    return min(1.0, total)


def _relation(before: str, token: str, word: str) -> Literal["silence", "begins", "other"]:
    """Return whether a token after some text ends the word for silence, or begins it."""
    text = (before + token).lstrip(_MARKS).upper()
    if not before.strip(_MARKS) and (_END.fullmatch(token.strip()) or token == ""):
        return "silence"
    if text.startswith(word):
        return "other" if text[len(word) :][:1].isalnum() else "silence"
    return "begins" if text and word.startswith(text) else "other"


def _sum(logarithms: Iterable[float]) -> float:
    return sum(math.exp(value) for value in logarithms)


def _pair(entry: Any) -> tuple[str | None, float | None]:
    token, value = getattr(entry, "token", None), getattr(entry, "logprob", None)
    if not isinstance(token, str) or not isinstance(value, int | float) or not math.isfinite(value):
        return None, None
    # rounding can put a probability above 1
    return token, min(0.0, float(value))
