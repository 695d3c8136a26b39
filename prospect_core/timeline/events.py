"""What happens in an episode: user turns, step transitions and assistant turns."""

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
#: accepted wordings of one utterance
MOST_WORDINGS = 64


@dataclass(frozen=True)
class Event:
    """Something that happens at a moment: a user turn, a step transition, or an assistant turn.

    Attributes:
        id: Unique in the episode.
        time: Seconds of the video.
        kind: ``user``, ``transition`` or ``assistant``.
        text: What is said; empty for a transition.
        step: The step of a transition.
        change: The change of a transition.
        labels: Labels of the source, as it writes them.
        progress: A progress summary of the source.
        slots: The content of an assistant turn by name.
        question: The kind of a user question; empty for other turns.
        accepted: Values that answer a user question.
        frame: The decision frame, where the source fixes it (rows of other formats, clips of an episode).
        alternatives: Further wordings of an assistant turn that are as right as its text.
        reply_span: (start, end) in seconds: the assistant turn is right anywhere between them.
        answers_to: Id of the user turn that an assistant turn answers.
        group: Assistant turns of one group belong to one item of the source.
        open_until: A user turn with it is a standing question: it stays open until it is answered or until this time, in
            seconds.
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
    """An event with the frame on which the assistant must decide on it (or after which a user turn comes)."""

    event: Event
    frame: int


@dataclass(frozen=True)
class Utterance:
    """What the assistant says on one frame: one assistant turn, or several joined (all ids kept)."""

    frame: int
    text: str
    ids: tuple[str, ...]
    responsive: bool
    events: tuple[Event, ...]

    @property
    def wordings(self) -> tuple[str, ...]:
        """Every accepted wording, ``text`` first. Joined turns have the combinations of theirs, at most `MOST_WORDINGS`."""
        if not any(event.alternatives for event in self.events):
            return (self.text,)
        choices = [(event.text, *event.alternatives) for event in self.events]
        combined = (" ".join(text.strip() for text in chosen) for chosen in product(*choices))
        return tuple(dict.fromkeys(islice(combined, MOST_WORDINGS)))


def sort_timeline_events(events: Iterable[Event]) -> tuple[Event, ...]:
    """Canonical order: by exact time; at equal times user, transitions as written, assistant."""
    return tuple(sorted(events, key=lambda e: (exact_fraction(e.time), KIND_ORDER[e.kind])))
