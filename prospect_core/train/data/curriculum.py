"""Curriculum: which episodes and window lengths each part of the training uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from prospect_core.timeline import Episode
from prospect_core.util.ranges import STRICT, PositiveShare


@dataclass(frozen=True)
class Curriculum:
    """Curriculum from easy episodes and short windows to all.

    Training begins with the ``start`` share of episodes (the easiest) and of the longest window,
    and uses all from the ``until`` share of the training. Difficulty is the number of steps plus
    the number of events per minute.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    start: PositiveShare = 0.3
    """Share of the episodes, and of the longest window, at the start of training."""
    until: PositiveShare = 0.5
    """Share of the training after which all are used."""

    def share(self, progress: float) -> float:
        """Return the share of episodes and window length in use, linear from ``start`` to 1.

        Args:
            progress: Share of the training that is done, 0 to 1.
        """
        if progress >= self.until:
            return 1.0
        return self.start + (1 - self.start) * progress / self.until

    def longest(self, min_frames: int, max_frames: int, progress: float) -> int:
        """Return the maximum number of frames of a window.

        Args:
            min_frames: Lower bound of the result.
            max_frames: Maximum at the end of the curriculum.
            progress: Share of the training that is done, 0 to 1.
        """
        return max(min_frames, round(self.share(progress) * max_frames))

    def admitted(self, count: int, progress: float) -> int:
        """Return how many of ``count`` episodes, easiest first, are in use; at least one."""
        return max(1, round(self.share(progress) * count))

    @staticmethod
    def ranked(episodes: Sequence[Episode]) -> list[int]:
        """Return the indices of the episodes, easiest first."""
        return sorted(range(len(episodes)), key=lambda k: (curriculum_difficulty(episodes[k]), k))


def curriculum_difficulty(episode: Episode) -> float:
    """Return the number of steps plus the events per minute."""
    return len(episode.task.steps) + len(episode.events) * 60 * episode.fps / episode.num_frames
