"""Short and easy first: which episodes and which window lengths a share of the training may use.

python -c "from prospect_core.train.data.curriculum import Curriculum; print(Curriculum(0.2, 0.5).share(0.25))"
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from prospect_core.timeline import Episode
from prospect_core.util.ranges import STRICT, PositiveShare


@dataclass(frozen=True)
class Curriculum:
    """Begins with the ``start`` share of episodes (the easiest) and of the longest window; all from ``until`` on.

    Both are shares in 0..1; ``until`` is a share of the whole training. Difficulty is the number of steps plus the
    number of events a minute.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    start: PositiveShare = 0.3
    """Share of the episodes, and of the longest window, that training begins with."""
    until: PositiveShare = 0.5
    """Share of the training after which all are in use."""

    def share(self, progress: float) -> float:
        """Share of episodes and of window length in use at a ``progress`` of 0..1: linear from ``start`` to 1."""
        if progress >= self.until:
            return 1.0
        return self.start + (1 - self.start) * progress / self.until

    def longest(self, min_frames: int, max_frames: int, progress: float) -> int:
        """Frames that a window may have."""
        return max(min_frames, round(self.share(progress) * max_frames))

    def admitted(self, count: int, progress: float) -> int:
        """How many of ``count`` episodes, the easiest first, are in use; at least one."""
        return max(1, round(self.share(progress) * count))

    @staticmethod
    def ranked(episodes: Sequence[Episode]) -> list[int]:
        """Indices of the episodes, easiest first."""
        return sorted(range(len(episodes)), key=lambda k: (curriculum_difficulty(episodes[k]), k))


def curriculum_difficulty(episode: Episode) -> float:
    """Steps to track plus events a minute."""
    return len(episode.task.steps) + len(episode.events) * 60 * episode.fps / episode.num_frames
