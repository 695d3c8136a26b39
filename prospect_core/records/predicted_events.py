"""Events of a replay: transitions, utterances, refusals, compressions, answers, reports of mistakes."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import ClassVar, Literal

from prospect_core.timeline import Change
from prospect_core.timeline.task import STRICT

#: kinds of lengths of a stream
LengthKind = Literal["frames", "tokens", "compressions"]


def utterance_has_words(text: str) -> bool:
    """Check whether a text holds a letter, a digit or a symbol, not only punctuation and blanks."""
    return any(unicodedata.category(character)[0] in "LNS" for character in text)


@dataclass(frozen=True)
class PredictedTransition:
    """An accepted step change.

    Attributes:
        frame: Video frame on which it takes effect: under the clock ``replay`` the frame on which
            it was decided, under the others the last frame that has arrived when its step ends.
        step: Id of the step.
        change: The change.
        decided: Video frame on which it was decided; None for ``frame``.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    frame: int
    step: str
    change: Change
    decided: int | None = None

    @property
    def decision_frame(self) -> int:
        """Video frame on which it was decided."""
        return self.frame if self.decided is None else self.decided


@dataclass(frozen=True)
class PredictedUtterance:
    """A predicted utterance at a video frame.

    Attributes:
        frame: Video frame on which it is ready to be spoken: under the clock ``replay`` the frame
            on which it was decided, under the others the last frame that has arrived when it has
            been generated.
        text: Its text.
        tokens: Number of its tokens.
        cut: Whether the reply limit ended it before its end token.
        decided: Video frame on which it was decided; None for ``frame``.
        spoken: (start, end) of its speech in seconds of the video; None under the clock ``replay``.
        words_heard: Number of words that were spoken before a user turn interrupted it; None if it
            was spoken to its end.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    frame: int
    text: str
    tokens: int = 0
    cut: bool = False
    decided: int | None = None
    spoken: tuple[float, float] | None = None
    words_heard: int | None = None

    @property
    def decision_frame(self) -> int:
        """Video frame on which it was decided."""
        return self.frame if self.decided is None else self.decided


@dataclass(frozen=True)
class Refusal:
    """A predicted state that the state machine does not allow."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    frame: int
    step: str
    wanted: str


@dataclass(frozen=True)
class CompressionEvent:
    """A compression by a context strategy when the cache reached its budget.

    Attributes:
        frame: Video frame after which it happened.
        strategy: Name of the strategy.
        tokens_before: Tokens of the context before.
        tokens_after: Tokens of the context after.
        bytes_before: Bytes of the cache before.
        bytes_after: Bytes of the cache after.
        text: The new prompt if it was rebuilt; empty otherwise.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    frame: int
    strategy: str
    tokens_before: int
    tokens_after: int
    bytes_before: int
    bytes_after: int
    text: str = ""


@dataclass(frozen=True)
class UnseenLength:
    """First length of a stream beyond the longest in training.

    Attributes:
        kind: Frames since the start of the stream or its last compression, tokens of the context,
            or compressions.
        frame: Video frame on which the stream reached it.
        trained: The longest in training.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    kind: LengthKind
    frame: int
    trained: int


@dataclass(frozen=True)
class PolledAnswer:
    """The answer to a poll.

    Attributes:
        poll: Id of the poll.
        frame: Video frame after which it was asked.
        text: Text of the answer.
        tokens: Number of its tokens.
        cut: Whether the limit ended it before its end token.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    poll: str
    frame: int
    text: str
    tokens: int = 0
    cut: bool = False


@dataclass(frozen=True)
class PredictedMistake:
    """A mistake of the filmed person that the model reports.

    Attributes:
        frame: Video frame on which it was decided.
        step: Id of the step in which it happens; empty if the model names none.
        tag: Kind of the mistake; empty if the model names none.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    frame: int
    step: str = ""
    tag: str = ""


@dataclass(frozen=True)
class PredictedNextStep:
    """From this video frame on, until the next such entry, the model expects this step to start next."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    frame: int
    step: str
