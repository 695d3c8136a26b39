"""Cost of the context (tokens and bytes of the KV cache), and quality around compressions.

Peaks are the largest value of each episode, averaged over the episodes of a video and then over
videos. They are exact counts, not estimates.

The *compression ratio* is the number of tokens that the stream would hold at its end without
compression over the largest number that it held. The first number is the tokens at the end plus all
tokens that compressions removed. The ratio is 1 for ``none``.

*Quality before and after compressions* covers the frames at most a minute before a compression (the
compressed frame included) and at most a minute after it. The frames between two compressions are
halved, so that no frame is on both sides. The metrics are joint goal accuracy of the tracked state
and of the state head, and event F1 of speaking within 2 s.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np

from prospect_eval.metrics.base import POSITIVE, Metric, Scored, f1, ratio
from prospect_eval.metrics.families import CONTEXT
from prospect_eval.metrics.states import NO_HEAD, NO_STEPS

_metric = partial(Metric, family=CONTEXT)

NO_CACHE = "the model reports no cache"
NO_COMPRESSION = "nothing was compressed"
AROUND_S = 60
Side = Literal["before", "after"]
SIDES: tuple[Side, ...] = ("before", "after")


def context_cache_counts(
    field: str, reduce: Callable[[np.ndarray], np.ndarray]
) -> Callable[[Scored], np.ndarray | str]:
    """Return a function that counts (reduced value of an episode, 1).

    Args:
        field: Field of the record with a value for each frame.
        reduce: Reduces the values of the frames to one.
    """

    def counts(scored: Scored) -> np.ndarray | str:
        values = getattr(scored.record, field)
        return np.array([float(reduce(np.asarray(values))), 1.0]) if values else NO_CACHE

    return counts


def context_compression_counts(scored: Scored) -> np.ndarray | str:
    """Count (compressions of an episode, 1)."""
    return np.array([float(len(scored.record.compressions)), 1.0]) if scored.record.cache_tokens else NO_CACHE


def context_compression_ratio(scored: Scored) -> np.ndarray | str:
    """Count (tokens without compression over the peak, 1)."""
    held = scored.record.cache_tokens
    if not held:
        return NO_CACHE
    taken = sum(c.tokens_before - c.tokens_after for c in scored.record.compressions)
    peak = max([*held, *(c.tokens_before for c in scored.record.compressions)])
    return np.array([(held[-1] + taken) / peak, 1.0])


def mark_context_compression_frames(scored: Scored, side: Side) -> np.ndarray | None:
    """Mark the frames near compressions, each on the side of the nearest one.

    Args:
        scored: The record.
        side: ``before`` marks the frames at most a minute before a compression, its own frame
            included. ``after`` marks the frames at most a minute after it. Between two compressions
            less than two minutes apart, the first half of the frames is after (with the middle
            frame if their number is odd) and the second half is before.

    Returns:
        (F,) booleans; None without a compression.
    """
    episode = scored.record.episode
    if not scored.record.compressions:
        return None
    reach = int(AROUND_S * episode.fps)
    out = np.zeros(episode.num_frames, bool)
    cuts = sorted({event.frame - episode.start_frame + 1 for event in scored.record.compressions})
    # frames cuts[k - 1] .. cuts[k] - 1 are between two compressions; frames before the first are
    # not halved
    for previous, cut in zip([None, *cuts], [*cuts, None], strict=True):
        begin, end = previous or 0, episode.num_frames if cut is None else cut
        shared = previous is not None and cut is not None
        before = (end - begin) // 2 if shared else end - begin
        after = end - begin - before if shared else end - begin
        if side == "before" and cut is not None:
            out[max(begin, end - min(reach, before)) : end] = True
        if side == "after" and previous is not None:
            out[begin : begin + min(reach, after)] = True
    return out


def context_jga_around_compression(side: Side, head: bool) -> Callable[[Scored], np.ndarray | str]:
    """Return a function that counts (frames with every state correct, frames) near compressions.

    Args:
        side: Side of the compressions.
        head: Whether the states of the state head are compared; otherwise the tracked states.
    """

    def counts(scored: Scored) -> np.ndarray | str:
        near = mark_context_compression_frames(scored, side)
        if near is None:
            return NO_COMPRESSION
        if not scored.record.episode.task.steps:
            return NO_STEPS
        states = scored.head_states if head else scored.tracked_states
        if states is None:
            return NO_HEAD
        return np.array([((states == scored.reference_states).all(1) & near).sum(), near.sum()])

    return counts


def context_speaking_around_compression(side: Side) -> Callable[[Scored], np.ndarray | str]:
    """Return a function that counts events within 2 s near compressions.

    A pair is on the side of its reference.

    Args:
        side: Side of the compressions.
    """

    def counts(scored: Scored) -> np.ndarray | str:
        near = mark_context_compression_frames(scored, side)
        if near is None:
            return NO_COMPRESSION
        start = scored.record.episode.start_frame
        pairs, references = scored.event_pairs(2), scored.references
        paired = {p for p, _ in pairs}
        hits = sum(near[references[r][0] - start] for _, r in pairs)
        alone = sum(near[f - start] for k, (f, _) in enumerate(scored.predictions) if k not in paired)
        return np.array([hits, hits + alone, sum(near[f - start] for f, _ in references)])

    return counts


_COST = "A cost, not a quality: a model that remembers nothing has the lowest value."
_COMPRESSED = "Covers only episodes with a compression; a strategy that compresses rarely is judged on few frames."


def _cache_metric(name: str, field: str, reduce: Callable[[np.ndarray], np.ndarray], definition: str) -> Metric:
    return _metric(
        name,
        context_cache_counts(field, reduce),
        ratio,
        pool="mean",
        better="lower",
        unit=field.removeprefix("cache_"),
        range=POSITIVE,
        definition=definition,
        failure_mode=_COST,
        headline=name == "cache_peak_tokens",
    )


def _around_compressions(side: Side) -> list[Metric]:
    """Return the quality metrics on one side of the compressions."""
    near = {"around": f"{AROUND_S}s,halved"}
    where = f"within a minute {side} a compression"
    return [
        _metric(
            f"dst_jga_{side}_compression",
            context_jga_around_compression(side, head=False),
            ratio,
            near,
            definition=f"Share of the frames {where} with all steps right, from the state tracker.",
            failure_mode=_COMPRESSED,
        ),
        _metric(
            f"dst_head_jga_{side}_compression",
            context_jga_around_compression(side, head=True),
            ratio,
            near,
            definition=f"Share of the frames {where} with all steps right, from the model's state head.",
            failure_mode=_COMPRESSED,
        ),
        _metric(
            f"speaking_event_f1@2s_{side}_compression",
            context_speaking_around_compression(side),
            f1,
            {"match": "one-to-one", "tol": "2s", **near},
            definition=f"F1 of utterances paired with reference turns at most 2 s away, {where}.",
            failure_mode=f"{_COMPRESSED} Ignores the words.",
        ),
    ]


METRICS = [
    _cache_metric(
        "cache_peak_tokens", "cache_tokens", np.max, "Largest number of tokens in the context, averaged over episodes."
    ),
    _cache_metric("cache_peak_bytes", "cache_bytes", np.max, "Largest size of the KV cache, averaged over episodes."),
    _cache_metric("cache_mean_tokens", "cache_tokens", np.mean, "Mean number of tokens in the context over frames."),
    _cache_metric("cache_mean_bytes", "cache_bytes", np.mean, "Mean size of the KV cache over frames."),
    _metric(
        "compressions",
        context_compression_counts,
        ratio,
        pool="mean",
        better="",
        unit="per episode",
        range=POSITIVE,
        definition="Number of compressions of the context per episode.",
        failure_mode="Depends on the length of the episodes; does not show how much a compression removes.",
    ),
    _metric(
        "compression_ratio",
        context_compression_ratio,
        ratio,
        pool="mean",
        better="",
        range=POSITIVE,
        definition="Tokens that the context would hold at the end without compression, divided by its peak.",
        failure_mode="Grows with the length of the episodes; does not show whether the removed tokens are needed.",
    ),
    *(metric for side in SIDES for metric in _around_compressions(side)),
]
