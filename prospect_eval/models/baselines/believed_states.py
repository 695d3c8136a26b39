"""A state tracker that follows a belief about every step, for baselines that are no models."""

from __future__ import annotations

from collections.abc import Sequence

from prospect_core.timeline import Change, Episode, StepState


def track_believed_states(episode: Episode, believed: Sequence[Sequence[StepState]]) -> list[tuple[int, str, Change]]:
    """Return the transitions of a tracker that applies every legal change towards a belief.

    It keeps the state of a step that the belief cannot reach legally, such as a completed step that
    is believed to be not started.

    Args:
        episode: The episode.
        believed: Believed state of each step after each frame.

    Returns:
        (frame, step id, change) in order of time.
    """
    state = episode.initial_state
    out: list[tuple[int, str, Change]] = []
    followed: Sequence[StepState] | None = None
    for frame, states in enumerate(believed, episode.start_frame):
        if states == followed:
            continue
        followed = states
        for step, _, changes in state.changes_to(states):
            for change in changes:
                state = state.apply(step, change, frame / episode.fps)
                out.append((frame, step, change))
    return out
