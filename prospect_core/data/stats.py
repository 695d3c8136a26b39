"""Statistics of a split: episodes, videos, hours, turns, words, speaking frames, and how steps are done.

Episodes are counted in parts as they are read, and the counts are added; none stays in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from prospect_core.data.dataset import Dataset
from prospect_core.data.procedure_stats import ProcedureTally
from prospect_core.parallel.process_pool import map_in_process_pool
from prospect_core.timeline import Episode

#: episodes that one process counts per job
PART = 2000


@dataclass
class Tally:
    """Counts over episodes; two tallies can be merged.

    Attributes:
        counts: Sums by name.
        seconds: Length of each episode.
        videos: Seconds by video.
        user_types: Episodes by user type.
        procedure: Counts over the steps.
    """

    counts: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    videos: dict[str, float] = field(default_factory=dict)
    user_types: Counter[str] = field(default_factory=Counter)
    procedure: ProcedureTally = field(default_factory=ProcedureTally)

    def add(self, episode: Episode) -> None:
        """Count one more episode."""
        utterances, users = episode.utterances(), episode.user_turns()
        told = [event.progress for event in episode.events if event.progress]
        length = episode.num_frames / episode.fps
        self.seconds.append(length)
        self.procedure.add(episode)
        self.videos[episode.video] = length
        self.user_types[episode.user_type or "-"] += 1
        self.counts.update(
            frames=episode.num_frames,
            steps=len(episode.task.steps),
            transitions=len(episode.transitions()),
            turns=len(utterances),
            responsive=sum(u.responsive for u in utterances),
            words=sum(len(u.text.split()) for u in utterances),
            asked=len(users),
            asked_words=sum(len(event.text.split()) for _, event in users),
            told=len(told),
            told_words=sum(len(text.split()) for text in told),
            occurrences=len(episode.occurrences),
            mistakes=len(episode.mistakes),
        )

    def merge(self, other: Tally) -> None:
        """Add the counts of another tally."""
        self.counts.update(other.counts)
        self.seconds += other.seconds
        self.videos |= other.videos
        self.user_types += other.user_types
        self.procedure.merge(other.procedure)

    def table(self) -> dict[str, Any]:
        """Return names and values in display order."""
        episodes, n = len(self.seconds), self.counts
        if not episodes:
            return {"episodes": 0}

        def each_of(what: str, of: str) -> float | None:
            return round(n[what] / n[of], 2) if n[of] else None

        annotated = {
            f"{name} an episode (mean)": round(n[name] / episodes, 2) for name in ("occurrences", "mistakes") if n[name]
        }
        return {
            "episodes": episodes,
            "videos": len(self.videos),
            "video hours": round(sum(self.videos.values()) / 3600, 3),
            "episode seconds (median)": round(median(self.seconds), 1),
            "steps an episode (mean)": round(n["steps"] / episodes, 2),
            "transitions an episode (mean)": round(n["transitions"] / episodes, 2),
            **annotated,
            "assistant turns an episode (mean)": round(n["turns"] / episodes, 2),
            "user turns an episode (mean)": round(n["asked"] / episodes, 2),
            "words an assistant turn (mean)": each_of("words", "turns"),
            "words a user turn (mean)": each_of("asked_words", "asked"),
            "words a progress summary (mean)": each_of("told_words", "told"),
            "speaking frames (%)": round(100 * n["turns"] / n["frames"], 2),
            "responsive turns (%)": round(100 * n["responsive"] / max(1, n["turns"]), 1),
            "user types": dict(sorted(self.user_types.items())),
            **self.procedure.table(),
        }


def tally_dataset_stats(episodes: Iterable[Episode]) -> Tally:
    """Count episodes."""
    out = Tally()
    for episode in episodes:
        out.add(episode)
    return out


def make_dataset_stats_table(episodes: Iterable[Episode]) -> dict[str, Any]:
    """Return the statistics table of some episodes."""
    return tally_dataset_stats(episodes).table()


def compute_dataset_stats(
    dataset: Dataset,
    split: str,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Compute the statistics table of a split.

    Args:
        dataset: The dataset.
        split: Name of the split.
        workers: Number of processes; see `open_jsonl_index` for the requirement on scripts.
        progress: Called with (jobs done, jobs in total).
    """
    rows = dataset.rows(split, workers)
    whole = Tally()
    for part in map_in_process_pool(
        tally_dataset_stats, [rows[k : k + PART] for k in range(0, len(rows), PART)], workers, progress
    ):
        whole.merge(part)
    return whole.table()
