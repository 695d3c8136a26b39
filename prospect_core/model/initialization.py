"""How a model with random weights begins, beyond drawing them: frames no louder than words, heads that look near.

prospect train model.text.local_heads=3
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from prospect_core.model.modeling import DSTSmolVLM

#: a head of 64 dimensions then gives 0.87 of its attention to the token so many before, the rest to that one's neighbours
LOCAL_BIAS = 4.5
#: tokens back that the first layers reach together, counted from a frame's first slot: a line's verb, and a word of the
#: user's, lie four
REACH = 6
#: layers that are left to look wherever they find something
FREE_LAYERS = 2


@torch.no_grad()
def initialize_model_weights(model: DSTSmolVLM, local_heads: int) -> None:
    """Change a model with random weights in place."""
    for layer in model.model.vision_model.embeddings.patch_embedding.children():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    _quieten(model.model.connector.modality_projection.proj.weight)
    if local_heads:
        _look_near(model, local_heads)


def _quieten(weight_OI: Tensor) -> None:
    """Its input is normalised: undivided, a frame's token would be larger than a word's by the root of that width, and
    nothing that the text model's layers add to it would count."""
    weight_OI.div_(weight_OI.shape[1] ** 0.5)


def _look_near(model: DSTSmolVLM, heads: int) -> None:
    """The first key heads of the first layers begin by attending 1, 2, 3, ... tokens back: the end of a line, and a frame,
    hold from there on what has been said right before them, each word in its place.

    Queries and keys have biases of equal length in the faster half of the rotary frequencies, the query's turned back by
    the distance: what they add to a score is a sum of cosines, largest there, whatever the tokens are. Needs a text
    model with attention biases.
    """
    text = model.config.text_config
    width, each = text.hidden_size // text.num_attention_heads, text.num_attention_heads // text.num_key_value_heads
    frequencies = model.model.text_model.rotary_emb.inv_freq[: width // 4]
    # a rotary pair is (i, i + width / 2)
    fast, partner = slice(0, width // 4), slice(width // 2, width // 2 + width // 4)
    layers = model.model.text_model.layers
    # the last slot, where decisions are read, lies behind the others
    near = min(math.ceil((REACH + model.config.tokens_per_frame - 1) / heads), len(layers) - FREE_LAYERS)
    for layer in layers[: max(1, near)]:
        queries, keys = (p.bias.view(-1, width) for p in (layer.self_attn.q_proj, layer.self_attn.k_proj))
        for head in range(heads):
            turn = (head + 1) * frequencies
            keys[head, fast] = LOCAL_BIAS
            queries[head * each : (head + 1) * each, fast] = LOCAL_BIAS * turn.cos()
            queries[head * each : (head + 1) * each, partner] = -LOCAL_BIAS * turn.sin()
