"""Extract the model's words from a chat server's reply, or the reason why there are none.

Servers return thinking in separate fields (``reasoning_content``, ``reasoning``), in parts of
``content``, or between marks in the text. All of it is removed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from prospect_core.util.errors import DataError
from prospect_eval.models.silence_probability import TokenChoice, read_token_choices

_NAMES = "think|thinking|thought|thoughts|reasoning|reason|seed:think"
#: marks of thinking in text: tags and marks of particular models; ``end`` ends thinking that has
#: started
_MARK = re.compile(
    rf"(?P<open><(?:{_NAMES})>|\[THINK\]|◁think▷|<\|begin_of_thought\|>"
    r"|<\|channel\|>(?:analysis|commentary)\b[^<]*<\|message\|>)"
    rf"|(?P<close></(?:{_NAMES})>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>)"
    r"|(?P<end><\|(?:end|return)\|>)",
    re.IGNORECASE,
)
#: marks of the "harmony" format around an answer
_FRAME = re.compile(r"<\|start\|>(?:assistant)?|<\|channel\|>final\b[^<]*<\|message\|>|<\|(?:end|return)\|>")
#: kinds of content parts that are the answer; other kinds are thinking, tool calls or not text
_SPOKEN = ("text", "output_text")
#: finish reasons of replies that a token limit cut
_CUT = ("length", "max_tokens", "max_output_tokens")
#: finish reasons of replies that are not answers, and their description in a message
_NO_ANSWER = {
    "content_filter": "a content filter withheld the reply",
    "tool_calls": "the model called a tool instead of answering",
    "function_call": "the model called a tool instead of answering",
    "error": "the server stopped the reply with an error",
    "abort": "the server stopped the reply",
}
#: maximum number of characters that a message quotes from a server
_QUOTED = 200


class NoReplyError(DataError):
    """An accepted request without an answer.

    The model did not choose to be silent, and other requests can succeed.
    """


@dataclass(frozen=True)
class ReplyUsage:
    """Tokens of a request and its reply as the server counts them; None where it does not.

    Attributes:
        prompt_tokens: Tokens of the request.
        cached_tokens: Tokens of the request that the server took from its prefix cache.
        completion_tokens: Tokens of the reply, thinking included.
        cost: Price of the request, in the server's unit.
    """

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    cost: float | None = None


@dataclass(frozen=True)
class Reply:
    """The words of one answer.

    Attributes:
        text: The words; empty if the model says nothing.
        cut: Whether a token limit ended them.
        tokens: Log-probabilities of the tokens; empty if the server sends none, or if they are
            those of thinking.
        usage: Tokens that the server counted.
        retries: Number of retries of the request.
        reused: Whether the reply was stored before.
    """

    text: str
    cut: bool = False
    tokens: tuple[TokenChoice, ...] = ()
    usage: ReplyUsage = ReplyUsage()
    retries: int = 0
    reused: bool = False


def read_chat_reply(completion: Any) -> Reply:
    """Extract the reply from a chat completion.

    Args:
        completion: The completion from the ``openai`` package. The types of its attributes are not
            validated.

    Returns:
        The reply without thinking.

    Raises:
        NoReplyError: The model did not answer: thinking used up the tokens, it refused, or a filter
            withheld the reply.
        DataError: The server sent an error or something else in place of a completion.
    """
    if problem := _server_error(completion):
        raise DataError(f"no usable answer (the server sends an error: {problem})")
    choices = getattr(completion, "choices", None)
    if not isinstance(choices, list) or not choices:
        raise DataError("no usable answer (it holds no choices)")
    choice = choices[0]
    if problem := _server_error(choice):
        raise NoReplyError(f"the server sends an error in place of the reply ({problem})")
    message, reason = getattr(choice, "message", None), getattr(choice, "finish_reason", None)
    if message is None:
        raise DataError("no usable answer (its choice holds no message)")
    content, refusal = _content(getattr(message, "content", None))
    if refusal := getattr(message, "refusal", None) or refusal:
        raise NoReplyError(f"the model refuses to answer ({_quoted(refusal)})")
    if reason in _NO_ANSWER:
        raise NoReplyError(_NO_ANSWER[reason])
    text, thinking = strip_chat_reply_thinking(content)
    thought = thinking or any(getattr(message, name, None) for name in ("reasoning_content", "reasoning"))
    if thinking or (not text and (reason in _CUT or (thought and reason != "stop"))):
        raise NoReplyError(
            f"the reply ended before the answer: its tokens were used up by {'thinking' if thought else 'text before the answer'};"
            " allow more tokens (--request-option max_tokens=N)"
        )
    tokens = read_token_choices(choice)
    # servers with a parser of thinking send the log-probabilities of the thinking too
    answers = not thought and text == content.strip() and _begins(content, tokens)
    return Reply(text, reason in _CUT, tuple(tokens) if answers else (), _usage(completion))


def _begins(content: str, tokens: Sequence[TokenChoice]) -> bool:
    """Return whether the first token with words is the beginning of a reply."""
    first = next((one.token.strip() for one in tokens if one.token.strip()), "")
    special = first.startswith("<") and first.endswith(">")
    return special or "\ufffd" in first or content.lstrip().startswith(first)


def _usage(completion: Any) -> ReplyUsage:
    usage = getattr(completion, "usage", None)
    details = getattr(usage, "prompt_tokens_details", None)
    cost = getattr(usage, "cost", None)
    return ReplyUsage(
        _count(getattr(usage, "prompt_tokens", None)),
        _count(getattr(details, "cached_tokens", None)),
        _count(getattr(usage, "completion_tokens", None)),
        float(cost) if isinstance(cost, int | float) and cost >= 0 else None,
    )


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def strip_chat_reply_thinking(text: str) -> tuple[str, bool]:
    """Remove thinking from a text.

    A closing mark without an opening mark also ends thinking, because some chat templates write the
    opening mark themselves.

    Args:
        text: The model's text.

    Returns:
        The text without thinking, and whether thinking started and did not end.
    """
    kept, place, inside = "", 0, False
    for mark in _MARK.finditer(text):
        if mark.lastgroup == "open" and not inside:
            kept, inside = kept + text[place : mark.start()], True
        elif inside and mark.lastgroup != "open":
            place, inside = mark.end(), False
        elif mark.lastgroup == "close":
            # everything before it was thinking
            kept, place = "", mark.end()
    if not inside:
        kept += text[place:]
    return _FRAME.sub("", kept).strip(), inside


def _content(content: Any) -> tuple[str, str]:
    """Return (text, refusal) of a message's content, which is null, a text or a list of parts."""
    if content is None:
        return "", ""
    if isinstance(content, str):
        return content, ""
    if isinstance(content, list):
        parts = [part if isinstance(part, dict) else {"type": "text", "text": part} for part in content]
        return "".join(_texts(parts, _SPOKEN, "text")), "".join(_texts(parts, ("refusal",), "refusal"))
    raise DataError(f"no usable answer (its content is {type(content).__name__}, neither text nor a list)")


def _texts(parts: Iterable[dict[str, Any]], kinds: Iterable[str], field: str) -> list[str]:
    return [part[field] for part in parts if part.get("type", "text") in kinds and isinstance(part.get(field), str)]


def _server_error(found: Any) -> str:
    """Return the message of an error that was sent with status 200, empty without one."""
    if isinstance(found, str):
        return f"no JSON ({_quoted(found)})"
    error = getattr(found, "error", None)
    if error is None and getattr(found, "object", None) == "error":
        error = getattr(found, "message", None)
    if error is None and not getattr(found, "choices", None) and not hasattr(found, "message"):
        error = getattr(found, "detail", None) or None
    if isinstance(error, dict):
        error = error.get("message") or error
    return _quoted(error) if error else ""


def _quoted(words: object) -> str:
    return " ".join(str(words).split())[:_QUOTED]
