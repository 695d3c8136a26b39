"""The packed forward: transformers' values, the same bits with any other streams, few operators."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from safetensors.torch import load_file

from benchmarks.performance.operators import forward_operators, layered_model
from prospect_core.model.modeling import DSTSmolVLM
from prospect_core.stream import forward, packed_attention, packed_forward
from prospect_core.stream.forward import ForwardRequest, forward_stream_requests
from prospect_core.stream.kv_cache import StreamCache
from prospect_core.stream.kv_pool import KVPool
from prospect_core.stream.kv_storage import STORAGES
from tests.helpers.small_models import small_config

pytestmark = pytest.mark.integration

LENGTHS = (40, 1, 130, 7, 7, 64)


def random_model(tokenizer, **text):
    torch.manual_seed(4)
    config = small_config(tokenizer)
    options = {**config.text_config.to_dict(), "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 64}
    return DSTSmolVLM(small_config(tokenizer, text_config={**options, **text})).eval()


def random_ids(count, seed=0):
    return torch.randint(10, 200, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def read_in_two_turns(model, storage="model", lengths=LENGTHS, pool=None):
    """Return hidden states of each stream, read in two parts: all but the last third of its tokens,
    then the rest.
    """
    caches = [StreamCache(storage, pool) for _ in lengths]
    ids = [random_ids(count, seed) for seed, count in enumerate(lengths)]
    cuts = [max(1, count * 2 // 3) for count in lengths]
    first = forward_stream_requests(
        model, [ForwardRequest(i[:cut], cache) for i, cut, cache in zip(ids, cuts, caches, strict=True)]
    )
    later = [(number, i[cut:]) for number, (i, cut) in enumerate(zip(ids, cuts, strict=True)) if cut < len(i)]
    second = forward_stream_requests(model, [ForwardRequest(rest, caches[number]) for number, rest in later])
    for (number, _), hidden in zip(later, second, strict=True):
        first[number] = torch.cat((first[number], hidden), 1)
    return first, caches


def plain(model, lengths=LENGTHS):
    """Return the same hidden states by transformers' own forward of each stream."""
    with torch.no_grad():
        return [
            model.read(model.joint_embed(torch.tensor([random_ids(count, seed)]))) for seed, count in enumerate(lengths)
        ]


@pytest.mark.parametrize(
    "text",
    [
        {},
        {"rms_norm_eps": 0.3},
        {"hidden_act": "gelu"},
        {"attention_bias": True, "mlp_bias": True},
        {"head_dim": 32},
        {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}},
        {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 10000.0,
                             "original_max_position_embeddings": 64}},
    ],
    ids=lambda text: "-".join(text) or "llama",
)  # fmt: skip
def test_packed_forward_equals_transformers(tokenizer, text):
    model = random_model(tokenizer, **text)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or "bias" in name:
                parameter.normal_(1.0, 0.5)
    for found, expected in zip(read_in_two_turns(model)[0], plain(model), strict=True):
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=2e-5)


def test_packed_forward_bfloat16_equals_transformers(tokenizer):
    model = random_model(tokenizer).compute_in(torch.bfloat16)
    for found, expected in zip(read_in_two_turns(model)[0], plain(model), strict=True):
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found, expected, atol=0.06, rtol=0.06)


def test_packed_forward_applies_adapters(tokenizer):
    model = random_model(tokenizer)
    before = plain(model)
    inject_adapter_in_model(LoraConfig(r=4, target_modules=["q_proj", "o_proj", "up_proj"]), model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.3)
    adapted = plain(model)
    assert not torch.allclose(adapted[0], before[0], atol=1e-2)
    for found, expected in zip(read_in_two_turns(model)[0], adapted, strict=True):
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=2e-5)


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    """Number of threads of a forward: the distribution of work over threads can depend on the other
    streams.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("storage", STORAGES)
def test_packed_forward_is_independent_of_other_streams(tokenizer, monkeypatch, storage):
    model = random_model(tokenizer)
    together, caches = read_in_two_turns(model, storage)
    for cache in caches[::2]:
        cache.keep(range(0, cache.length, 3), model.model.text_model.rotary_emb.inv_freq)
    third = forward_stream_requests(model, [ForwardRequest([11, 12], cache) for cache in caches])
    # a pool that is already in use, one stream per forward
    pool = KVPool(storage)
    guest = StreamCache(storage, pool)
    forward_stream_requests(model, [ForwardRequest(random_ids(33), guest)])
    for number, length in enumerate(LENGTHS):
        alone = StreamCache(storage, pool)
        ids = random_ids(length, number)
        cut = max(1, length * 2 // 3)
        parts = [
            forward_stream_requests(model, [ForwardRequest(part, alone)])[0] for part in (ids[:cut], ids[cut:]) if part
        ]
        assert torch.equal(torch.cat(parts, 1), together[number])
        if number % 2 == 0:
            alone.keep(range(0, length, 3), model.model.text_model.rotary_emb.inv_freq)
        assert torch.equal(forward_stream_requests(model, [ForwardRequest([11, 12], alone)])[0], third[number])
    # with small groups and small forwards
    monkeypatch.setattr(packed_attention, "MOST_SCORES", 100)
    monkeypatch.setattr(forward, "MOST_TOKENS", 50)
    for one, other in zip(read_in_two_turns(model, storage)[0], together, strict=True):
        assert torch.equal(one, other)


def test_packed_forward_mixed_pools_raise(model):
    with pytest.raises(ValueError, match="share one of each"):
        forward_stream_requests(model, [ForwardRequest([11], StreamCache()), ForwardRequest([11], StreamCache("int8"))])
    with pytest.raises(ValueError, match="2 pools"):
        forward_stream_requests(
            model, [ForwardRequest([11], StreamCache(pool=KVPool())), ForwardRequest([11], StreamCache(pool=KVPool()))]
        )


def test_packed_forward_uses_changed_weights(tokenizer):
    model = random_model(tokenizer)
    read_in_two_turns(model)
    for change in ("in place", "replaced", "moved"):
        with torch.no_grad():
            for parameter in model.model.text_model.parameters():
                if change == "in place":
                    parameter.data.mul_(1.1)
                elif change == "replaced":
                    parameter.data = parameter * 0.9
        if change == "moved":
            model.to(torch.float64).to(torch.float32)
        for found, expected in zip(read_in_two_turns(model)[0], plain(model), strict=True):
            torch.testing.assert_close(found, expected, atol=2e-5, rtol=2e-5)


def test_packed_forward_keeps_model_trainable(tokenizer, tmp_path):
    model, fresh = random_model(tokenizer), random_model(tokenizer)
    read_in_two_turns(model)
    for each in (model, fresh):
        optimizer = torch.optim.AdamW(each.parameters(), lr=1e-3)
        hidden = each.read(each.joint_embed(torch.tensor([random_ids(30)])))
        hidden.square().mean().backward()
        optimizer.step()
    model.save_pretrained(tmp_path / "read")
    fresh.save_pretrained(tmp_path / "fresh")
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("read", "fresh"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_packed_forward_norm_of_zero_states(tokenizer):
    model = random_model(tokenizer)
    norm = model.model.text_model.norm
    for scale in (0.0, 1e-8, 1e-3, 1.0, 1e6):
        states = torch.randn(16, 64) * scale
        found = packed_forward.ResidualStream(states, [norm]).normed()
        torch.testing.assert_close(found, norm(states), atol=1e-6, rtol=2e-6)


def test_packed_forward_operators_do_not_grow_with_streams():
    """24 layers needed 1,208 operators for one stream and 2,387 for sixteen."""
    model = layered_model()
    one, sixteen = forward_operators(model, 1), forward_operators(model, 16)
    assert sixteen <= one <= 500
    assert sixteen * 5 <= 2387
    # streams of different lengths need additional operators for each group
    assert forward_operators(model, 16, tokens=8) <= 500
