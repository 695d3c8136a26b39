"""Context noise: simulated stream errors in training windows, so that the context differs from the reference.

A model that only sees the reference's updates and replies learns to equate what is written with
what has happened (exposure bias; Ross et al. 2011 describe the general case). Labels follow the
true timeline: an update stays due while the written state differs from the true one.
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

#: largest delay of a late update, in frames
LATEST = 8


@dataclass(frozen=True)
class ContextNoise:
    """Deviations of a simulated stream from the reference of an episode.

    Attributes:
        missed: Frames on which no update is written, even if one is due.
        wrong: By frame, a change (step, change) that is written instead of the due ones, if it is
            legal.
        early: Frames whose replies are written one frame too soon.
        unsaid: Frames whose replies are not written.
    """

    missed: frozenset[int] = frozenset()
    wrong: Mapping[int, tuple[str, Change]] = field(default_factory=dict)
    early: frozenset[int] = frozenset()
    unsaid: frozenset[int] = frozenset()

    def within(self, start: int, end: int) -> ContextNoise:
        """Return the deviations on frames ``start .. end - 1``."""
        inside = frozenset(range(start, end))
        wrong = {frame: change for frame, change in self.wrong.items() if frame in inside}
        return ContextNoise(self.missed & inside, wrong, self.early & inside, self.unsaid & inside)

    def apply_to(self, episode: Episode) -> WrittenContext:
        """Return what a stream with this noise writes over an episode."""
        return build_written_context(episode, self.missed, self.wrong, self.early, self.unsaid)


@dataclass(frozen=True)
class NoiseRates:
    """Rates at which a simulated stream deviates from the reference."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    missed: Share = 0.1
    """Share of updates that are not written before the next one."""
    late: Share = 0.1
    """Share of updates that are written up to 8 frames late (`LATEST`)."""
    wrong: Share = 0.05
    """Share of updates with a wrong one: the same change of another step or, for half of them,
    any legal change on any frame."""
    early: Share = 0.1
    """Share of replies that are written one frame too early."""
    unsaid: Share = 0.1
    """Share of replies that are not written."""

    def draw(self, rng: random.Random, episode: Episode) -> ContextNoise:
        """Draw the noise of an episode."""
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
