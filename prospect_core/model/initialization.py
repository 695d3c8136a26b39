"""Weight initialization beyond random draws: scaled frame tokens, and attention heads that start local."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from prospect_core.model.modeling import DSTSmolVLM

#: with this value a head of 64 dimensions gives 0.87 of its attention to the token at its
#: distance, the rest to neighbours
LOCAL_BIAS = 4.5
#: distance in tokens that the first layers cover together, counted from a frame's first slot: a
#: line's verb or a word of the user's is four tokens away
REACH = 6
#: number of last layers without local heads
FREE_LAYERS = 2


@torch.no_grad()
def initialize_model_weights(model: DSTSmolVLM, local_heads: int) -> None:
    """Adjust a model with random weights in place.

    Args:
        model: The model.
        local_heads: Key heads per layer that start local; 0 for none.
    """
    for layer in model.model.vision_model.embeddings.patch_embedding.children():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    _quieten(model.model.connector.modality_projection.proj.weight)
    if local_heads:
        _look_near(model, local_heads)


def _quieten(weight_OI: Tensor) -> None:
    """Divide the connector's projection by the square root of its input width.

    Its input is normalised. Without the division a frame's token would be larger than a word's by
    that factor, and what the layers of the text model add to it would not count.
    """
    weight_OI.div_(weight_OI.shape[1] ** 0.5)


def _look_near(model: DSTSmolVLM, heads: int) -> None:
    """Make the first key heads of the first layers attend 1, 2, 3, ... tokens back at the start.

    The end of a line, and a frame, then hold the words right before them, each in its place.
    Queries and keys get biases of equal length in the faster half of the rotary frequencies; the
    query's bias is rotated back by the distance. Their contribution to a score is a sum of cosines
    that is largest at that distance, whatever the tokens are. The text model needs attention
    biases.
    """
    text = model.config.text_config
    width, each = text.hidden_size // text.num_attention_heads, text.num_attention_heads // text.num_key_value_heads
    frequencies = model.model.text_model.rotary_emb.inv_freq[: width // 4]
    # a rotary pair is (i, i + width / 2)
    fast, partner = slice(0, width // 4), slice(width // 2, width // 2 + width // 4)
    layers = model.model.text_model.layers
    # decisions are read at the last slot, which is behind the frame's other slots
    near = min(math.ceil((REACH + model.config.tokens_per_frame - 1) / heads), len(layers) - FREE_LAYERS)
    for layer in layers[: max(1, near)]:
        queries, keys = (p.bias.view(-1, width) for p in (layer.self_attn.q_proj, layer.self_attn.k_proj))
        for head in range(heads):
            turn = (head + 1) * frequencies
            keys[head, fast] = LOCAL_BIAS
            queries[head * each : (head + 1) * each, fast] = LOCAL_BIAS * turn.cos()
            queries[head * each : (head + 1) * each, partner] = -LOCAL_BIAS * turn.sin()
