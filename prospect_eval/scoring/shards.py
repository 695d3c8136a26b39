"""A share of a run's records, and what scoring asks of it; all shares may lie in one process or in several.

    python -c "from prospect_eval.scoring.shards import RecordShard; help(RecordShard)"

First what it holds (texts to embed, references, labels), then, when these are known of all shares, the counts of its
episodes, and at last some of the intervals.
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
    """What a share holds. ``corpus`` is that of all its records; ``episodes`` are digests of the references by episode id;
    ``failed`` are the ids of those without a prediction."""

    corpus: Corpus
    texts: set[str]
    labels: set[str]
    episodes: dict[str, str]
    parts: dict[str, bytes]
    failed: list[str]
    error: str


class RecordShard:
    """Some of the records of a run."""

    def __init__(self, records: Sequence[EpisodeRecord], resources: ScoringResources) -> None:
        self.records, self.resources = records, resources
        self.scored = [Scored(record, resources) for record in records]

    def outline(self) -> ShardOutline:
        """What there is to know before anything can be counted."""
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
        """The counts of every episode by its id, given the corpus and the labels of all shares. What is asked later
        uses this corpus too."""
        self.resources = replace(self.resources, corpus=corpus)
        seen = [replace(item, resources=self.resources) for item in self.scored]
        prepare_scoring_shard_meteor(seen, self.resources)
        metrics = all_metrics(self.resources)
        return {item.record.episode.id: episode_sufficient_statistics(item, metrics, labels) for item in seen}

    def entries(self, jobs: Sequence[MetricJob]) -> list[dict[str, Any]]:
        """The entries of ``rival_timing_metrics.json`` of these jobs."""
        by_name = {metric.name: metric for metric in all_metrics(self.resources)}
        return [by_name[job.metric].entry(job.counts, job.samples) for job in jobs]


def prepare_scoring_shard_meteor(scored: Sequence[Scored], resources: ScoringResources) -> None:
    """Have the METEOR of all matched pairs at hand at once."""
    ready = getattr(resources.meteor, "prepare", None)
    if ready is not None:
        ready((said, text) for item in scored for said, wordings in item.good_pairs for text in wordings)


class RecordShards(Protocol):
    """All shares of a run, wherever they lie."""

    def ask(self, what: str, *arguments: Any) -> list[Any]:
        """What each share answers to the same question."""
        ...

    def deal(self, what: str, items: list[Any]) -> list[Any]:
        """The answer to each item, whichever share gives it."""
        ...


class InProcessShard:
    """One share, in this process."""

    def __init__(self, share: RecordShard) -> None:
        self._share = share

    def ask(self, what: str, *arguments: Any) -> list[Any]:
        """The only share's answer."""
        return [getattr(self._share, what)(*arguments)]

    def deal(self, what: str, items: list[Any]) -> list[Any]:
        """The answers of the only share."""
        answers: list[Any] = getattr(self._share, what)(items)
        return answers


def limit_scoring_shard_threads() -> Any:
    """A context in which NumPy's products take one thread: they are small, and their last bits then do not hang on how
    many there are."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, "blas")
