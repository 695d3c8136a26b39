"""Context noise: simulated stream errors in training windows, so that the context differs from the reference.

    python -c "from prospect_core.sequence.context_noise import *; help(ContextNoise)"

A model that is only ever shown the reference's updates and replies takes what is written for what has happened (exposure
bias; Ross et al. 2011 is the general case). Labels tell the truth whatever is written, and that there is something to
write for as long as it differs.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar

from prospect_core.sequence.written_context import WrittenContext, build_written_context
from prospect_core.timeline import CHANGE_RULES, CHANGES, Change, Episode
from prospect_core.util.ranges import STRICT, Share

#: a late update comes within so many frames
LATEST = 8


@dataclass(frozen=True)
class ContextNoise:
    """Frames of an episode on which a stream does otherwise than the reference.

    On those in ``missed`` no update is written though one may be due; on those of ``wrong`` this change of a step is
    written instead of what is due, if it is legal then. Replies of the frames in ``early`` are said a frame too soon, those in
    ``unsaid`` not at all.
    """

    missed: frozenset[int] = frozenset()
    wrong: Mapping[int, tuple[str, Change]] = field(default_factory=dict)
    early: frozenset[int] = frozenset()
    unsaid: frozenset[int] = frozenset()

    def within(self, start: int, end: int) -> ContextNoise:
        """Those of frames ``start .. end - 1``."""
        inside = frozenset(range(start, end))
        wrong = {frame: change for frame, change in self.wrong.items() if frame in inside}
        return ContextNoise(self.missed & inside, wrong, self.early & inside, self.unsaid & inside)

    def apply_to(self, episode: Episode) -> WrittenContext:
        """What a stream with this noise writes over an episode."""
        return build_written_context(episode, self.missed, self.wrong, self.early, self.unsaid)


@dataclass(frozen=True)
class NoiseRates:
    """How often a simulated stream departs from the reference."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    missed: Share = 0.1
    """Share of the updates that are not written before another one is."""
    late: Share = 0.1
    """Share of the updates that are written up to `LATEST` frames later."""
    wrong: Share = 0.05
    """Share of the updates with a wrong one: the same change of another step or, half of them, any legal change on any
    frame."""
    early: Share = 0.1
    """Share of the replies that are said one frame too early."""
    unsaid: Share = 0.1
    """Share of the replies that are not said."""

    def draw(self, rng: random.Random, episode: Episode) -> ContextNoise:
        """Noise for a whole episode."""
        missed, wrong = self._updates(rng, episode)
        said = [u.frame for u in episode.utterances()]
        early = frozenset(frame for frame in said if rng.random() < self.early)
        unsaid = frozenset(frame for frame in said if rng.random() < self.unsaid) - early
        return ContextNoise(missed, wrong, early, unsaid)

    def _updates(self, rng: random.Random, episode: Episode) -> tuple[frozenset[int], dict[int, tuple[str, Change]]]:
        missed: set[int] = set()
        wrong: dict[int, tuple[str, Change]] = {}
        changes = {frame: change for frame, _, change in episode.transitions()}
        for frame, following in pairwise([*sorted(changes), episode.end_frame]):
            kind = rng.random()
            if kind < self.missed:
                missed |= set(range(frame, following))
            elif kind < self.missed + self.late:
                missed |= set(range(frame, frame + rng.randint(1, LATEST)))
            if rng.random() < self.wrong:
                anywhere = rng.random() < 0.5
                at = rng.randrange(episode.start_frame, episode.end_frame) if anywhere else frame
                kinds = CHANGES if anywhere else (changes[frame],)
                before = episode.state_at(at - 1)
                now = episode.state_at(at)
                found = [
                    (step, kind)
                    for step in before.step_ids
                    for kind in kinds
                    if before.is_legal(step, kind) and now[step] != CHANGE_RULES[kind][1]
                ]
                if found:
                    wrong[at] = rng.choice(found)
        return frozenset(missed), wrong
