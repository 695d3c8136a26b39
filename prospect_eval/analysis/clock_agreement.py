"""Agreement of the decisions of two replays of the same episodes, such as under two clocks."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from prospect_core.records import EpisodeRecord

#: (episode, decision frame, content)
Decided = tuple[str, int, str]


def list_record_decisions(record: EpisodeRecord) -> set[Decided]:
    """Return the utterances and transitions of a record with the frames of their decision."""
    episode = record.episode.id
    said = [(episode, u.decision_frame, f"says {u.text}") for u in (*record.utterances, *record.undelivered)]
    moved = [(episode, t.decision_frame, f"{t.step}->{t.change}") for t in record.transitions]
    return {*said, *moved}


def compute_clock_agreement(first: Iterable[EpisodeRecord], second: Iterable[EpisodeRecord]) -> float:
    """Return the share of decisions that two replays have in common.

    A decision is an utterance with its text, or a transition, on its decision frame.

    Args:
        first: Records of one replay.
        second: Records of the other replay.

    Returns:
        Common decisions over the decisions of either replay, 0 to 1; 1 if both have none.
    """
    sides = [set(chain.from_iterable(map(list_record_decisions, records))) for records in (first, second)]
    either = sides[0] | sides[1]
    return len(sides[0] & sides[1]) / len(either) if either else 1.0
