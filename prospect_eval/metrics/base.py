"""What a metric is: sufficient counts of an episode, and a value of summed counts. Intervals follow from that.

python -c "from prospect_eval.metrics.speaking import METRICS; print(METRICS[0].signature_text)"
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

#: keys of an entry that describe the metric and not the run; tables of baselines and of parts go without them
DESCRIPTION = ("family", "headline", "better", "definition", "failure_mode", "companion")
SHARE, UNBOUNDED, POSITIVE = (0.0, 1.0), (-np.inf, np.inf), (0.0, np.inf)


@dataclass(frozen=True)
class VideoCounts:
    """A metric's counts: one row a cluster, (V, C), with the numbers of episodes scored and why others were not.

    Clusters are videos, or recordings or participants where the episodes name them; ``cluster`` says which.
    """

    videos: tuple[str, ...]
    table: np.ndarray
    n_scored: int
    reasons: tuple[str, ...]
    cluster: str = "video"


@dataclass(frozen=True)
class Metric:
    """A named number. ``counts(scored)`` gives an episode's count vector, or a reason (text) why it has none;
    ``value`` maps summed counts (..., C) to values (...), NaN where undefined.

    Episodes of one video are summed (``pool="sum"``) or averaged (``pool="mean"``) before videos are. ``turns`` tells
    whether it can be taken of one kind of turn: ``all`` of any kind of proactive and responsive ones, ``pairs`` of
    every kind since it looks at references and their partners only, empty when it is not about turns.

    ``family`` groups metrics in reports and carries the version of their implementation. ``headline`` metrics come first
    in every table and are the family of hypotheses that `compare` tests where no suite names its own. ``definition`` says
    in one sentence what is measured, ``failure_mode`` what can score well without deserving it; both are shown with the
    value. ``range`` holds every possible value. ``companion`` names a metric without which this one misleads: tables show
    it in the next row.
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
    #: derivatives of the value by each count, for intervals of long count vectors
    gradient: Callable[[np.ndarray], np.ndarray] | None = None
    #: an interval of its own, of the (V, C) counts, in place of the bootstrap's
    interval: Callable[[np.ndarray], tuple[float, float] | None] | None = None
    #: point estimate, where it is finer than the counts: what it needs of an episode (None: has none), and its value of
    #: all episodes
    sample: Callable[[Scored], np.ndarray | None] | None = None
    exact: Callable[[Sequence[np.ndarray]], float] | None = None

    def pooled(self, rows: Iterable[tuple[Cluster | str, np.ndarray | str]]) -> VideoCounts:
        """Counts of episodes, summed (or averaged) by cluster, in the order of the clusters' first episodes.

        Args:
            rows: For each episode, its cluster (or the cluster's key) and its counts, or the reason why it has none.
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
        """The entry of ``metrics.json``: value, interval over videos, numbers scored and undefined, signature."""
        of = self.pooled((find_episode_cluster(item.record.episode), self.counts(item)) for item in scored)
        return self.entry(of, self.samples(scored), intervals)

    def samples(self, scored: Iterable[Scored]) -> list[np.ndarray]:
        """What the exact point estimate needs of each episode that has it."""
        found = [self.sample(item) for item in scored] if self.sample else []
        return [sample for sample in found if sample is not None]

    def entry(self, of: VideoCounts, samples: Sequence[np.ndarray] = (), intervals: bool = True) -> dict[str, Any]:
        """The entry of counts by video, and of the same episodes' samples where the metric has an exact estimate."""
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
        if self.exact is not None and samples:
            shift = self.exact(samples) - point
            point += shift
            ci = (
                (float(np.clip(ci[0] + shift, *self.range)), float(np.clip(ci[1] + shift, *self.range))) if ci else None
            )
        return {**out, "value": point, "ci95": list(ci) if ci else None, "status": "ok", "reason": ""}

    @property
    def statistic(self) -> Statistic:
        """What intervals and tests take of the summed counts."""
        return Statistic(self.value, self.range, self.gradient, self.interval)

    @property
    def signature_text(self) -> str:
        """The signature of a value whose clusters are videos."""
        return self.signature_over("video")

    def signature_over(self, cluster: str) -> str:
        """sacreBLEU-style: what must be equal for two numbers to be comparable. ``cluster`` is the unit of resampling."""
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


def ratio(counts: np.ndarray) -> np.ndarray:
    """First count over the second."""
    return np.asarray(counts[..., 0] / counts[..., 1])


def f1(counts: np.ndarray) -> np.ndarray:
    """F1 of counts (true positives, predicted, reference): 2 TP / (predicted + reference)."""
    return np.asarray(2 * counts[..., 0] / (counts[..., 1] + counts[..., 2]))


def precision(counts: np.ndarray) -> np.ndarray:
    """TP / predicted of the same counts."""
    return np.asarray(counts[..., 0] / counts[..., 1])


def recall(counts: np.ndarray) -> np.ndarray:
    """TP / reference of the same counts."""
    return np.asarray(counts[..., 0] / counts[..., 2])
