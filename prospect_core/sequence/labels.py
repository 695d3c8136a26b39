"""Labels of a training window: what the four objectives learn on each frame."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from prospect_core.timeline import STEP_STATES, DialogState, Episode

#: marks what carries no loss
IGNORE = -100


def known_steps_for_sequence_labels(episode: Episode, shown: DialogState | None) -> frozenset[str]:
    """The steps whose state at an episode's start the prompt tells.

    Args:
        episode: The window's episode.
        shown: The state in the prompt; None where it leaves states blank.

    Returns:
        All steps, or none where states are left blank that are not all ``not_started``.
    """
    blank = shown is None and any(state != STEP_STATES[0] for state in episode.initial_state.states)
    return frozenset() if blank else frozenset(episode.task.step_ids)


def make_sequence_state_labels(
    episode: Episode, known: frozenset[str], supervised: Collection[int] | None
) -> list[list[int]]:
    """The class of each step on each frame.

    Args:
        episode: The window's episode.
        known: Steps whose state is supervised from the start; others are from their first transition on.
        supervised: Frames that carry loss; None for all.

    Returns:
        For each frame, for each step, an index into `STEP_STATES` or `IGNORE`.
    """
    changed: dict[int, set[str]] = {}
    for frame, step, _ in episode.transitions():
        changed.setdefault(frame, set()).add(step)
    states = dict(episode.states_by_change())
    now, seen = states[episode.start_frame - 1], set(known)
    labels = []
    for frame in range(episode.start_frame, episode.end_frame):
        now = states.get(frame, now)
        seen |= changed.get(frame, set())
        learnt = seen if supervised is None or frame in supervised else set()
        labels.append(
            [
                STEP_STATES.index(state) if step in learnt else IGNORE
                for step, state in zip(now.step_ids, now.states, strict=True)
            ]
        )
    return labels


def make_sequence_event_labels(frames: Sequence[int], events: set[int], overdue: Collection[int] = ()) -> list[int]:
    """Binary labels by frame: 1 at an event and where one is ``overdue``, `IGNORE` on the frames right next to an event,
    0 elsewhere."""
    return [1 if f in events or f in overdue else IGNORE if {f - 1, f + 1} & events else 0 for f in frames]


def mask_unsupervised_sequence_labels(
    supervised: Collection[int] | None, frames: Sequence[int], labels: list[int]
) -> list[int]:
    """The labels of supervised frames (None: all), `IGNORE` for the others."""
    if supervised is None:
        return labels
    return [label if f in supervised else IGNORE for f, label in zip(frames, labels, strict=True)]
