"""Reading into the KV caches of streams: what several streams want read, in one forward, packed without padding.

    python -c "from prospect_core.stream.reading import read; help(read)"

The tokens of all requests stand one after the other in one row: linear layers, norms and embeddings run over all of them
at once, and attention runs a stream at a time over that stream's own cache. So no stream waits for the length of another,
no mask hides anything, and a cache is never copied to stand beside others.

What a stream reads does not hang on who reads beside it, to the last bit: attention sees one stream alone, and the row is
filled up to a multiple of `TILE` tokens, for matrix products give a row the same sum in any such company (fewer than four
rows, and odd numbers of them, go through other kernels). So a replay gives the same records however streams are grouped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from prospect_core.model.modeling import DSTSmolVLM
from prospect_core.stream.cache import StreamCache

#: the number of tokens that are read is a multiple of this
TILE = 16
#: our attention's name among those of transformers
PACKED = "prospect_packed"


@dataclass(frozen=True)
class Request:
    """Tokens to read into a cache; ``frames_NID`` are the embeddings of the image slots among them. The answer is the
    hidden states (1, T, D), or, with ``banned``, the likeliest token after each, never one of those."""

    ids: Sequence[int]
    cache: StreamCache
    frames_NID: Tensor | None = None
    banned: Sequence[int] | None = None


class Reader(Protocol):
    """How a stream reads: alone, or together with others."""

    def __call__(self, request: Request) -> tuple[Any, float]:
        """The answer to a request, which has then been read into its cache, and its share of the seconds."""
        ...


class Alone:
    """Reads for one stream, at once."""

    def __init__(self, model: DSTSmolVLM) -> None:
        self.model = model

    def __call__(self, request: Request) -> tuple[Any, float]:
        """The answer to the request, and its seconds."""
        begin = time.perf_counter()
        (answer,) = read(self.model, [request])
        return answer, time.perf_counter() - begin


@torch.no_grad()
def read(model: DSTSmolVLM, requests: Sequence[Request]) -> list[Any]:
    """Read what is asked, each into its own cache, in one forward; the answers, in order."""
    counts = [len(request.ids) for request in requests]
    caches = [request.cache for request in requests]
    fill = -sum(counts) % TILE
    ids = [token for request in requests for token in request.ids] + [model.config.pad_token_id] * fill
    places = [torch.arange(n) + cache.length for n, cache in zip(counts, caches, strict=True)]
    frames = [request.frames_NID for request in requests if request.frames_NID is not None]
    embeds_1TD = model.joint_embed(torch.tensor([ids], device=model.device), torch.cat(frames) if frames else None)
    places_1T = torch.cat([*places, torch.arange(fill)])[None].to(model.device)
    with _packed(model.model.text_model.config):
        hidden_1TD = model.read(embeds_1TD, past_key_values=_Rows(caches, counts, fill), position_ids=places_1T)
    parts = hidden_1TD.split([*counts, fill], 1)
    return [
        part if request.banned is None else model.likeliest(part[0], request.banned)
        for request, part in zip(requests, parts, strict=False)
    ]


@contextmanager
def _packed(config: Any) -> Iterator[None]:
    """Attention of the text model is ours meanwhile; training and whole sequences keep the one that was chosen."""
    chosen = config._attn_implementation
    config._attn_implementation = PACKED
    try:
        yield
    finally:
        config._attn_implementation = chosen


class _Rows:
    """Stands in for the cache of a forward over a packed row: each stream's part goes into that stream's own."""

    def __init__(self, caches: Sequence[StreamCache], counts: Sequence[int], fill: int) -> None:
        self.caches, self.counts, self.fill = caches, counts, fill
        self._masks: dict[tuple[int, int], Tensor] = {}

    def update(self, key_states: Tensor, value_states: Tensor, layer: int, *_: Any, **__: Any) -> tuple[_Held, _Held]:
        """Append (1, H, T, D) of a layer; what each stream then holds."""
        split = [*self.counts, self.fill]
        parts = zip(self.caches, key_states.split(split, -2), value_states.split(split, -2), strict=False)
        keys, values = zip(*(cache.update(k, v, layer) for cache, k, v in parts), strict=True)
        return _Held(keys, self), _Held(values, self)

    def get_seq_length(self, layer: int = 0) -> int:
        """Positions are given, so nobody counts from here."""
        return 0

    def mask(self, asked: int, held: int, like: Tensor) -> Tensor | None:
        """What is added to scores (asked, held) where the last ``asked`` of what is held ask; None where all is seen."""
        if asked == 1:
            return None
        if (asked, held) not in self._masks:
            mask = like.new_full((asked, held), -torch.inf)
            self._masks[asked, held] = mask.triu(held - asked + 1)
        return self._masks[asked, held]


class _Held(tuple[Tensor, ...]):
    """Keys or values of the streams of a packed row, (1, H, T, D) each."""

    rows: _Rows

    def __new__(cls, parts: Sequence[Tensor], rows: _Rows) -> _Held:
        held = super().__new__(cls, parts)
        held.rows = rows
        return held


def _attend(
    _module: Any, query: Tensor, key: _Held, value: _Held, _mask: Any, scaling: float | None = None, **_: Any
) -> tuple[Tensor, None]:
    """Causal attention of a packed row, stream by stream; (1, T, H, D)."""
    rows, out = key.rows, []
    for asked, keys, values in zip(query.split([*rows.counts, rows.fill], -2), key, value, strict=False):
        mask = rows.mask(asked.shape[-2], keys.shape[-2], asked)
        grouped = asked.shape[1] != keys.shape[1]
        out.append(scaled_dot_product_attention(asked, keys, values, attn_mask=mask, scale=scaling, enable_gqa=grouped))
    # what fills up the row looks at nothing and is looked at by nobody
    out.append(query.new_zeros(*query.shape[:2], rows.fill, query.shape[-1]))
    return torch.cat(out, -2).transpose(1, 2), None


AttentionInterface.register(PACKED, _attend)
