"""Forward passes that read the tokens of one or several streams into their KV caches.

The answers of a stream are the same for a single stream and in a batch, bit for bit (float32 on
CPU); see `packed_forward`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from prospect_core.model.modeling import DSTSmolVLM
from prospect_core.stream.kv_cache import StreamCache
from prospect_core.stream.kv_pool import KVPool
from prospect_core.stream.packed_forward import TILE, packed_forward

#: largest number of tokens of a forward pass of several streams; bounds the memory of activations
#: and masks
MOST_TOKENS = 8192


@dataclass(frozen=True)
class ForwardRequest:
    """Tokens to read into a cache.

    The answer is the hidden states (1, T, D) or, with ``banned``, the likeliest token after each.

    Attributes:
        ids: Token ids.
        cache: Cache of the stream.
        frames_NID: Embeddings of the image slots among the ids.
        banned: Ids that are never predicted; None requests hidden states.
    """

    ids: Sequence[int]
    cache: StreamCache
    frames_NID: Tensor | None = None
    banned: tuple[int, ...] | None = None


class StreamForward(Protocol):
    """Forward pass of a stream: single, or batched with other streams."""

    def __call__(self, request: ForwardRequest) -> tuple[Any, float]:
        """Read a request into its cache; return (answer, share of the seconds)."""
        ...


class SingleStream:
    """Forward passes of a single stream, run immediately (`StreamForward`).

    Args:
        model: The model.
    """

    def __init__(self, model: DSTSmolVLM) -> None:
        self.model = model
        self._pool: KVPool | None = None

    def __call__(self, request: ForwardRequest) -> tuple[Any, float]:
        """Return the answer to the request, and its seconds."""
        begin = time.perf_counter()
        self._pool = self._pool or KVPool(request.cache.storage)
        (answer,) = forward_stream_requests(self.model, [request], self._pool)
        return answer, time.perf_counter() - begin


@torch.no_grad()
def forward_stream_requests(
    model: DSTSmolVLM, requests: Sequence[ForwardRequest], pool: KVPool | None = None
) -> list[Any]:
    """Read each request into its own cache.

    Args:
        model: The model.
        requests: At most one per cache.
        pool: Pool for caches without rows; a new one if it is None and no cache has a pool.

    Returns:
        The answers, in order.

    Raises:
        ValueError: If the caches have different pools or storages.
    """
    shared = _shared_pool([request.cache for request in requests], pool)
    return [answer for group in _forward_groups(requests) for answer in _read(model, group, shared)]


def _shared_pool(caches: Sequence[StreamCache], pool: KVPool | None) -> KVPool:
    """Return the pool of all these caches; assign it to caches without one."""
    pools = {id(cache.pool): cache.pool for cache in caches if cache.pool is not None}
    storages = {cache.storage for cache in caches}
    if len(pools) > 1 or len(storages) > 1:
        raise ValueError(f"{len(pools)} pools, storages {sorted(storages)}: streams of one forward share one of each")
    shared = next(iter(pools.values()), pool) or KVPool(*storages)
    for cache in caches:
        cache.pool = shared
    return shared


def _forward_groups(requests: Sequence[ForwardRequest]) -> Iterator[list[ForwardRequest]]:
    """Yield the requests in order, in groups of at most `MOST_TOKENS` tokens or a single request."""
    group: list[ForwardRequest] = []
    tokens = 0
    for request in requests:
        if group and tokens + len(request.ids) > MOST_TOKENS:
            yield group
            group, tokens = [], 0
        group.append(request)
        tokens += len(request.ids)
    if group:
        yield group


def _read(model: DSTSmolVLM, requests: Sequence[ForwardRequest], pool: KVPool) -> list[Any]:
    counts = [len(request.ids) for request in requests]
    ids = [token for request in requests for token in request.ids]
    ids += [model.config.pad_token_id] * (-len(ids) % TILE)
    frames = [request.frames_NID for request in requests if request.frames_NID is not None]
    embeds_1TW = model.joint_embed(torch.tensor([ids], device=model.device), torch.cat(frames) if frames else None)
    caches = [request.cache for request in requests]
    hidden_TW = packed_forward(model.model.text_model, embeds_1TW[0], counts, caches, pool)
    parts = hidden_TW.split([*counts, len(ids) - sum(counts)])
    words = _likeliest(model, requests, parts)
    return [
        part[None] if request.banned is None else words.pop(0) for request, part in zip(requests, parts, strict=False)
    ]


def _likeliest(model: DSTSmolVLM, requests: Sequence[ForwardRequest], parts: Sequence[Tensor]) -> list[list[int]]:
    """Return, for each request with ``banned``, the likeliest token after each of its own.

    Requests that ban the same tokens share one matrix product, whose rows are padded as those of
    the forward pass.
    """
    asking = [
        (request.banned, part) for request, part in zip(requests, parts, strict=False) if request.banned is not None
    ]
    found: dict[int, list[int]] = {}
    for banned in dict.fromkeys(banned for banned, _ in asking):
        mine = [(number, part) for number, (other, part) in enumerate(asking) if other == banned]
        rows = torch.cat([part for _, part in mine])
        filled = _filled(rows)
        tokens = model.likeliest(filled, banned)
        for number, part in mine:
            found[number], tokens = tokens[: len(part)], tokens[len(part) :]
    return [found[number] for number in range(len(asking))]


def _filled(rows_NW: Tensor) -> Tensor:
    """Pad rows with zeros to a multiple of `TILE`."""
    fill = -len(rows_NW) % TILE
    return torch.nn.functional.pad(rows_NW, (0, 0, 0, fill)) if fill else rows_NW
