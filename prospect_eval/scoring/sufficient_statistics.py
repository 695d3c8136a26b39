"""Sufficient statistics of an episode: the counts of every metric, for all turns and for each kind.

Counting needs the whole record and can run in any process. Pooling over episodes needs only these
counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from prospect_eval.metrics import Metric, Scored, answers
from prospect_eval.metrics.base import VideoCounts
from prospect_eval.metrics.scored import list_scored_turn_labels
from prospect_eval.runs.schemas import PackedCounts, pack_counts_schema
from prospect_eval.stats.clusters import Cluster, find_episode_cluster

#: upper end in minutes and name of each part by length
LENGTHS_MIN = ((2.0, "under 2 min"), (5.0, "2-5 min"), (15.0, "5-15 min"), (float("inf"), "15 min and more"))
TURNS = ("proactive", "responsive")
FAILED = "the episode failed"
Table = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class EpisodeCounts:
    """Counts of one episode.

    Attributes:
        cluster: Cluster of the episode.
        parts: Name of the episode's part by user type, dataset and length.
        counts: Count vector for each (metric, view), or the reason why there is none.
        samples: Samples for the exact point estimates, by metric.
        questions: (kind, accepted values) of the user's questions.
        failed: Whether the episode failed and counts as the worst case (`Scored`).
    """

    cluster: Cluster
    parts: dict[str, str]
    counts: dict[tuple[str, str], np.ndarray | str]
    samples: dict[str, np.ndarray]
    questions: list[tuple[str, frozenset[str]]]
    failed: bool = False


def sufficient_statistics_labels(scored: Iterable[Scored]) -> list[str]:
    """Return the kinds of label of the episodes' reference turns, sorted."""
    return sorted({label for item in scored for turn in item.turns for label in list_scored_turn_labels(turn)})


def sufficient_statistics_views(labels: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the values of `Metric.turns` that each view supports.

    Metrics that need the kind of an unpaired utterance are not available by label, because an
    unpaired utterance has no label.

    Args:
        labels: Kinds of label.
    """
    return {turn: ("all", "pairs") for turn in TURNS} | {f"label:{label}": ("pairs",) for label in labels}


def episode_sufficient_statistics(
    scored: Scored, metrics: Sequence[Metric], labels: Sequence[str] = ()
) -> EpisodeCounts:
    """Count one episode. Metrics with the same counts (precision and recall) are counted once.

    Args:
        scored: The episode.
        metrics: The metrics.
        labels: Kinds of label.
    """
    episode = scored.record.episode
    taken: dict[tuple[int, str], np.ndarray | str] = {}
    counts = {}
    for view, turns in {"": None, **sufficient_statistics_views(labels)}.items():
        seen = scored.view(view) if view else scored
        for metric in metrics:
            if turns is None or metric.turns in turns:
                key = id(metric.counts), view
                if key not in taken:
                    taken[key] = (
                        FAILED if scored.failed and not has_worst_sufficient_statistics(metric) else metric.counts(seen)
                    )
                counts[metric.name, view] = taken[key]
    sampled = {metric.name: metric.samples([scored]) for metric in metrics if metric.sample}
    return EpisodeCounts(
        find_episode_cluster(episode),
        {
            "user_type": episode.user_type or "unknown",
            "dataset": episode.dataset or "unknown",
            "length": next(name for limit, name in LENGTHS_MIN if scored.minutes < limit),
        },
        counts,
        {name: found[0] for name, found in sampled.items() if found},
        answers.list_accepted_answers(scored),
        scored.failed,
    )


def has_worst_sufficient_statistics(metric: Metric) -> bool:
    """Return whether a metric has a worst value for failed episodes.

    Rates and times without an upper end have none.
    """
    return metric.better == "higher" or bool(np.isfinite(metric.range).all())


def drop_failed_sufficient_statistics(counted: Sequence[EpisodeCounts]) -> list[EpisodeCounts]:
    """Return the counts without those of failed episodes in metrics that no other episode has."""
    defined = {
        key for item in counted if not item.failed for key, row in item.counts.items() if not isinstance(row, str)
    }
    return [
        replace(
            item,
            counts={key: row if key in defined else FAILED for key, row in item.counts.items()},
            samples={name: sample for name, sample in item.samples.items() if (name, "") in defined},
        )
        if item.failed
        else item
        for item in counted
    ]


@dataclass(frozen=True)
class MetricJob:
    """A value to compute: a metric over some episodes.

    Attributes:
        place: () for all episodes, otherwise (criterion, part).
        metric: Name of the metric.
        counts: Its counts by cluster.
        samples: Samples for the exact point estimate.
    """

    place: tuple[str, ...]
    metric: str
    counts: VideoCounts
    samples: list[np.ndarray]


def sufficient_statistics_jobs(
    metrics: Sequence[Metric], counted: Sequence[EpisodeCounts], labels: Sequence[str] = ()
) -> Iterator[MetricJob]:
    """Yield the values to compute.

    They are over all episodes, over parts of them (by user type, dataset and length; a part with
    all episodes is left out), and over the turns of each kind.

    Args:
        metrics: The metrics.
        counted: Counts of the episodes.
        labels: Kinds of label.
    """

    def over(place: tuple[str, ...], some: Sequence[EpisodeCounts], view: str = "") -> Iterator[MetricJob]:
        for metric in metrics:
            if (metric.name, view) in some[0].counts:
                counts = metric.pooled((item.cluster, item.counts[metric.name, view]) for item in some)
                samples = [item.samples[metric.name] for item in some if metric.name in item.samples]
                yield MetricJob(place, metric.name, counts, samples)

    yield from over((), counted)
    for by in ("user_type", "dataset", "length"):
        parts: dict[str, list[EpisodeCounts]] = {}
        for item in counted:
            parts.setdefault(item.parts[by], []).append(item)
        if len(parts) > 1:
            for part in sorted(parts):
                yield from over((by, part), parts[part])
    for view in sufficient_statistics_views(labels):
        yield from over(("turn", view) if view in TURNS else ("label", view.removeprefix("label:")), counted, view)


def compute_sufficient_statistics(
    metrics: Sequence[Metric], scored: Sequence[Scored]
) -> tuple[Table, list[EpisodeCounts]]:
    """Compute every metric over episodes without intervals.

    Args:
        metrics: The metrics.
        scored: The episodes.

    Returns:
        The entry of each metric by name, and the counts of each episode.
    """
    by_name = {metric.name: metric for metric in metrics}
    counted = [episode_sufficient_statistics(item, metrics) for item in scored]
    table = {
        job.metric: by_name[job.metric].entry(job.counts, job.samples, intervals=False)
        for job in sufficient_statistics_jobs(metrics, counted)
        if not job.place
    }
    return table, counted


def pack_sufficient_statistics(metrics: Sequence[Metric], counted: Mapping[str, EpisodeCounts]) -> PackedCounts:
    """Return counts by metric and episode id for ``counts.json``.

    Args:
        metrics: The metrics.
        counted: Counts by episode id.
    """
    out: PackedCounts = {}
    for metric in metrics:
        rows = {episode: item.counts[metric.name, ""] for episode, item in counted.items()}
        out[metric.name] = {
            episode: pack_counts_schema(row) for episode, row in rows.items() if not isinstance(row, str)
        }
    return out
