"""How a model with random weights begins, beyond drawing them: frames no louder than words, some heads that look near.

prospect train model.text.local_heads=1
"""

from __future__ import annotations

import torch
from torch import Tensor

from prospect_core.model.modeling import DSTSmolVLM

#: of a head's attention, with 64 dimensions, 0.76 then goes to the token itself and 0.23 to the one before
LOCAL_BIAS = 3.0


@torch.no_grad()
def begin(model: DSTSmolVLM, local_heads: int) -> None:
    """Change a model with random weights in place."""
    _quieten(model.model.connector.modality_projection.proj.weight)
    if local_heads:
        _look_near(model, local_heads)


def _quieten(weight_OI: Tensor) -> None:
    """Its input is normalised: undivided, a frame's token would be larger than a word's by the root of that width, and
    nothing that the text model's layers add to it would count."""
    weight_OI.div_(weight_OI.shape[1] ** 0.5)


def _look_near(model: DSTSmolVLM, heads: int) -> None:
    """The first key heads of each layer begin by attending to the token itself and the one before: layer on layer, that
    carries what a line says to its end.

    Queries and keys have equal biases in the faster half of the rotary frequencies: what these add to a score is a sum of
    cosines of the distance, whatever the tokens are. Needs a text model with attention biases.
    """
    text = model.config.text_config
    width = text.hidden_size // text.num_attention_heads
    fast = torch.arange(width) < width // 4
    for layer in model.model.text_model.layers:
        for projection, each in (
            (layer.self_attn.q_proj, text.num_attention_heads // text.num_key_value_heads),
            (layer.self_attn.k_proj, 1),
        ):
            projection.bias.view(-1, width)[: heads * each, fast] = LOCAL_BIAS
