"""What scoring keeps of an episode: the sufficient counts of every metric, for all turns and for each kind of turn.

    python -c "from prospect_eval.scoring.sufficient_statistics import EpisodeCounts; help(EpisodeCounts)"

Counting sees the whole record and may happen in any process; pooling over episodes needs these counts alone.
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

#: upper ends in minutes, with names
LENGTHS_MIN = ((2.0, "under 2 min"), (5.0, "2-5 min"), (15.0, "5-15 min"), (float("inf"), "15 min and more"))
TURNS = ("proactive", "responsive")
FAILED = "the episode failed"
Table = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class EpisodeCounts:
    """The counts of one episode: by (metric, view) a vector, or the reason why there is none. ``parts`` names the part
    of the episodes that it belongs to, by what they are parted; ``questions`` are its `answers.accepted`. A ``failed``
    episode counts as the worst case (`Scored`)."""

    cluster: Cluster
    parts: dict[str, str]
    counts: dict[tuple[str, str], np.ndarray | str]
    samples: dict[str, np.ndarray]
    questions: list[tuple[str, frozenset[str]]]
    failed: bool = False


def sufficient_statistics_labels(scored: Iterable[Scored]) -> list[str]:
    """The kinds of label that any reference turn of these episodes has."""
    return sorted({label for item in scored for turn in item.turns for label in list_scored_turn_labels(turn)})


def sufficient_statistics_views(labels: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """{view: values of `Metric.turns` that can be taken of it}. Metrics that need to know the kind of an utterance
    without a partner have none by label, for such an utterance has no label."""
    return {turn: ("all", "pairs") for turn in TURNS} | {f"label:{label}": ("pairs",) for label in labels}


def episode_sufficient_statistics(
    scored: Scored, metrics: Sequence[Metric], labels: Sequence[str] = ()
) -> EpisodeCounts:
    """All counts of one episode; metrics that share their counts (precision and recall) have them taken once."""
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
    """Whether a failed episode can count in a metric: rates and times without an upper end have no worst value."""
    return metric.better == "higher" or bool(np.isfinite(metric.range).all())


def drop_failed_sufficient_statistics(counted: Sequence[EpisodeCounts]) -> list[EpisodeCounts]:
    """The same counts, those of failed episodes left out of metrics that no other episode has."""
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
    """One number to work out: a metric's counts over some episodes; ``place`` is () or (by what, part)."""

    place: tuple[str, ...]
    metric: str
    counts: VideoCounts
    samples: list[np.ndarray]


def sufficient_statistics_jobs(
    metrics: Sequence[Metric], counted: Sequence[EpisodeCounts], labels: Sequence[str] = ()
) -> Iterator[MetricJob]:
    """All numbers over these episodes (place ``()``), over sets of them (by user type, dataset, length; a part that is
    everything is left out), and over the turns of a kind in all of them."""

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
    """The entry of every metric over these episodes, by name and without intervals, and the counts of each episode."""
    by_name = {metric.name: metric for metric in metrics}
    counted = [episode_sufficient_statistics(item, metrics) for item in scored]
    table = {
        job.metric: by_name[job.metric].entry(job.counts, job.samples, intervals=False)
        for job in sufficient_statistics_jobs(metrics, counted)
        if not job.place
    }
    return table, counted


def pack_sufficient_statistics(metrics: Sequence[Metric], counted: Mapping[str, EpisodeCounts]) -> PackedCounts:
    """Counts by metric and episode id, as ``counts.json`` has them."""
    out: PackedCounts = {}
    for metric in metrics:
        rows = {episode: item.counts[metric.name, ""] for episode, item in counted.items()}
        out[metric.name] = {
            episode: pack_counts_schema(row) for episode, row in rows.items() if not isinstance(row, str)
        }
    return out
