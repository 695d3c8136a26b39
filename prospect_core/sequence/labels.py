"""Labels of training windows for the four objectives and for mistakes, frame by frame."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from prospect_core.timeline import STEP_STATES, DialogState, Episode

#: label without loss
IGNORE = -100


def known_steps_for_sequence_labels(episode: Episode, shown: DialogState | None) -> frozenset[str]:
    """Return the steps whose state at an episode's start the prompt shows.

    Args:
        episode: Episode of the window.
        shown: State in the prompt; None if the states are blank.

    Returns:
        All steps; none if the states are blank and any step has started.
    """
    blank = shown is None and any(state != STEP_STATES[0] for state in episode.initial_state.states)
    return frozenset() if blank else frozenset(episode.task.step_ids)


def make_sequence_state_labels(
    episode: Episode, known: frozenset[str], supervised: Collection[int] | None
) -> list[list[int]]:
    """Label the state of each step on each frame.

    Args:
        episode: Episode of the window.
        known: Steps that are supervised from the start; others are supervised from their first
            transition.
        supervised: Frames that carry loss; all if None.

    Returns:
        For each frame and step, an index into `STEP_STATES` or `IGNORE`.
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
    """Label events: 1 on their frames and on ``overdue`` ones, `IGNORE` on adjacent frames, 0 elsewhere."""
    return [1 if f in events or f in overdue else IGNORE if {f - 1, f + 1} & events else 0 for f in frames]


def make_sequence_mistake_labels(episode: Episode, frames: Sequence[int]) -> list[int]:
    """Label the frames on which the filmed person is making a mistake.

    Args:
        episode: The whole episode. A mistake without a time, such as a skipped step, has no frames.
        frames: Frames to label.

    Returns:
        1 on frames inside the span of a mistake, 0 elsewhere.
    """
    wrong: set[int] = set()
    for mistake in episode.mistakes:
        if mistake.span is not None:
            wrong.update(episode.span_frames(mistake.span))
    return [int(frame in wrong) for frame in frames]


def mask_unsupervised_sequence_labels(
    supervised: Collection[int] | None, frames: Sequence[int], labels: list[int]
) -> list[int]:
    """Replace labels of unsupervised frames by `IGNORE`; None supervises all."""
    if supervised is None:
        return labels
    return [label if f in supervised else IGNORE for f, label in zip(frames, labels, strict=True)]
