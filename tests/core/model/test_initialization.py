"""Weight initialization of a model without pretrained weights."""

from __future__ import annotations

import pytest
import torch

from prospect_core.train.config.compose import compose_config
from prospect_core.train.setup.model_factory import make_model
from prospect_core.util.errors import UserError
from tests.helpers.training import SMALL

pytestmark = pytest.mark.integration


def made(world, *overrides):
    torch.manual_seed(0)
    options = compose_config([*SMALL, *overrides])[0].model
    return make_model(options, None, list(world.episodes("train")))[0].eval()


def attention(model, layer):
    """Attention of each head on random words, shape (H, T, T)."""
    model.set_attn_implementation("eager")
    ids = torch.randint(9, 300, (1, 60))
    return model.model.text_model(input_ids=ids, output_attentions=True).attentions[layer][0]


def test_initialization_frame_token_has_size_of_word(world):
    """Without the division it would be 19 times as large, and the text model's layers could not add
    to it.
    """
    model = made(world)
    pixels = torch.rand(8, 3, model.config.image_size, model.config.image_size)
    frames = model.encode_frames(pixels).norm(dim=-1).mean()
    words = model.model.text_model.get_input_embeddings().weight.norm(dim=-1).mean()
    assert 0.3 < frames / words < 2


def test_initialization_local_heads_attend_previous_tokens(world):
    """Each local head of the first two layers has its own position; other heads attend everywhere."""
    given = (
        "model.text.layers=4",
        "model.text.hidden_size=256",
        "model.text.heads=4",
        "model.text.kv_heads=4",
        "model.text.local_heads=3",
    )
    model = made(world, *given)
    for layer in (0, 1):
        shares = attention(model, layer)[:, 20:]
        back = torch.stack([shares.diagonal(20 - n, dim1=1, dim2=2).mean(-1) for n in range(5)])
        assert back.argmax(0)[:3].tolist() == [1, 2, 3]
        assert back.max(0).values[:3].min() > 0.4
        assert back[:, 3].max() < 0.2
    assert attention(model, 2)[:, 20:].diagonal(19, dim1=1, dim2=2).mean(-1).max() < 0.2


def test_initialization_no_local_heads_has_no_biases(world):
    model = made(world, "model.text.local_heads=0")
    assert not any(name.endswith("proj.bias") for name, _ in model.model.text_model.named_parameters())


def test_initialization_grouped_heads_share_local_key(world):
    model = made(world, "model.text.heads=4", "model.text.kv_heads=2", "model.text.local_heads=1")
    before = attention(model, 0)[:, 20:].diagonal(19, dim1=1, dim2=2).mean(-1)
    assert before[:2].min() > 0.4 > before[2:].max()


def test_initialization_too_many_local_heads_raises(world):
    with pytest.raises(UserError, match=r"model\.text\.local_heads=9: there are \d+ key heads a layer"):
        made(world, "model.text.local_heads=9")
