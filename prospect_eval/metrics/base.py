"""What a metric is: sufficient counts of an episode, and a value of summed counts. Intervals follow from that.

python -c "from prospect_eval.metrics import METRICS; print(*METRICS, sep='\\n')"
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from prospect_core.data.origin_formats import window_for
from prospect_core.records import EpisodeRecord
from prospect_core.timeline import DialogState
from prospect_eval.matching import Matching, Similarity, match_utterances
from prospect_eval.statistics import RESAMPLES, SEED, bootstrap_ci

#: a matched pair counts as correct when its cosine is above this
GOOD_SIMILARITY = 0.5


@dataclass(frozen=True)
class Tools:
    """What metrics borrow: cosine similarity of texts with its signature, and a METEOR of one pair, if available."""

    similarity: Similarity
    similarity_signature: str
    meteor: Callable[[str, str], float]
    meteor_signature: str
    wordnet: bool


@dataclass(frozen=True)
class Scored:
    """One record with what several metrics need of it, worked out once."""

    record: EpisodeRecord
    tools: Tools

    @cached_property
    def references(self) -> list[tuple[int, str]]:
        return [(u.frame, u.text) for u in self.record.episode.utterances()]

    @cached_property
    def predictions(self) -> list[tuple[int, str]]:
        return [(u.frame, u.text) for u in self.record.utterances]

    @cached_property
    def matching(self) -> Matching:
        """ProAssist's matching in the window of the episode's dataset."""
        episode = self.record.episode
        return match_utterances(
            self.predictions, self.references, self.tools.similarity, window_for(episode.dataset), episode.fps
        )

    @cached_property
    def good_pairs(self) -> list[tuple[str, str]]:
        """(predicted, reference) texts of matched pairs that are similar enough."""
        return [
            (self.predictions[p][1], self.references[r][1])
            for (p, r), cosine in zip(self.matching.pairs, self.matching.similarities, strict=True)
            if cosine > GOOD_SIMILARITY
        ]

    @cached_property
    def reference_states(self) -> np.ndarray:
        """(frames, K) indices of the reference states."""
        return self._by_frame(self.record.episode.states_by_change())

    @cached_property
    def tracked_states(self) -> np.ndarray:
        """(frames, K) indices of the tracked states."""
        return self._by_frame(self.record.tracked_states())

    def _by_frame(self, changes: list[tuple[int, DialogState]]) -> np.ndarray:
        episode = self.record.episode
        order = ("not_started", "in_progress", "completed")
        out = np.zeros((episode.num_frames, len(episode.task.steps)), dtype=np.int8)
        for frame, state in changes:
            out[max(0, frame - episode.start_frame) :] = [order.index(s) for s in state.states]
        return out


@dataclass(frozen=True)
class Metric:
    """A named number. ``counts(scored)`` gives an episode's count vector, or a reason (text) why it has none;
    ``value`` maps summed counts (..., C) to values (...), NaN where undefined.

    Episodes of one video are summed (``pool="sum"``) or averaged (``pool="mean"``) before videos are.
    """

    name: str
    counts: Callable[[Scored], np.ndarray | str]
    value: Callable[[np.ndarray], np.ndarray]
    signature: Mapping[str, str] = field(default_factory=dict)
    pool: Literal["sum", "mean"] = "sum"
    better: Literal["higher", "lower", ""] = "higher"
    unit: str = ""
    help: str = ""

    def compute(self, scored: Sequence[Scored], intervals: bool = True) -> dict[str, Any]:
        """The entry of ``metrics.json``: value, interval over videos, numbers scored and undefined, signature."""
        videos: dict[str, list[np.ndarray]] = {}
        reasons: list[str] = []
        for item in scored:
            counts = self.counts(item)
            if isinstance(counts, str):
                reasons.append(counts)
            else:
                videos.setdefault(item.record.episode.video, []).append(np.asarray(counts, dtype=float))
        n_scored = sum(map(len, videos.values()))
        out = {
            "value": None,
            "ci95": None,
            "n_videos": len(videos),
            "n_scored": n_scored,
            "n_undefined": len(reasons),
            "status": "undefined",
            "reason": reasons[0] if reasons else "no episode",
            "signature": self.signature_text,
        }
        if not videos:
            return out
        merge = np.sum if self.pool == "sum" else np.mean
        table = np.stack([merge(np.stack(each), axis=0) for each in videos.values()])
        with np.errstate(divide="ignore", invalid="ignore"):
            point = float(self.value(table.sum(0)))
            if not np.isfinite(point):
                return {**out, "reason": "nothing to divide by"}
            ci = bootstrap_ci(table, self.value) if intervals else None
        return {**out, "value": point, "ci95": list(ci) if ci else None, "status": "ok", "reason": ""}

    @property
    def signature_text(self) -> str:
        """sacreBLEU-style: what must be equal for two numbers to be comparable."""
        parts = {"metric": self.name, **self.signature, "cluster": "video", "pool": self.pool}
        parts |= {"ci": "bca", "bs": str(RESAMPLES), "seed": str(SEED)}
        return "|".join(f"{key}:{value}" for key, value in parts.items())


def ratio(counts: np.ndarray) -> np.ndarray:
    """First count over the second."""
    return np.asarray(counts[..., 0] / counts[..., 1])


def f1(counts: np.ndarray) -> np.ndarray:
    """F1 of counts (true positives, predicted, reference): 2 TP / (predicted + reference)."""
    return np.asarray(2 * counts[..., 0] / (counts[..., 1] + counts[..., 2]))
