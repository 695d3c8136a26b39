"""Reading into the KV caches of streams: the tokens that several streams want to read, in one forward.

The answers of a stream are the same whether it reads alone or with others, to the last bit (float32 on CPU); see
`packed_forward`.
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

#: most tokens of a forward, where more than one stream reads: bounds the memory of its activations and masks
MOST_TOKENS = 8192


@dataclass(frozen=True)
class ForwardRequest:
    """Tokens to read into a cache; ``frames_NID`` are the embeddings of the image slots among them. The answer is the
    hidden states (1, T, D), or, with ``banned``, the likeliest token after each, never one of those."""

    ids: Sequence[int]
    cache: StreamCache
    frames_NID: Tensor | None = None
    banned: tuple[int, ...] | None = None


class StreamForward(Protocol):
    """How a stream reads: alone, or together with others."""

    def __call__(self, request: ForwardRequest) -> tuple[Any, float]:
        """The answer to a request, which has then been read into its cache, and its share of the seconds."""
        ...


class SingleStream:
    """Reads for one stream, at once."""

    def __init__(self, model: DSTSmolVLM) -> None:
        self.model = model
        self._pool: KVPool | None = None

    def __call__(self, request: ForwardRequest) -> tuple[Any, float]:
        """The answer to the request, and its seconds."""
        begin = time.perf_counter()
        self._pool = self._pool or KVPool(request.cache.storage)
        (answer,) = forward_stream_requests(self.model, [request], self._pool)
        return answer, time.perf_counter() - begin


@torch.no_grad()
def forward_stream_requests(
    model: DSTSmolVLM, requests: Sequence[ForwardRequest], pool: KVPool | None = None
) -> list[Any]:
    """Read each request into its own cache; the answers, in order.

    Args:
        model: The model whose text model reads.
        requests: At most one for a cache.
        pool: Where caches that have no rows yet shall have them; a new one if none of them has.

    Raises:
        ValueError: Caches of different pools or storages.
    """
    shared = _shared_pool([request.cache for request in requests], pool)
    return [answer for group in _forward_groups(requests) for answer in _read(model, group, shared)]


def _shared_pool(caches: Sequence[StreamCache], pool: KVPool | None) -> KVPool:
    """The one pool in which all of these caches lie; those without one are given it."""
    pools = {id(cache.pool): cache.pool for cache in caches if cache.pool is not None}
    storages = {cache.storage for cache in caches}
    if len(pools) > 1 or len(storages) > 1:
        raise ValueError(f"{len(pools)} pools, storages {sorted(storages)}: streams of one forward share one of each")
    shared = next(iter(pools.values()), pool) or KVPool(*storages)
    for cache in caches:
        cache.pool = shared
    return shared


def _forward_groups(requests: Sequence[ForwardRequest]) -> Iterator[list[ForwardRequest]]:
    """The requests in order, at most `MOST_TOKENS` tokens in one share, or a single request."""
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
    """For each request with ``banned``, in order, the likeliest token after each of its own.

    Requests that ban the same tokens share one matrix product, its rows filled up as those of the forward.
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
    """Rows filled up with zeros to a multiple of `TILE`."""
    fill = -len(rows_NW) % TILE
    return torch.nn.functional.pad(rows_NW, (0, 0, 0, fill)) if fill else rows_NW
