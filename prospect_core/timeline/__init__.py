"""Time and state of an episode: the contract that data, models, metrics and reports share. Pure Python.

Every other part asks this package for decision frames and states of steps.

Conventions (all frame numbers are indices into the video sampled at ``fps``):

* Frame ``i`` is the picture at ``i / fps`` seconds, so at time ``t`` the frames ``0 .. floor(t *
  fps)`` are known.
* A transition at ``t`` is decided at ``ceil(t * fps)``, an assistant turn at ``floor(t * fps)``. A
  user turn comes right after frame ``floor(t * fps)``; every later event waits for the next frame.
* The state of a step follows from its occurrences by the rule of
  `prospect_core.timeline.occurrences`.
* A poll at ``t`` is asked right after frame ``floor(t * fps)``.
* Times are decimals as in the annotation, and ``t * fps`` is computed exactly.
"""

from prospect_core.timeline.dialog_state import CHANGE_RULES, CHANGES, STEP_STATES, Change, DialogState, StepState
from prospect_core.timeline.episode import Episode
from prospect_core.timeline.events import (
    MOST_WORDINGS,
    Decision,
    Event,
    EventKind,
    Utterance,
    sort_timeline_events,
)
from prospect_core.timeline.frame_times import TimelineError, exact_fraction, frame_ceil, frame_floor
from prospect_core.timeline.mistakes import Mistake
from prospect_core.timeline.occurrences import StepOccurrence, StepSpan, find_step_spans, make_occurrence_transitions
from prospect_core.timeline.polls import CandidateInterval, Poll
from prospect_core.timeline.task import Step, Task

__all__ = [
    "CHANGES",
    "CHANGE_RULES",
    "MOST_WORDINGS",
    "STEP_STATES",
    "CandidateInterval",
    "Change",
    "Decision",
    "DialogState",
    "Episode",
    "Event",
    "EventKind",
    "Mistake",
    "Poll",
    "Step",
    "StepOccurrence",
    "StepSpan",
    "StepState",
    "Task",
    "TimelineError",
    "Utterance",
    "exact_fraction",
    "find_step_spans",
    "frame_ceil",
    "frame_floor",
    "make_occurrence_transitions",
    "sort_timeline_events",
]
