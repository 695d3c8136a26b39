"""Base class of metrics: sufficient statistics of an episode, and a value of summed counts.

Intervals and tests follow from these two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from prospect_eval.metrics.families import OTHER, Family
from prospect_eval.metrics.scored import Scored, ScoringResources
from prospect_eval.stats.bootstrap import RESAMPLES, SEED, Statistic, bootstrap_interval
from prospect_eval.stats.boundary import FEW_CLUSTERS
from prospect_eval.stats.clusters import Cluster, find_episode_cluster

__all__ = [
    "Metric",
    "Scored",
    "ScoringResources",
    "VideoCounts",
    "f1",
    "precision",
    "ratio",
    "recall",
]

#: keys of an entry that describe the metric and not the run; omitted in tables of baselines and
#: parts
DESCRIPTION = ("family", "headline", "better", "definition", "failure_mode", "companion")
SHARE, UNBOUNDED, POSITIVE = (0.0, 1.0), (-np.inf, np.inf), (0.0, np.inf)


@dataclass(frozen=True)
class VideoCounts:
    """Counts of a metric by cluster.

    Attributes:
        videos: Keys of the V clusters: videos, or recordings or participants if the episodes name
            them.
        table: (V, C) counts.
        n_scored: Number of episodes with counts.
        reasons: Why the other episodes have none.
        cluster: Kind of the clusters.
    """

    videos: tuple[str, ...]
    table: np.ndarray
    n_scored: int
    reasons: tuple[str, ...]
    cluster: str = "video"


@dataclass(frozen=True)
class Metric:
    """A named score.

    Attributes:
        name: Name of the metric.
        counts: Returns an episode's count vector (C,), or the reason (text) why it has none.
        value: Maps summed counts (..., C) to values (...), NaN where undefined.
        signature: Settings that must be equal for two values to be comparable.
        pool: Whether the episodes of a video are summed or averaged. Videos are then summed.
        better: Direction of better values; empty if there is none.
        unit: Unit of the value; empty for a share.
        definition: Meaning of the value, in one sentence.
        turns: ``all`` if the metric can be restricted to one kind of proactive or responsive turn,
            ``pairs`` if it can be restricted to any kind because it uses only references and their
            partners, empty if it is not about turns.
        range: Smallest and largest possible value.
        failure_mode: Predictions that score well without being good. Shown with the value.
        family: Group of the metric in reports, with the version of its implementation.
        headline: Whether the metric comes first in every table. `compare` tests the headline
            metrics unless a suite names others.
        companion: Name of a metric without which this one misleads. Tables show it in the next row.
        gradient: Derivatives of the value with respect to each count, for intervals of long count
            vectors.
        interval: Computes an interval from the (V, C) counts in place of the bootstrap.
        sample: Returns the data of an episode for ``exact`` (None if it has none).
        exact: Computes the point estimate from the samples of all episodes, if that is more precise
            than the counts.
    """

    name: str
    counts: Callable[[Scored], np.ndarray | str]
    value: Callable[[np.ndarray], np.ndarray]
    signature: Mapping[str, str] = field(default_factory=dict)
    pool: Literal["sum", "mean"] = "sum"
    better: Literal["higher", "lower", "zero", ""] = "higher"
    unit: str = ""
    definition: str = ""
    turns: Literal["", "pairs", "all"] = ""
    range: tuple[float, float] = SHARE
    failure_mode: str = ""
    family: Family = OTHER
    headline: bool = False
    companion: str = ""
    gradient: Callable[[np.ndarray], np.ndarray] | None = None
    interval: Callable[[np.ndarray], tuple[float, float] | None] | None = None
    sample: Callable[[Scored], np.ndarray | None] | None = None
    exact: Callable[[Sequence[np.ndarray]], float] | None = None

    def pooled(self, rows: Iterable[tuple[Cluster | str, np.ndarray | str]]) -> VideoCounts:
        """Sum or average the counts of episodes by cluster.

        Args:
            rows: For each episode, its cluster (or the cluster's key) and its counts, or the reason
                why it has none.

        Returns:
            The counts in the order of the clusters' first episodes.
        """
        videos: dict[str, list[np.ndarray]] = {}
        reasons: list[str] = []
        kinds: set[str] = set()
        for of, counts in rows:
            cluster = Cluster.of_key(of) if isinstance(of, str) else of
            kinds.add(cluster.kind)
            if isinstance(counts, str):
                reasons.append(counts)
            else:
                videos.setdefault(cluster.key, []).append(np.asarray(counts, dtype=float))
        merge = np.sum if self.pool == "sum" else np.mean
        merged = [merge(np.stack(each), axis=0) for each in videos.values()]
        table = np.stack(merged) if merged else np.zeros((0, 0))
        kind = "+".join(sorted(kinds)) or "video"
        return VideoCounts(tuple(videos), table, sum(map(len, videos.values())), tuple(reasons), kind)

    def compute(self, scored: Sequence[Scored], intervals: bool = True) -> dict[str, Any]:
        """Compute the metric's entry of ``metrics.json``.

        Args:
            scored: The episodes.
            intervals: Whether to compute the interval.

        Returns:
            Value, interval over videos, numbers of scored and undefined episodes, signature and
            description.
        """
        of = self.pooled((find_episode_cluster(item.record.episode), self.counts(item)) for item in scored)
        return self.entry(of, self.samples(scored), intervals)

    def samples(self, scored: Iterable[Scored]) -> list[np.ndarray]:
        """Return the data for the exact point estimate of each episode that has it."""
        found = [self.sample(item) for item in scored] if self.sample else []
        return [sample for sample in found if sample is not None]

    def entry(self, of: VideoCounts, samples: Sequence[np.ndarray] = (), intervals: bool = True) -> dict[str, Any]:
        """Make the entry of ``metrics.json`` from counts.

        Args:
            of: Counts by cluster.
            samples: Samples of the same episodes for the exact estimate.
            intervals: Whether to compute the interval.
        """
        out: dict[str, Any] = {
            "value": None,
            "ci95": None,
            "n_videos": len(of.videos),
            "n_scored": of.n_scored,
            "n_undefined": len(of.reasons),
            "status": "undefined",
            "reason": of.reasons[0] if of.reasons else "no episode",
            "signature": self.signature_over(of.cluster),
            "family": self.family.name,
            "headline": self.headline,
            "better": self.better,
            "definition": self.definition,
            "failure_mode": self.failure_mode,
        }
        if self.companion:
            out["companion"] = self.companion
        if not of.videos:
            return out
        with np.errstate(divide="ignore", invalid="ignore"):
            point = float(self.value(of.table.sum(0)))
        if not np.isfinite(point):
            return {**out, "reason": "nothing to divide by"}
        ci = bootstrap_interval(of.table, self.statistic) if intervals else None
        shift = self.exact(samples) - point if self.exact is not None and samples else 0.0
        point += shift
        if ci:
            ci = (float(np.clip(ci[0] + shift, *self.range)), float(np.clip(ci[1] + shift, *self.range)))
        return {**out, "value": point, "ci95": list(ci) if ci else None, "status": "ok", "reason": ""}

    @property
    def statistic(self) -> Statistic:
        """The statistic of summed counts for intervals and tests."""
        return Statistic(self.value, self.range, self.gradient, self.interval)

    @property
    def signature_text(self) -> str:
        """The signature of a value whose clusters are videos."""
        return self.signature_over("video")

    def signature_over(self, cluster: str) -> str:
        """Return the signature in the style of sacreBLEU.

        Two values are comparable if their signatures are equal.

        Args:
            cluster: Unit of resampling.
        """
        parts = {
            "metric": self.name,
            "v": str(self.family.version),
            **self.signature,
            "cluster": cluster,
            "pool": self.pool,
        }
        method = "woodruff" if self.interval else f"bootstrap-t,korn-graubard<{FEW_CLUSTERS}"
        parts |= {"ci": method, "bs": str(RESAMPLES), "seed": str(SEED)}
        return "|".join(f"{key}:{value}" for key, value in parts.items())


def describe_metric_range(bounds: tuple[float, float]) -> str:
    """The possible values of a metric in words: ``0 to 1``, ``0 or more``, ``any number``."""
    low, high = bounds
    if np.isfinite(low) and np.isfinite(high):
        return f"{low:g} to {high:g}"
    if np.isfinite(low):
        return f"{low:g} or more"
    if np.isfinite(high):
        return f"{high:g} or less"
    return "any number"


def ratio(counts: np.ndarray) -> np.ndarray:
    """Return the first count over the second."""
    return np.asarray(counts[..., 0] / counts[..., 1])


def f1(counts: np.ndarray) -> np.ndarray:
    """Return F1 of counts (true positives, predicted, reference): 2 TP / (predicted + reference)."""
    return np.asarray(2 * counts[..., 0] / (counts[..., 1] + counts[..., 2]))


def precision(counts: np.ndarray) -> np.ndarray:
    """Return TP / predicted of counts (true positives, predicted, reference)."""
    return np.asarray(counts[..., 0] / counts[..., 1])


def recall(counts: np.ndarray) -> np.ndarray:
    """Return TP / reference of counts (true positives, predicted, reference)."""
    return np.asarray(counts[..., 0] / counts[..., 2])
