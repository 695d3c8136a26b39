"""Handmade episodes and predictions, scored with similarities that need no model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from prospect_core.records import SCHEMA, EpisodeRecord, Knobs, PredictedTransition, PredictedUtterance
from prospect_core.timeline import Change, Episode, Event, Step, Task
from prospect_eval.metrics import ScoringResources
from prospect_eval.scoring.score import score_records

TASK = Task("tea", (Step("S1", "boil"), Step("S2", "pour")))


def same_words(left: Sequence[str], right: Sequence[str]) -> np.ndarray[Any, Any]:
    """Return similarities (left, right): 1 for equal texts, otherwise the share of common words."""
    shares = np.zeros((len(left), len(right)))
    for row, one in enumerate(left):
        for column, other in enumerate(right):
            mine, theirs = set(one.split()), set(other.split())
            shares[row, column] = 1.0 if one == other else len(mine & theirs) / len(mine | theirs)
    return shares


TOOLS = ScoringResources(same_words, "words", lambda a, b: float(a == b), "equal")

#: Hypothesis strategy: sentences of 1 to 9 words out of 7, which share many words
WORDS = st.lists(st.sampled_from(["put", "the", "red", "cup", "away", "now", "please"]), min_size=1, max_size=9).map(
    " ".join
)


def score(*records: EpisodeRecord, name: str | None = None) -> Any:
    """Return all metrics of the records, or the value of one."""
    table = score_records(list(records), TOOLS)
    return table["metrics"] if name is None else table["metrics"][name]["value"]


def episode(*events: Event, frames: int = 40, steps: Task = TASK, video: str = "v", id_: str = "e") -> Episode:
    """Make an episode at 2 frames per second."""
    return Episode(id_, video, 2, 0, frames, steps, tuple(events), dataset="x").validate()


def say(time: float, text: str = "Go on.") -> Event:
    """Make an assistant turn at a time in seconds."""
    return Event(f"a{time}", time, "assistant", text)


def step(time: float, id_: str, change: Change) -> Event:
    """Make a transition of a step at a time in seconds."""
    return Event(f"d{time}{id_}{change}", time, "transition", step=id_, change=change)


def predict(
    reference: Episode,
    utterances: Iterable[tuple[int, str]] = (),
    transitions: Iterable[tuple[int, str, Change]] = (),
    **more: Any,
) -> EpisodeRecord:
    """Make a record of utterances (frame, text) and transitions (frame, step, change)."""
    record = EpisodeRecord(
        SCHEMA,
        "m",
        Knobs(),
        reference,
        utterances=tuple(PredictedUtterance(frame, text) for frame, text in utterances),
        transitions=tuple(PredictedTransition(*transition) for transition in transitions),
        **more,
    )
    assert record.problems() == []
    return record
