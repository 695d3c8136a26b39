"""Which windows of which episodes are trained, and how each begins. Redrawn every epoch, seeded.

python -c "from prospect_core.train.sampling import WindowSampler; help(WindowSampler)"
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from prospect_core.sequence import Context
from prospect_core.timeline import Episode


@dataclass(frozen=True)
class WindowSampler:
    """Draws one window of an episode: around a random event, or anywhere.

    ``min_frames`` and ``max_frames`` bound its length; ``event_share`` is the chance that it holds an event on
    purpose. A window begins the way a stream does after its context was rebuilt: with the tracked state, or with
    blank states (``blank_share``), and with the last ``recent_utterances`` said before it (``recent_share``).
    ``missed_share`` of the updates are left out of the context, while the labels stay true: a stream also misses some,
    and a model that has never seen that takes what is written for what has happened, and never recovers.
    """

    min_frames: int = 8
    max_frames: int = 32
    event_share: float = 0.7
    blank_share: float = 0.1
    recent_share: float = 0.3
    recent_utterances: int = 2
    missed_share: float = 0.1

    def draw(self, rng: random.Random, episode: Episode) -> tuple[Episode, Context, frozenset[int]]:
        """A clip of the episode, the context that its prompt shows, and the frames whose updates are left out."""
        length = min(rng.randint(self.min_frames, self.max_frames), episode.num_frames)
        latest = episode.end_frame - length
        start = rng.randint(episode.start_frame, latest)
        decided = [d.frame for d in episode.decisions() if d.event.kind != "user"]
        if decided and rng.random() < self.event_share:
            frame = rng.choice(decided)
            start = min(max(frame - rng.randrange(length), episode.start_frame), latest)
        window = episode.window(start, start + length)
        blank = start > episode.start_frame and rng.random() < self.blank_share
        recent: tuple[tuple[str, str], ...] = ()
        if rng.random() < self.recent_share:
            recent = said_before(episode, start, self.recent_utterances)
        changed = sorted({f for f, _, _ in window.transitions()})
        missed = frozenset(f for f in changed if rng.random() < self.missed_share)
        return window, Context(None if blank else window.initial_state, "", recent), missed


def said_before(episode: Episode, frame: int, count: int) -> tuple[tuple[str, str], ...]:
    """The last ``count`` turns, of user or assistant, before a frame: (who, text)."""
    turns: Sequence[tuple[str, str]] = [
        ("User" if d.event.kind == "user" else "Assistant", d.event.text)
        for d in episode.decisions()
        if d.event.kind != "transition" and d.frame < frame
    ]
    return tuple(turns[-count:]) if count else ()
