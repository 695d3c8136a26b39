"""Learning from training episodes, or from the other videos of the evaluated split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Generic, TypeVar

from prospect_core.timeline import Episode
from prospect_eval.stats.clusters import find_episode_cluster

#: maximum number of folds; with more videos, several are left out together
FOLDS = 50

Fact = TypeVar("Fact")
Learned = TypeVar("Learned")


class HeldOutLearner(Generic[Fact, Learned]):
    """Learns for each episode without the episode's own video, recording or participant.

    Each part is described and learned from once, on first use.

    Args:
        training: Episodes to learn from. If empty, ``episodes`` are used, without the cluster of
            the requested episode.
        episodes: The episodes that will be requested.
        describe: Returns the contribution of one episode.
        learn: Learns from contributions.
    """

    def __init__(
        self,
        training: Sequence[Episode],
        episodes: Sequence[Episode],
        describe: Callable[[Episode], Fact],
        learn: Callable[[Sequence[Fact]], Learned],
    ) -> None:
        self._leaves_out = not training
        self._episodes = training or episodes
        self._describe = describe
        self._learn = learn
        self._learned: dict[int, Learned] = {}

    def learn_for(self, episode: Episode) -> Learned:
        """Return the result of learning for an episode."""
        fold = self._folds.get(_cluster(episode), -1) if self._leaves_out else -1
        if fold not in self._learned:
            some = [fact for cluster, fact in self._by_cluster if self._folds[cluster] != fold]
            self._learned[fold] = self._learn(some)
        return self._learned[fold]

    @property
    def facts(self) -> list[Fact]:
        """Contributions of all episodes."""
        return [fact for _, fact in self._by_cluster]

    @cached_property
    def _by_cluster(self) -> list[tuple[str, Fact]]:
        return [(_cluster(episode), self._describe(episode)) for episode in self._episodes]

    @cached_property
    def _folds(self) -> dict[str, int]:
        """The fold of each cluster, which is left out as a whole."""
        return {name: k % FOLDS for k, name in enumerate(sorted({cluster for cluster, _ in self._by_cluster}))}


def _cluster(episode: Episode) -> str:
    return find_episode_cluster(episode).key
