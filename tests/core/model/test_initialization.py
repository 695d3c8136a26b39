"""How a model with random weights begins."""

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
    """Of each head (H, T, T), on random words."""
    model.set_attn_implementation("eager")
    ids = torch.randint(9, 300, (1, 60))
    return model.model.text_model(input_ids=ids, output_attentions=True).attentions[layer][0]


def test_a_frames_token_is_as_large_as_a_words(world):
    """Undivided it would be 19 times as large, and no layer of the text model could add to it anything that counts."""
    model = made(world)
    pixels = torch.rand(8, 3, model.config.image_size, model.config.image_size)
    frames = model.encode_frames(pixels).norm(dim=-1).mean()
    words = model.model.text_model.get_input_embeddings().weight.norm(dim=-1).mean()
    assert 0.3 < frames / words < 2


def test_local_heads_read_the_tokens_right_before(world):
    """Each its own, in the first two layers; a head that is not told to looks anywhere."""
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


def test_without_local_heads_there_are_no_biases(world):
    model = made(world, "model.text.local_heads=0")
    assert not any(name.endswith("proj.bias") for name, _ in model.model.text_model.named_parameters())


def test_heads_of_a_group_look_near_with_their_key(world):
    model = made(world, "model.text.heads=4", "model.text.kv_heads=2", "model.text.local_heads=1")
    before = attention(model, 0)[:, 20:].diagonal(19, dim1=1, dim2=2).mean(-1)
    assert before[:2].min() > 0.4 > before[2:].max()


def test_more_local_heads_than_keys_are_refused(world):
    with pytest.raises(UserError, match=r"model\.text\.local_heads=9: there are \d+ key heads a layer"):
        made(world, "model.text.local_heads=9")
