"""Text that a stream has written into its context, frame by frame: updates, replies, user turns."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from prospect_core.sequence.layout import FrameText
from prospect_core.timeline import Change, DialogState, Episode


@dataclass(frozen=True)
class WrittenContext:
    """Text of an episode's frames.

    Attributes:
        text: Text after each frame's image slots; frames without text are omitted.
        due: Frames on which the written state differs from the true one, so that an update is due.
        early: Reference frames of the replies that are written one frame earlier.
    """

    text: Mapping[int, FrameText]
    due: frozenset[int]
    early: frozenset[int] = frozenset()


def build_written_context(
    episode: Episode,
    missed: Collection[int] = (),
    wrong: Mapping[int, tuple[str, Change]] | None = None,
    early: frozenset[int] = frozenset(),
    unsaid: frozenset[int] = frozenset(),
) -> WrittenContext:
    """Build the context of a stream that follows the reference except for given deviations.

    An update brings the written state to the true state, as in a stream; it stays due while the two
    differ. A reply is never written before the question that it answers, nor on another turn's
    frame.

    Args:
        episode: The episode, or a clip of one.
        missed: Frames on which no update is written.
        wrong: By frame, a transition that is written instead of the true ones, if it is legal.
        early: Frames whose replies are written one frame earlier.
        unsaid: Frames whose replies are not written.
    """
    users: dict[int, list[str]] = {}
    for frame, event in episode.user_turns():
        users.setdefault(frame, []).append(event.text)
    turns = {utterance.frame: utterance.text for utterance in episode.utterances()}
    moved = frozenset(
        frame
        for frame in (early & turns.keys()) - unsaid
        if frame > episode.start_frame and frame - 1 not in {*turns, *users}
    )
    replies = {frame - (frame in moved): text for frame, text in turns.items() if frame not in unsaid}
    updates, due = _write_updates(episode, missed, wrong or {})
    text = {
        frame: FrameText(updates.get(frame, ()), replies.get(frame), " ".join(users[frame]) if frame in users else None)
        for frame in {*updates, *replies, *users}
    }
    return WrittenContext(text, due, moved)


def _write_updates(
    episode: Episode, missed: Collection[int], wrong: Mapping[int, tuple[str, Change]]
) -> tuple[dict[int, tuple[tuple[str, Change], ...]], frozenset[int]]:
    """Return (transitions written by frame, frames on which an update is due)."""
    states = dict(episode.states_by_change())
    true = written = states[episode.start_frame - 1]
    updates: dict[int, tuple[tuple[str, Change], ...]] = {}
    due = set()
    for frame in range(episode.start_frame, episode.end_frame):
        true = states.get(frame, true)
        changes = tuple(written.path_to(true.states))
        if changes:
            due.add(frame)
        if frame in missed:
            changes = ()
        if frame in wrong and written.is_legal(*wrong[frame]):
            changes = (wrong[frame],)
        if changes:
            updates[frame] = changes
            written = _apply(written, changes, frame / episode.fps)
    return updates, frozenset(due)


def _apply(state: DialogState, changes: tuple[tuple[str, Change], ...], time_s: float) -> DialogState:
    for change in changes:
        state = state.apply(*change, time_s)
    return state
