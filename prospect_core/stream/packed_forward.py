"""Forward pass of the text model over the tokens of several streams, packed without padding.

The tokens of all requests form one row of T tokens: linear layers, norms and rotary embeddings
process the whole row in one operator each. Keys and values of all streams are in one `KVPool`, so
one operator appends to a layer. Attention needs one operator per group of streams.

The results of a stream do not depend on the other streams, bit for bit (float32 on CPU):

* T is padded to a multiple of `TILE`. Matrix products then give a row the same sum in every batch;
  fewer than four rows, and odd numbers of rows, use other kernels.
* The attention of a stream always has the same shape (`packed_attention`).

Shape letters: T tokens of the packed row, H heads, D size of a head, W width of the model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from prospect_core.stream.kv_cache import StreamCache
from prospect_core.stream.kv_pool import KVPool
from prospect_core.stream.packed_attention import PackedAttention

#: the number of tokens of a packed row is a multiple of this
TILE = 16


@torch.no_grad()
def packed_forward(
    text: Any, embeds_TW: Tensor, counts: Sequence[int], caches: Sequence[StreamCache], pool: KVPool
) -> Tensor:
    """Run the text model over a packed row and append keys and values to the streams' caches.

    Args:
        text: A `LlamaModel` of transformers.
        embeds_TW: Embeddings of each stream's tokens in order, then of the padding tokens.
        counts: Number of tokens of each stream.
        caches: Cache of each stream, all in ``pool``.
        pool: Pool of keys and values.

    Returns:
        Hidden states (T, W).
    """
    fill = len(embeds_TW) - sum(counts)
    places_T = [place for n, c in zip(counts, caches, strict=True) for place in range(c.length, c.length + n)]
    rotation = Rotation(text, embeds_TW, places_T + [0] * fill)
    norms = [norm for layer in text.layers for norm in (layer.input_layernorm, layer.post_attention_layernorm)]
    residual = ResidualStream(embeds_TW, [*norms, text.norm])
    size, widths = text.layers[0].self_attn.head_dim, [part.out_features for part in _projections(text.layers[0])]
    row_bytes = (widths[1] + widths[2]) * embeds_TW.element_size()
    attention = PackedAttention(pool, counts, caches, embeds_TW, row_bytes)
    # attention may read queries beyond the last token as padding
    buffer_THD = embeds_TW.new_zeros(len(embeds_TW) + attention.margin, sum(widths) // size, size)
    states_THD = buffer_THD[: len(embeds_TW)]
    for number, layer in enumerate(text.layers):
        packed_forward_linear(residual.normed(), *_projections(layer), out=states_THD.flatten(1))
        rotation.apply(states_THD[:, : (widths[0] + widths[1]) // size])
        attended_TW = attention(number, buffer_THD, widths[1] // size, layer.self_attn.scaling)
        add_packed_forward_linear(residual.states_TW, attended_TW, layer.self_attn.o_proj)
        gate, up = packed_forward_linear(residual.normed(), layer.mlp.gate_proj, layer.mlp.up_proj).chunk(2, -1)
        add_packed_forward_linear(residual.states_TW, layer.mlp.act_fn(gate).mul_(up), layer.mlp.down_proj)
    for count, cache in zip(counts, caches, strict=True):
        cache.length += count
    return residual.normed()


def _projections(layer: Any) -> tuple[Any, Any, Any]:
    block = layer.self_attn
    return block.q_proj, block.k_proj, block.v_proj


class Rotation:
    """Rotary position embedding of a packed row: x cos + rotate_half(x) sin.

    Args:
        text: Text model.
        embeds_TW: Embeddings of the row, for device and number type.
        places_T: Position of each token.
    """

    def __init__(self, text: Any, embeds_TW: Tensor, places_T: Sequence[int]) -> None:
        places_1T = torch.tensor([places_T], device=embeds_TW.device)
        cos_1TD, sin_1TD = text.rotary_emb(embeds_TW, places_1T)
        self._half = sin_1TD.shape[-1] // 2
        # rotate_half negates the first half: put the sign into the sine once instead of
        # into the states of each layer
        signed_1TD = torch.cat((-sin_1TD[..., : self._half], sin_1TD[..., self._half :]), -1)
        self._cos_T1D, self._sin_T1D = cos_1TD[0, :, None], signed_1TD[0, :, None]

    def apply(self, states_THD: Tensor) -> None:
        """Rotate queries or keys in place."""
        swapped_THD = torch.cat((states_THD[..., self._half :], states_THD[..., : self._half]), -1)
        states_THD.mul_(self._cos_T1D).addcmul_(swapped_THD, self._sin_T1D)


class ResidualStream:
    """Residual stream (T, W) of a forward pass with its RMS norms, computed in float32.

    The norm is x / sqrt(mean(x^2) + eps) * weight. On the CPU, transformers' norm and PyTorch's own
    need seven or more operators. Three suffice with two preparations: the buffer has extra columns,
    the first of which is sqrt(W eps), so that the length of a row is sqrt(sum(x^2) + W eps); the
    weights are multiplied by sqrt(W) once for all layers.

    Args:
        embeds_TW: Embeddings of the row.
        norms: Norms in the order of their use.

    Attributes:
        states_TW: Buffer to which the layers add in place.
    """

    def __init__(self, embeds_TW: Tensor, norms: Sequence[Any]) -> None:
        self._norms = iter(norms)
        count, width = embeds_TW.shape
        self._on_cpu = embeds_TW.device.type == "cpu"
        if not self._on_cpu:
            self._rows = self.states_TW = embeds_TW.clone()
            return
        self._rows = embeds_TW.new_zeros(count, width + TILE)
        self._rows[:, :width] = embeds_TW
        self._rows[:, width] = math.sqrt(width * norms[0].variance_epsilon)
        self.states_TW = self._rows[:, :width]
        weights = torch.stack([norm.weight for norm in norms]).float().mul_(math.sqrt(width))
        self._scaled_weights = iter(weights.unbind())

    def normed(self) -> Tensor:
        """Apply the next norm; return (T, W)."""
        norm = next(self._norms)
        if not self._on_cpu:
            weight_W: Tensor = norm.weight
            return functional.rms_norm(self.states_TW, weight_W.shape, weight_W, norm.variance_epsilon)
        exact = self._rows.float()
        unit_TW: Tensor = exact[:, : self.states_TW.shape[1]] / torch.linalg.vector_norm(exact, dim=-1, keepdim=True)
        return unit_TW.mul_(next(self._scaled_weights)).to(self._rows.dtype)


def packed_forward_linear(inputs_TW: Tensor, *layers: Any, out: Tensor | None = None) -> Tensor:
    """Apply several linear layers to the same inputs.

    Args:
        inputs_TW: Inputs.
        *layers: Linear layers.
        out: Buffer for the result.

    Returns:
        Outputs, concatenated in the last dimension.
    """
    joined = _joined(layers)
    if joined is None:
        return torch.cat([layer(inputs_TW) for layer in layers], -1, out=out)
    if layers[0].bias is None:
        return torch.mm(inputs_TW, joined.t(), out=out)
    biases: list[Any] = [layer.bias for layer in layers]
    return torch.addmm(torch.cat(biases), inputs_TW, joined.t(), out=out)


def add_packed_forward_linear(hidden: Tensor, inputs: Tensor, layer: Any) -> None:
    """Add the output of a linear layer to ``hidden`` in place."""
    if _is_plain(layer) and layer.bias is None:
        hidden.addmm_(inputs, layer.weight.t())
    else:
        hidden.add_(layer(inputs))


def _is_plain(layer: Any) -> bool:
    """Check for a linear layer whose weight is not sharded and has no adapter."""
    return type(layer) is nn.Linear and type(layer.weight) is nn.Parameter


def _joined(layers: Sequence[Any]) -> Tensor | None:
    """Return the weights of linear layers as one tensor without a copy; None for adapters and shards.

    The first call places the weights next to each other in memory. They remain the layers' weights:
    in-place changes of one affect the other.
    """
    if not all(map(_is_plain, layers)) or len({layer.bias is None for layer in layers}) > 1:
        return None
    weights: list[Tensor] = [layer.weight for layer in layers]
    first = weights[0]
    rows, columns = sum(len(weight) for weight in weights), first.shape[1]
    end = first.data_ptr()
    for weight in weights:
        if weight.data_ptr() != end or not weight.is_contiguous():
            break
        end += weight.nbytes
    else:
        if first.untyped_storage().data_ptr() + first.untyped_storage().nbytes() >= end:
            return first.detach().as_strided((rows, columns), (columns, 1))
    whole = torch.cat([weight.detach() for weight in weights])
    for weight, part in zip(weights, whole.split([len(weight) for weight in weights]), strict=True):
        weight.data = part
    return whole
