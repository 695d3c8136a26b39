"""Count the operators that a forward pass of the text model launches, for one stream and for several.

    python -m benchmarks.performance.operators

The count includes the operators that PyTorch's profiler reports on the CPU, except those that
neither compute nor copy (views, allocations, conjugation flags, wrappers of another counted
operator). The model has 24 layers of random weights; the counts do not depend on the weights. Every
stream reads one token and predicts the next one. The last line of output is one JSON object.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

from prospect_core.model.configuration import DSTSmolVLMConfig
from prospect_core.model.modeling import DSTSmolVLM
from prospect_core.stream.forward import ForwardRequest, forward_stream_requests
from prospect_core.stream.kv_cache import StreamCache
from prospect_core.stream.kv_pool import KVPool

#: operators of PyTorch that neither compute nor copy
IDLE = frozenset(
    f"aten::{name}"
    for name in [
        "view",
        "transpose",
        "slice",
        "as_strided",
        "narrow",
        "select",
        "expand",
        "unsqueeze",
        "split",
        "split_with_sizes",
        "reshape",
        "_reshape_alias",
        "t",
        "permute",
        "alias",
        "detach",
        "detach_",
        "squeeze",
        "linear",
        "matmul",
        "to",
        "_to_copy",
        "chunk",
        "unbind",
        "unflatten",
        "flatten",
        "contiguous",
        "clone",
        "numpy_T",
        "_unsafe_view",
        "result_type",
        "item",
        "_local_scalar_dense",
        "is_nonzero",
        "lift_fresh",
        "resolve_conj",
        "resolve_neg",
        "empty",
        "new_empty",
        "empty_like",
        "empty_strided",
        "resize_",
        "new_zeros",
        "zeros",
        "arange",
        "scaled_dot_product_attention",
    ]
)
LAYERS, TOKENS_HELD = 24, 50


def count_operators(work: Callable[[], object]) -> int:
    """Count the operators that one call of ``work`` runs on the CPU, without those in ``IDLE``."""
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        work()
    events = seen.key_averages()
    return sum(event.count for event in events if event.key.startswith("aten::") and event.key not in IDLE)


def layered_model() -> DSTSmolVLM:
    """Make a narrow model with as many layers as a published one and random weights."""
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
              "image_size": 32, "patch_size": 8}  # fmt: skip
    text = {"vocab_size": 320, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": LAYERS,
            "num_attention_heads": 4, "num_key_value_heads": 4, "pad_token_id": 0, "eos_token_id": 1}  # fmt: skip
    model: DSTSmolVLM = DSTSmolVLM(DSTSmolVLMConfig(vision_config=vision, text_config=text)).eval()
    return model


def forward_operators(model: DSTSmolVLM, streams: int, tokens: int = 1) -> int:
    """Count the operators of one forward pass.

    Args:
        model: The model.
        streams: Number of streams in the pass.
        tokens: Number of tokens that each stream reads; each stream already holds `TOKENS_HELD`.
    """
    pool = KVPool()
    caches = [StreamCache(pool=pool) for _ in range(streams)]
    forward_stream_requests(model, [ForwardRequest(range(9, 9 + TOKENS_HELD), cache) for cache in caches])
    requests = [ForwardRequest([9] * tokens, cache, banned=(0,)) for cache in caches]
    return count_operators(lambda: forward_stream_requests(model, requests))


def figures() -> dict[str, int]:
    """Return the operator counts of a forward pass for one and for sixteen streams."""
    torch.manual_seed(0)
    model = layered_model()
    return {f"forward_ops_{_named(streams)}": forward_operators(model, streams) for streams in (1, 16)}


def _named(streams: int) -> str:
    return f"{streams}_stream" if streams == 1 else f"{streams}_streams"


if __name__ == "__main__":
    print(json.dumps(figures()))
