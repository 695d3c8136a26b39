"""A shard: some of a run's records in one process, with the operations of scoring.

Scoring first asks every shard for an outline (texts to embed, references, labels), then for the
counts of its episodes, and last for some of the intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from prospect_core.records import EpisodeRecord, serialize_record_for_digest
from prospect_core.util.json_io import digest_json
from prospect_eval.metrics import Scored, ScoringResources, all_metrics, rival_timing
from prospect_eval.metrics.corpus import Corpus
from prospect_eval.scoring.sufficient_statistics import (
    EpisodeCounts,
    MetricJob,
    episode_sufficient_statistics,
    sufficient_statistics_labels,
)


@dataclass(frozen=True)
class ShardOutline:
    """Contents of a shard.

    Attributes:
        corpus: References of all its records.
        texts: Texts to embed.
        labels: Kinds of label of its reference turns.
        episodes: Digest of the reference of each episode.
        parts: Serialized prediction of each episode, for the digest of predictions.
        failed: Ids of the episodes without a prediction.
        error: Error of the first failed episode.
    """

    corpus: Corpus
    texts: set[str]
    labels: set[str]
    episodes: dict[str, str]
    parts: dict[str, bytes]
    failed: list[str]
    error: str


class RecordShard:
    """Some of the records of a run.

    Attributes:
        records: The records.
        resources: Resources for scoring.
        scored: View of each record.
    """

    def __init__(self, records: Sequence[EpisodeRecord], resources: ScoringResources) -> None:
        self.records, self.resources = records, resources
        self.scored = [Scored(record, resources) for record in records]

    def outline(self) -> ShardOutline:
        """Return the contents of the shard that are needed before counting."""
        failed = {record.episode.id: record.error for record in self.records if record.status != "ok"}
        texts = {text for item in self.scored for _, text in item.predictions}
        texts |= {text for item in self.scored for wordings in item.wordings for text in wordings}
        for item in self.scored:
            texts |= {text for replies in rival_timing.rival_timing_texts_in_spans(item) for _, text in replies}
        return ShardOutline(
            Corpus.of(record.episode for record in self.records),
            texts,
            set(sufficient_statistics_labels(self.scored)),
            {item.record.episode.id: digest_json(item.record.episode) for item in self.scored},
            {record.episode.id: serialize_record_for_digest(record) for record in self.records},
            list(failed),
            next(iter(failed.values()), ""),
        )

    def count(self, corpus: Corpus, labels: Sequence[str]) -> dict[str, EpisodeCounts]:
        """Count every episode. Later calls use the same corpus.

        Args:
            corpus: The corpus of all shards.
            labels: Kinds of label in all shards.

        Returns:
            The counts by episode id.
        """
        self.resources = replace(self.resources, corpus=corpus)
        seen = [replace(item, resources=self.resources) for item in self.scored]
        prepare_scoring_shard_meteor(seen, self.resources)
        metrics = all_metrics(self.resources)
        return {item.record.episode.id: episode_sufficient_statistics(item, metrics, labels) for item in seen}

    def entries(self, jobs: Sequence[MetricJob]) -> list[dict[str, Any]]:
        """Return the entries of ``metrics.json`` for jobs."""
        by_name = {metric.name: metric for metric in all_metrics(self.resources)}
        return [by_name[job.metric].entry(job.counts, job.samples) for job in jobs]


def prepare_scoring_shard_meteor(scored: Sequence[Scored], resources: ScoringResources) -> None:
    """Compute METEOR of all matched pairs in one call.

    Args:
        scored: The episodes.
        resources: Resources for scoring.
    """
    ready = getattr(resources.meteor, "prepare", None)
    if ready is not None:
        ready((said, text) for item in scored for said, wordings in item.good_pairs for text in wordings)


class RecordShards(Protocol):
    """All shards of a run."""

    def ask(self, what: str, *arguments: Any) -> list[Any]:
        """Call a method of every shard.

        Args:
            what: Name of the method.
            arguments: Its arguments.

        Returns:
            The result of each shard.
        """
        ...

    def deal(self, what: str, items: list[Any]) -> list[Any]:
        """Distribute items over the shards.

        Args:
            what: Name of a method that returns one result for each item.
            items: The items.

        Returns:
            The result of each item, in order.
        """
        ...


class InProcessShard:
    """One shard in this process."""

    def __init__(self, share: RecordShard) -> None:
        self._share = share

    def ask(self, what: str, *arguments: Any) -> list[Any]:
        """Return the result of the only shard."""
        return [getattr(self._share, what)(*arguments)]

    def deal(self, what: str, items: list[Any]) -> list[Any]:
        """Return the results of the only shard."""
        answers: list[Any] = getattr(self._share, what)(items)
        return answers


def limit_scoring_shard_threads() -> Any:
    """Return a context in which NumPy uses one BLAS thread.

    The products are small, and their last bits would depend on the number of threads.
    """
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, "blas")
