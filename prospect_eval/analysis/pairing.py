"""Pair scored runs over the same episodes of the same data, measured in the same way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prospect_core.records import ReplayProtocol
from prospect_core.util.console import format_count
from prospect_core.util.errors import DataError, UserError
from prospect_eval.metrics import Metric
from prospect_eval.runs.schemas import (
    Packed,
    PackedCounts,
    read_counts_schema,
    read_metrics_schema,
    read_run_schema,
    unpack_counts_schema,
)

#: maximum number of episode ids in a message
NAMED = 4


@dataclass(frozen=True)
class ScoredRun:
    """The parts of a scored run folder that comparisons use.

    Attributes:
        name: Path of the folder.
        config: Configuration of the run.
        table: Contents of ``metrics.json``.
        clusters: Cluster of each episode.
        counts: Counts by metric and episode.
        failed: Ids of the failed episodes.
    """

    name: str
    config: Mapping[str, Any]
    table: Mapping[str, Any]
    clusters: Mapping[str, str]
    counts: PackedCounts
    failed: frozenset[str] = frozenset()

    @classmethod
    def open(cls, folder: Path) -> ScoredRun:
        """Read a run folder.

        Raises:
            DataError: The run is not scored, or another version scored it.
        """
        table, counts = read_metrics_schema(folder), read_counts_schema(folder)
        config = read_run_schema(folder)["config"]
        return cls(str(folder), config, table, counts["clusters"], counts["counts"], frozenset(counts["failed"]))

    @property
    def episodes(self) -> frozenset[str]:
        """Ids of all episodes, failed ones included."""
        return frozenset(self.clusters)

    def entry(self, metric: Metric, episodes: Sequence[str]) -> dict[str, Any]:
        """Compute the entry of a metric over some episodes.

        Args:
            metric: The metric.
            episodes: Ids of the episodes.
        """
        counts = self.counts.get(metric.name, {})
        rows = (
            (self.clusters[episode], unpack_counts_schema(counts[episode])) for episode in episodes if episode in counts
        )
        return metric.entry(metric.pooled(rows))


@dataclass(frozen=True)
class Pairing:
    """Two runs over the same episodes.

    Attributes:
        first: The first run.
        second: The second run.
        episodes: Ids of the common episodes.
        left_out: Ids of the episodes that only one run has.
    """

    first: ScoredRun
    second: ScoredRun
    episodes: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    def counts(self, metric: Metric) -> tuple[np.ndarray, np.ndarray]:
        """Return the (V, C) counts of both sides for a metric.

        They are over the episodes for which both have counts; empty without one.
        """
        sides = [run.counts.get(metric.name, {}) for run in (self.first, self.second)]
        shared = [episode for episode in self.episodes if episode in sides[0] and episode in sides[1]]
        first, second = (pairing_cluster_counts(metric, side, shared, self.first.clusters) for side in sides)
        return first, second


def pairing_cluster_counts(
    metric: Metric, counts: Mapping[str, Packed], episodes: Sequence[str], clusters: Mapping[str, str]
) -> np.ndarray:
    """Return the (V, C) counts of a metric by cluster.

    Args:
        metric: The metric.
        counts: Its counts by episode.
        episodes: Ids of the episodes to include.
        clusters: Cluster of each episode.
    """
    return metric.pooled((clusters[episode], unpack_counts_schema(counts[episode])) for episode in episodes).table


def pair_runs(first: ScoredRun, second: ScoredRun, intersect: bool = False) -> Pairing:
    """Pair two runs by episode id.

    Args:
        first: The run with which the other one is compared.
        second: The other run.
        intersect: Compare the common episodes if the runs have different ones.

    Returns:
        The pairing.

    Raises:
        UserError: Data, split, episodes or signatures differ. The message names the difference.
        DataError: The runs have no common episode.
    """
    require_pairing_same_data(first, second)
    require_pairing_same_signatures(first, second)
    shared = first.episodes & second.episodes
    left_out = first.episodes ^ second.episodes
    if left_out and not intersect:
        raise UserError(
            f"{_missing(first, second)}; --intersect compares the {format_count(len(shared), 'common episode')} only"
        )
    if not shared:
        raise DataError(f"{first.name} and {second.name}: no episode in common")
    return Pairing(first, second, tuple(sorted(shared)), tuple(sorted(left_out)))


def _missing(first: ScoredRun, second: ScoredRun) -> str:
    told = []
    for run, other in ((first, second), (second, first)):
        if missing := sorted(other.episodes - run.episodes):
            names = ", ".join(missing[:NAMED]) + (", ..." if len(missing) > NAMED else "")
            told.append(f"{run.name} lacks {format_count(len(missing), 'episode')} of {other.name} ({names})")
    return "; ".join(told)


def require_pairing_same_data(first: ScoredRun, second: ScoredRun) -> None:
    """Check that two runs have the same data, split and protocol.

    Raises:
        UserError: Data, split or protocol differ.
    """
    protocols = [describe_run_protocol(run.config) for run in (first, second)]
    if protocols[0] != protocols[1]:
        raise UserError(
            f"{first.name} and {second.name} cannot be compared: their protocols differ"
            f" ({protocols[0]}; {protocols[1]})"
        )
    for key, told in (("data_digest", "data"), ("split", "split")):
        here, there = (str(run.config.get(key)) for run in (first, second))
        if here != there:
            raise UserError(
                f"{first.name} and {second.name} cannot be compared: different {told} ({here[:12]} and {there[:12]})"
            )


def describe_run_protocol(config: Mapping[str, Any]) -> str:
    """Return a description of the protocol in a run's configuration.

    A run without a stored protocol is autonomous.
    """
    stored = (config.get("knobs") or {}).get("protocol") or {}
    return ReplayProtocol(**{**stored, "reveals": tuple(stored.get("reveals", ()))}).describe()


def require_pairing_same_signatures(first: ScoredRun, second: ScoredRun) -> None:
    """Check that the metrics of two runs were computed in the same way.

    Raises:
        UserError: Signatures differ. The message names the differing keys.
    """
    tables = [run.table["metrics"] for run in (first, second)]
    wrong: dict[str, list[str]] = {}
    for name in tables[0].keys() & tables[1].keys():
        for key in pairing_differing_keys(*(table[name]["signature"] for table in tables)):
            wrong.setdefault(key, []).append(name)
    if wrong:
        shown = "; ".join(f"{key} (in {min(names)} and {len(names) - 1} more)" for key, names in sorted(wrong.items()))
        raise UserError(
            f"{first.name} and {second.name} were measured differently: {shown}; rescore both with `prospect-eval score`"
        )


def pairing_differing_keys(first: str, second: str) -> list[str]:
    """Return ``key: a / b`` for every key in which two signatures differ."""
    a, b = (dict(part.partition(":")[::2] for part in text.split("|")) for text in (first, second))
    return [f"{key}: {a.get(key, 'absent')} / {b.get(key, 'absent')}" for key in {**a, **b} if a.get(key) != b.get(key)]


def pairing_headline_metrics(runs: Iterable[ScoredRun], metrics: Sequence[Metric]) -> tuple[str, ...]:
    """Return the metrics that a comparison tests.

    Args:
        runs: The runs.
        metrics: All metrics.

    Returns:
        The metrics of the runs' suite, or the headline metrics, as far as they are defined in every
        run.
    """
    from prospect_eval.suites.suite import suite_first_metrics

    tables = [run.table["metrics"] for run in runs]
    suites = {str(run.config.get("suite") or "") for run in runs}
    asked = suite_first_metrics(suites.pop()) if len(suites) == 1 else ()
    names = asked or tuple(metric.name for metric in metrics if metric.headline)
    return tuple(n for n in names if all(table.get(n, {}).get("value") is not None for table in tables))
