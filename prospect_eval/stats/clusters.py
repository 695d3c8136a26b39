"""Clusters of episodes that depend on each other: the unit of resampling of intervals and tests.

python -c "from prospect_eval.stats.clusters import find_episode_cluster; help(find_episode_cluster)"
"""

from __future__ import annotations

from typing import NamedTuple

from prospect_core.timeline import Episode


class Cluster(NamedTuple):
    """What episodes share that depend on each other: a ``participant``, a ``recording`` or a ``video``, by name."""

    kind: str
    name: str

    @property
    def key(self) -> str:
        """As text: the plain name of a video, ``participant NAME`` or ``recording NAME``."""
        return self.name if self.kind == "video" else f"{self.kind} {self.name}"

    @staticmethod
    def of_key(key: str) -> Cluster:
        """The cluster that `key` wrote."""
        kind, _, name = key.partition(" ")
        return Cluster(kind, name) if kind in ("participant", "recording") else Cluster("video", key)


def find_episode_cluster(episode: Episode) -> Cluster:
    """The participant of an episode, else its recording (both are named per dataset), else its video."""
    source = f"{episode.dataset}/" if episode.dataset else ""
    if episode.participant:
        return Cluster("participant", source + episode.participant)
    if episode.recording:
        return Cluster("recording", source + episode.recording)
    return Cluster("video", episode.video)
