"""Polls and teacher forcing on a stream: rules of a protocol, and text of a poll."""

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
        text: Text of the answer; empty for silence.
        tokens: Number of its tokens; 0 if unknown.
        cut: Whether the limit ended it.
    """

    text: str
    tokens: int = 0
    cut: bool = False


@dataclass(frozen=True)
class StreamRules:
    """Rules of a protocol for one stream.

    Attributes:
        speaks: Whether the stream may speak unasked.
        gold_replies: Under teacher forcing, the assistant turns in the context by video frame; they
            replace the model's predictions on all frames. None keeps the model's own.
    """

    speaks: bool = True
    gold_replies: Mapping[int, str] | None = None

    @staticmethod
    def of(protocol: ReplayProtocol, episode: Episode) -> StreamRules:
        """Return the rules of a protocol for an episode."""
        gold = {turn.frame: turn.text for turn in episode.utterances()} if protocol.history == "gold" else None
        return StreamRules(protocol.records_utterances, gold)

    def gold_reply(self, frame: int) -> str | None:
        """Return the reference turn that the context holds for a frame; None for none."""
        return None if self.gold_replies is None else self.gold_replies.get(frame)


def format_poll_question(question: str, choices: Sequence[str]) -> str:
    """Format a question with its choices, each on a separate line after its letter."""
    lines = [f"{chr(ord('A') + number)}. {choice}" for number, choice in enumerate(choices)]
    return "\n".join([question, *lines])


def ask_poll(model: Any, poll: Poll, frame: int) -> PolledAnswer:
    """Ask a poll of a model with ``ask``, after a frame.

    Args:
        model: The model.
        poll: The poll.
        frame: Frame after which it is asked, for the record.
    """
    answer = model.ask(poll.question, poll.choices, keep=poll.history == "cumulative")
    return PolledAnswer(poll.id, frame, answer.text, answer.tokens, answer.cut)
