"""Events of an episode: user turns, step transitions and assistant turns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice, product
from typing import ClassVar, Literal

from prospect_core.timeline.dialog_state import Change
from prospect_core.timeline.frame_times import exact_fraction
from prospect_core.timeline.task import STRICT

EventKind = Literal["user", "transition", "assistant"]

KIND_ORDER: dict[EventKind, int] = {"user": 0, "transition": 1, "assistant": 2}
#: largest number of accepted wordings of one utterance
MOST_WORDINGS = 64


@dataclass(frozen=True)
class Event:
    """An event at a time: a user turn, a step transition, or an assistant turn.

    Attributes:
        id: Id, unique in the episode.
        time: Time in seconds of the video.
        kind: ``user``, ``transition`` or ``assistant``.
        text: Text of a turn; empty for a transition.
        step: Step id of a transition.
        change: Change of a transition.
        labels: Labels of the source, as it writes them.
        progress: Progress summary of the source.
        slots: Contents of an assistant turn by name.
        question: Kind of a user question; empty for other turns.
        accepted: Values that answer a user question.
        frame: Decision frame, if the source defines it (rows of other formats, clips of an
            episode).
        alternatives: Further wordings of an assistant turn that are as correct as its text.
        reply_span: (start, end) in seconds: the assistant turn is correct at any time in between.
        answers_to: Id of the user turn that an assistant turn answers.
        group: Assistant turns of one group belong to one item of the source.
        open_until: End of a standing question, in seconds: a user turn that stays open until it is
            answered, at the latest until this time.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    id: str
    time: float
    kind: EventKind
    text: str = ""
    step: str = ""
    change: Change | Literal[""] = ""
    labels: str = ""
    progress: str = ""
    slots: dict[str, str] = field(default_factory=dict)
    question: str = ""
    accepted: tuple[str, ...] = ()
    frame: int | None = None
    alternatives: tuple[str, ...] = ()
    reply_span: tuple[float, float] | None = None
    answers_to: str = ""
    group: str = ""
    open_until: float | None = None

    @property
    def label(self) -> str:
        """Short form for messages: ``S1->start`` or ``assistant 'text'``."""
        return f"{self.step}->{self.change}" if self.kind == "transition" else f"{self.kind} {self.text[:40]!r}"


@dataclass(frozen=True)
class Decision:
    """An event with its decision frame; a user turn comes after that frame."""

    event: Event
    frame: int


@dataclass(frozen=True)
class Utterance:
    """Assistant text on one frame: one assistant turn, or several joined ones.

    Attributes:
        frame: Decision frame.
        text: Text.
        ids: Ids of the turns.
        responsive: Whether it answers the user.
        events: The turns.
    """

    frame: int
    text: str
    ids: tuple[str, ...]
    responsive: bool
    events: tuple[Event, ...]

    @property
    def wordings(self) -> tuple[str, ...]:
        """Every accepted wording, ``text`` first.

        Joined turns have the combinations of their wordings, at most `MOST_WORDINGS`.
        """
        if not any(event.alternatives for event in self.events):
            return (self.text,)
        choices = [(event.text, *event.alternatives) for event in self.events]
        combined = (" ".join(text.strip() for text in chosen) for chosen in product(*choices))
        return tuple(dict.fromkeys(islice(combined, MOST_WORDINGS)))


def sort_timeline_events(events: Iterable[Event]) -> tuple[Event, ...]:
    """Sort events by exact time; at equal times user, transitions as written, assistant."""
    return tuple(sorted(events, key=lambda e: (exact_fraction(e.time), KIND_ORDER[e.kind])))
