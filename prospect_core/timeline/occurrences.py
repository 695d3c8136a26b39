"""Executions of steps in real recordings, and the state of a step that follows from them.

An *occurrence* is one execution of a step. A repeated step has several, and occurrences of several
steps may overlap. A step that is interrupted and resumed has one occurrence for each part; a later
part names the part that it ``continues``.

The state of a step follows from its occurrences by one causal rule, so that the state at any time
depends only on the past:

* ``in_progress`` while at least one of its occurrences is open,
* ``completed`` while none is open and at least one has ended,
* ``not_started`` before the first one, and to the end if there is none (a skipped step).

An interruption is not known to be one while it lasts. The step therefore counts as completed until
it is resumed, as it does before a repetition.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import ClassVar

from prospect_core.timeline.dialog_state import Change
from prospect_core.timeline.events import Event, sort_timeline_events
from prospect_core.timeline.frame_times import exact_fraction
from prospect_core.timeline.task import STRICT


@dataclass(frozen=True)
class StepOccurrence:
    """One execution of a step or substep.

    Attributes:
        id: Id, unique in the episode.
        step: Id of the step, or of the substep.
        start: Start in seconds of the video.
        end: End in seconds; not before the start.
        continues: Id of the earlier occurrence that it continues after an interruption.
        part_of: Id of the occurrence of the step to which an occurrence of a substep belongs.
        text: Description of this execution; empty if the data has none.
        labels: Further labels of the source, as it writes them.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    id: str
    step: str
    start: float
    end: float
    continues: str = ""
    part_of: str = ""
    text: str = ""
    labels: str = ""


def make_occurrence_transitions(occurrences: Iterable[StepOccurrence]) -> tuple[Event, ...]:
    """Return the transitions of steps by the rule of this module.

    Occurrences of one step that overlap are joined. One that begins exactly where another one ends
    is a new occurrence: the step is completed and reopened at that time.

    Args:
        occurrences: Occurrences of steps in any order.

    Returns:
        The transitions, with ids ``T1``, ``T2``, ..., in the order of `sort_timeline_events`.
    """
    spans: dict[str, list[tuple[float, float]]] = {}
    for item in sorted(occurrences, key=lambda item: (exact_fraction(item.start), exact_fraction(item.end))):
        joined = spans.setdefault(item.step, [])
        if joined and exact_fraction(item.start) < exact_fraction(joined[-1][1]):
            joined[-1] = (joined[-1][0], max(joined[-1][1], item.end, key=exact_fraction))
        else:
            joined.append((item.start, item.end))
    changes: list[tuple[float, str, Change]] = []
    for step, joined in spans.items():
        for number, (start, end) in enumerate(joined):
            changes += [(start, step, "reopen" if number else "start"), (end, step, "complete")]
    # a stable order: of two changes of one step at one time, the earlier one stays first
    ordered = sorted(changes, key=lambda change: exact_fraction(change[0]))
    names = (f"T{number}" for number in count(1))
    return sort_timeline_events(
        Event(name, time, "transition", step=step, change=change)
        for name, (time, step, change) in zip(names, ordered, strict=False)
    )


@dataclass(frozen=True)
class StepSpan:
    """A span of frames in which a step is in progress: ``first .. end - 1``."""

    step: str
    first: int
    end: int

    @property
    def frames(self) -> int:
        """Number of frames; 0 for a step that is completed on the frame of its start."""
        return self.end - self.first


def find_step_spans(transitions: Iterable[tuple[int, str, Change]], end_frame: int) -> list[StepSpan]:
    """Return the spans between the start (or reopening) of a step and its completion.

    The states of steps follow from them as well as from transitions, so predictions and references
    have the same form.

    Args:
        transitions: (frame, step id, change) in order; the changes of each step are legal.
        end_frame: Frame after the last one, where open spans end.

    Returns:
        The spans in order of their first frames; at equal frames in the order of the transitions.
    """
    return sorted(_pair_changes(transitions, end_frame), key=lambda span: span.first)


def _pair_changes(transitions: Iterable[tuple[int, str, Change]], end_frame: int) -> Iterator[StepSpan]:
    begun: dict[str, int] = {}
    for frame, step, change in transitions:
        if change != "complete":
            begun[step] = frame
        elif step in begun:
            yield StepSpan(step, begun.pop(step), frame)
    yield from (StepSpan(step, first, end_frame) for step, first in begun.items())
