"""The published 500M configuration, every key of it, with two layers a part and random weights."""

from __future__ import annotations

import json

import pytest
import torch

from prospect_core.model.checkpoint import load_checkpoint
from prospect_core.model.published import load_published
from tests.helpers.commands import evaluate, run_cli
from tests.helpers.published_smolvlm2 import write_published


@pytest.fixture(scope="module")
def published(shared_data, tmp_path_factory):
    """(folder, the model that its weights are of)."""
    config = json.loads((shared_data / "field" / "smolvlm2" / "500M" / "config.json").read_text())
    assert config["text_config"]["torch_dtype"] == "bfloat16"
    folder = tmp_path_factory.mktemp("published") / "500M"
    return folder, write_published(folder, config)


@pytest.mark.slow
def test_load_published_gives_float32_and_the_published_values(published):
    folder, source = published
    model, _ = load_published(str(folder), 0)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.config.tokens_per_frame == 64
    found = model.model.state_dict()
    for name, tensor in source.model.state_dict().items():
        assert torch.equal(found[name][: len(tensor)], tensor), name
    rows = len(source.lm_head.weight)
    assert torch.equal(model.lm_head.weight[:rows], source.lm_head.weight)


@pytest.mark.nightly
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_train_from_published_weights_ends_with_a_calibrated_checkpoint(published, short_world, tmp_path, precision):
    """All tokens of a frame; the checkpoint loads again and is replayed."""
    out = tmp_path / "out"
    options = ["model=smolvlm2_500m", f"model.weights={published[0]}", f"data={short_world.root}", f"output={out}"]
    options += ["model.tokens_per_frame=0", "train.max_steps=2", "train.batch_size=1", "eval.episodes=1"]
    options += ["sampling.min_frames=2", "sampling.max_frames=3", f"train.precision={precision}"]
    options += ["train.learning_rate=1e-5", "eval.thresholds=true"]
    assert run_cli("train", *options) == 0
    model, _ = load_checkpoint(str(out))
    assert model.config.tokens_per_frame == 64
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert "bfloat16" not in (out / "config.json").read_text()
    given = ["run", "--ckpt", out, "--data", short_world.root, "--limit", 1, "--output", tmp_path / "run"]
    assert evaluate(*given) == 0
