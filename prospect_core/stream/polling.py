"""Polls and teacher forcing on a stream: the rules that a protocol sets, and how a poll reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prospect_core.records import PolledAnswer, ReplayProtocol
from prospect_core.timeline import Episode, Poll


@dataclass(frozen=True)
class Answer:
    """The answer to a question.

    Attributes:
        text: What was answered; empty for silence.
        tokens: Its length in tokens; 0 where nobody knows it.
        cut: Whether the limit ended it.
    """

    text: str
    tokens: int = 0
    cut: bool = False


@dataclass(frozen=True)
class StreamRules:
    """What a protocol sets for one stream.

    Attributes:
        speaks: Whether the stream may speak of its own accord.
        gold_replies: Under teacher forcing, what the context holds as the assistant's turn by video frame: it replaces what
            the model said on these and all other frames. None: the model's own words.
    """

    speaks: bool = True
    gold_replies: Mapping[int, str] | None = None

    @staticmethod
    def of(protocol: ReplayProtocol, episode: Episode) -> StreamRules:
        """The rules of a protocol for an episode."""
        gold = {turn.frame: turn.text for turn in episode.utterances()} if protocol.history == "gold" else None
        return StreamRules(protocol.initiative == "autonomous", gold)

    def gold_reply(self, frame: int) -> str | None:
        """The reference that the context holds for a frame; None for none."""
        return None if self.gold_replies is None else self.gold_replies.get(frame)


def format_poll_question(question: str, choices: Sequence[str]) -> str:
    """The question with its choices, each on a line of its own behind its letter."""
    lines = [f"{chr(ord('A') + number)}. {choice}" for number, choice in enumerate(choices)]
    return "\n".join([question, *lines])


def ask_poll(model: Any, poll: Poll, frame: int) -> PolledAnswer:
    """The answer of a model with ``ask`` to a poll, after a frame."""
    answer = model.ask(poll.question, poll.choices, keep=poll.history == "cumulative")
    return PolledAnswer(poll.id, frame, answer.text, answer.tokens, answer.cut)
