"""What the context costs: tokens and bytes of the KV cache, compressions. Exact counts, no estimates.

    python -c "from prospect_eval.metrics.context import METRICS; print([m.name for m in METRICS])"

Peaks are each episode's largest value, averaged over the episodes of a video and then over videos

"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from prospect_eval.metrics.base import Metric, Scored, ratio

NO_CACHE = "the model reports no cache"


def of_cache(field: str, reduce: Callable[[np.ndarray], np.ndarray]) -> Callable[[Scored], np.ndarray | str]:
    """(reduced per-frame values of an episode, 1)."""

    def counts(scored: Scored) -> np.ndarray | str:
        values = getattr(scored.record, field)
        return np.array([float(reduce(np.asarray(values))), 1.0]) if values else NO_CACHE

    return counts


def compressions(scored: Scored) -> np.ndarray | str:
    """(compressions of an episode, 1)."""
    return np.array([float(len(scored.record.compressions)), 1.0]) if scored.record.cache_tokens else NO_CACHE


METRICS = [
    Metric(
        "cache_peak_tokens",
        of_cache("cache_tokens", np.max),
        ratio,
        pool="mean",
        better="lower",
        unit="tokens",
    ),
    Metric("cache_peak_bytes", of_cache("cache_bytes", np.max), ratio, pool="mean", better="lower", unit="bytes"),
    Metric("cache_mean_bytes", of_cache("cache_bytes", np.mean), ratio, pool="mean", better="lower", unit="bytes"),
    Metric("compressions", compressions, ratio, pool="mean", better="", unit="an episode"),
]
