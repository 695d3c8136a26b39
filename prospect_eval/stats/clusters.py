"""Clusters of dependent episodes: the unit of resampling for intervals and tests."""

from __future__ import annotations

from typing import NamedTuple

from prospect_core.timeline import Episode


class Cluster(NamedTuple):
    """The participant, recording or video that dependent episodes share.

    Attributes:
        kind: ``participant``, ``recording`` or ``video``.
        name: Its name.
    """

    kind: str
    name: str

    @property
    def key(self) -> str:
        """The cluster as text: ``participant NAME``, ``recording NAME``, or the name of a video."""
        return self.name if self.kind == "video" else f"{self.kind} {self.name}"

    @staticmethod
    def of_key(key: str) -> Cluster:
        """Return the cluster of a `key`."""
        kind, _, name = key.partition(" ")
        return Cluster(kind, name) if kind in ("participant", "recording") else Cluster("video", key)


def find_episode_cluster(episode: Episode) -> Cluster:
    """Return the cluster of an episode.

    The cluster is the episode's participant, otherwise its recording, otherwise its video. Names of
    participants and recordings include the dataset.
    """
    source = f"{episode.dataset}/" if episode.dataset else ""
    if episode.participant:
        return Cluster("participant", source + episode.participant)
    if episode.recording:
        return Cluster("recording", source + episode.recording)
    return Cluster("video", episode.video)
