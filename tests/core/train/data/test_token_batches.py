"""Batches by tokens, learning rates by part, rows that complete a batch, and memory of a training."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prospect_core.model.checkpoint import load_model_checkpoint
from prospect_core.model.configuration import DSTSmolVLMConfig
from prospect_core.model.modeling import DSTSmolVLM
from prospect_core.sequence.builder import SequenceBuilder
from prospect_core.sequence.labels import IGNORE
from prospect_core.train.config.compose import compose_config
from prospect_core.train.config.schema import Rates
from prospect_core.train.data.collator import DSTDataCollator
from prospect_core.train.data.token_batches import TokenBatches, group_token_batches
from prospect_core.train.data.training_dataset import DSTTrainingDataset, SamplingPlan
from prospect_core.train.data.window_sampler import WindowSampler
from prospect_core.train.optim.learning_rates import learning_rate_part, set_learning_rates
from prospect_core.train.setup.memory_estimate import estimate_training_memory
from prospect_core.train.setup.model_factory import freeze_model_factory_parts
from tests.helpers.commands import run_cli
from tests.helpers.small_models import small_config
from tests.helpers.training import SMALL, pictures

pytestmark = pytest.mark.integration


def test_group_token_batches_by_hand():
    assert group_token_batches([5, 9, 3, 4, 20, 5], 20) == [[4], [1, 0], [5, 3, 2]]
    assert group_token_batches([5, 5], 4, first=7) == [[7], [8]]
    assert group_token_batches([], 4) == []


@given(st.lists(st.integers(1, 60), max_size=40), st.integers(1, 200))
def test_group_token_batches_random_items_fit_once(sizes, room):
    groups = group_token_batches(sizes, room)
    assert sorted(k for group in groups for k in group) == list(range(len(sizes)))
    assert all(len(group) == 1 or len(group) * max(sizes[k] for k in group) <= room for group in groups)


def test_token_batches_have_each_window_once(short_world, tokenizer):
    draws = SamplingPlan(WindowSampler(2, 30), windows_per_episode=9)
    windows = DSTTrainingDataset(list(short_world.episodes("train")), SequenceBuilder(tokenizer, 4), pictures, draws)
    batches = TokenBatches(windows, 1200)
    batches.multiple = 4
    assert len(batches) % 4 == 0
    seen, full, collate = [], 0, DSTDataCollator(0)
    for k in range(len(batches)):
        batch = batches[k]
        learns = [s for s, _ in batch if {*s.lm_labels, *s.speaking} != {IGNORE}]
        assert len(learns) in (0, len(batch))
        seen += learns
        ids = collate([batch])["input_ids"]
        # sizes are estimated before a window is drawn, when the text at its end is unknown
        assert len(batch) == 1 or ids.numel() <= 1.3 * 1200
        full += len(batch) > 1
    assert sorted(map(repr, seen)) == sorted(repr(windows[k][0]) for k in range(len(windows)))
    assert full
    before = len(batches)
    batches.set_epoch(1, 0.5, 0.1)
    assert len(batches) == before
    assert sum(len(batches[k]) for k in range(before)) >= 0.9 * len(windows)


def test_train_command_by_tokens_resumes(short_world, tmp_path):
    out = tmp_path / "out"
    options = [f"data={short_world.root}", f"output={out}", *SMALL, "train.batch_tokens=900", "train.max_steps=5"]
    assert run_cli("train", *options) == 0
    rows = [json.loads(line) for line in (out / "train_log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]


def test_learning_rates_apply_by_part(tokenizer):
    torch.manual_seed(0)
    model = DSTSmolVLM(small_config(tokenizer))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    set_learning_rates(optimizer, model, Rates(heads=5.0, rows=3.0, vision=0.5, adapters=10.0), [2, 7])
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.05, 0.005]
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    for name, p in model.named_parameters():
        moved = (before[name] - p).detach()
        expected = torch.full_like(p, {"heads": 0.05, "vision": 0.005, "text": 0.01}[learning_rate_part(name)])
        if name == "model.text_model.embed_tokens.weight":
            expected[[2, 7]] = 0.03
        torch.testing.assert_close(moved, expected, atol=1e-6, rtol=0)


def test_learning_rates_apply_to_adapters(tokenizer):
    model = DSTSmolVLM(small_config(tokenizer))
    config, _ = compose_config(["output=x", "run=gpu_lora"])
    freeze_model_factory_parts(model, config.model)
    adapters = {name for name, _ in model.named_parameters() if learning_rate_part(name) == "adapters"}
    assert adapters == {name for name, _ in model.named_parameters() if "lora_A" in name or "lora_B" in name}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=config.train.learning_rate)
    set_learning_rates(optimizer, model, config.train.rates, [2])
    scaled = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    rates = [scaled[id(p)] for name, p in model.named_parameters() if name in adapters]
    assert rates == pytest.approx([2e-4] * len(adapters))
    assert scaled[id(model.get_input_embeddings().weight)] == pytest.approx(2e-5)


@pytest.mark.parametrize(
    ("size", "parameters", "totals"),
    [pytest.param("256m", 0.256e9, {"gpu": 4.6, "gpu_lora": 3.4}, marks=pytest.mark.slow),
     ("500m", 0.508e9, {"gpu": 9.2, "gpu_lora": 5.6}),
     pytest.param("2.2b", 2.25e9, {"gpu": 34.4, "gpu_lora": 15.3}, marks=pytest.mark.slow)],
)  # fmt: skip
def test_gpu_presets_document_their_memory(size, parameters, totals):
    """GB of GPU memory by the formula, as in the documentation, for the published shapes without
    weights.
    """
    for run, gigabytes in totals.items():
        config, _ = compose_config([f"model=smolvlm2_{size}", f"run={run}", "model.weights=null", "output=x"])
        vision, text = config.model.vision, config.model.text
        shape = DSTSmolVLMConfig(
            vision_config={"hidden_size": vision.hidden_size, "intermediate_size": vision.intermediate_size,
                           "num_hidden_layers": vision.layers, "num_attention_heads": vision.heads,
                           "image_size": vision.image_size, "patch_size": vision.patch_size},
            text_config={"vocab_size": text.vocab_size, "hidden_size": text.hidden_size, "num_hidden_layers": text.layers,
                         "intermediate_size": text.intermediate_size, "num_attention_heads": text.heads,
                         "num_key_value_heads": text.kv_heads, "pad_token_id": 0, "eos_token_id": 1},
            scale_factor=vision.scale_factor, tie_word_embeddings=text.tied,
        )  # fmt: skip
        with torch.device("meta"):
            model = DSTSmolVLM(shape)
            freeze_model_factory_parts(model, config.model)
        found = estimate_training_memory(model, config)
        assert found["weights"] == pytest.approx(4 * parameters, rel=0.1)
        assert sum(found.values()) / 1e9 == pytest.approx(gigabytes, rel=0.1), found
        if run == "gpu_lora":
            assert found["optimiser"] < found["weights"]


def test_padded_vocabulary_rows_are_never_generated(tokenizer):
    config = small_config(tokenizer)
    config.text_config.vocab_size = len(tokenizer) + 3
    builder = SequenceBuilder.of(config, tokenizer)
    filled = range(len(tokenizer), len(tokenizer) + 3)
    assert set(builder.unsayable) == {*builder.special.unsayable, *filled}
    model = DSTSmolVLM(config)
    hidden = 100 * model.get_input_embeddings().weight[filled[1] : filled[1] + 1].detach()
    assert model.likeliest(hidden) == [filled[1]]
    assert model.likeliest(hidden, builder.unsayable)[0] < len(tokenizer)


def test_train_command_limits_are_kept_from_checkpoint(short_world, checkpoint, tmp_path):
    out = tmp_path / "out"
    options = [f"data={short_world.root}", f"init={checkpoint}", f"output={out}", *SMALL, "train.max_steps=1"]
    assert run_cli("train", *options, "model.max_reply_tokens=20", "model.max_summary_tokens=30") == 0
    config = load_model_checkpoint(str(out))[0].config
    # the limit of user tokens is that of the checkpoint, 16
    assert (config.max_reply_tokens, config.max_summary_tokens, config.max_user_tokens) == (20, 30, 16)


def test_estimate_training_memory_by_hand(tokenizer):
    config, _ = compose_config(["output=x", "model.vision_tower=frozen", "train.batch_tokens=1000"])
    model = DSTSmolVLM(small_config(tokenizer))
    freeze_model_factory_parts(model, config.model)
    count = sum(p.numel() for p in model.parameters())
    learns = sum(p.numel() for p in model.parameters() if p.requires_grad)
    found = estimate_training_memory(model, config)
    assert (found["weights"], found["gradients"], found["optimiser"]) == (4 * count, 4 * learns, 8 * learns)
    layers = 1000 * 48 * 2 * 20 * 4
    assert found["activations"] == layers + 2 * 4 * 100 * len(tokenizer)
    half = replace(config, train=replace(config.train, precision="bfloat16", gradient_checkpointing=True))
    assert estimate_training_memory(model, half)["activations"] == 1000 * 48 * 22 * 2 + 2 * 4 * 100 * len(tokenizer)
