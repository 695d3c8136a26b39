"""The optional mistake head: checkpoints and predictions of models with and without it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open

from prospect_core.checkpoints.folders import SHIPPED
from prospect_core.model import CheckpointError, DSTSmolVLM
from prospect_core.model.checkpoint import load_model_checkpoint
from prospect_core.model.configuration import ConfigurationError, DSTSmolVLMConfig
from prospect_core.records import Knobs
from prospect_core.stream.replay import replay_episode
from prospect_core.stream.runner import VLMStreamRunner
from prospect_core.util.json_io import digest_json, dump_json
from tests.helpers.files import edit_json
from tests.helpers.small_models import small_config
from tests.helpers.streams import busy_episode, pictures

pytestmark = pytest.mark.integration
NAMES = {"mistake_head.weight", "mistake_head.bias"}


def test_mistake_head_off_leaves_checkpoint_as_it_was(checkpoint, model):
    config = json.loads((checkpoint / "config.json").read_bytes())
    assert not [key for key in config if "mistake" in key]
    assert not NAMES & set(model.state_dict())
    assert model.decide_mistakes(torch.zeros(1, 2, 48)) is None


def test_mistake_head_leaves_other_initial_weights_equal(tokenizer):
    found = []
    for on in (False, True):
        torch.manual_seed(3)
        found.append(DSTSmolVLM(small_config(tokenizer, mistake_head=on)).state_dict())
    without, with_head = found
    assert set(with_head) - set(without) == NAMES
    assert all(torch.equal(tensor, with_head[name]) for name, tensor in without.items())


def test_mistake_head_is_saved_and_loaded(checkpoint, model):
    torch.manual_seed(0)
    model.add_mistake_head()
    model.config.mistake_threshold = 0.3
    with torch.no_grad():
        model.mistake_head.bias.fill_(0.7)
    model.save_pretrained(checkpoint)
    loaded, _ = load_model_checkpoint(str(checkpoint))
    assert (loaded.config.mistake_head, loaded.config.mistake_threshold) == (True, 0.3)
    for name in NAMES:
        assert torch.equal(loaded.state_dict()[name], model.state_dict()[name])
    weight = loaded.mistake_head.weight
    loaded.add_mistake_head()
    assert loaded.mistake_head.weight is weight


def test_mistake_head_without_tensors_raises(checkpoint):
    edit_json(checkpoint / "config.json", mistake_head=True)
    with pytest.raises(CheckpointError, match=r"missing keys: mistake_head\.bias"):
        DSTSmolVLM.from_pretrained(checkpoint)


def test_mistake_head_stays_float32(model):
    model.add_mistake_head()
    model.compute_in(torch.bfloat16)
    assert model.mistake_head.weight.dtype == torch.float32
    assert model.decide_mistakes(torch.zeros(1, 2, 48, dtype=torch.bfloat16)).dtype == torch.float32


@pytest.mark.parametrize("value", [-0.1, 1.02, True, "0.5"])
def test_configuration_wrong_mistake_threshold_raises(value):
    with pytest.raises(ConfigurationError, match="mistake_threshold"):
        DSTSmolVLMConfig(mistake_threshold=value)


def test_released_checkpoint_predictions_without_head_are_unchanged(tmp_path):
    """The head changes no other prediction, and without it nothing in files refers to mistakes."""
    model, tokenizer = load_model_checkpoint("workbench-tiny")
    model.save_pretrained(tmp_path)
    saved, released = (
        json.loads((folder / "config.json").read_bytes()) for folder in (tmp_path, SHIPPED / "workbench-tiny")
    )
    assert not [key for key in saved if "mistake" in key]
    # files that an earlier version wrote may lack keys with a default
    assert {key: saved[key] for key in released if key in saved and key != "transformers_version"} == {
        key: value for key, value in released.items() if key in saved and key != "transformers_version"
    }
    with safe_open(SHIPPED / "workbench-tiny" / "model.safetensors", "pt") as file:
        assert set(file.keys()) >= set(model.state_dict()) - {"lm_head.weight"}
    episode = busy_episode(60)
    config = model.config
    knobs = Knobs("none", None, config.speaking_threshold, config.update_threshold)

    def replay(knobs):
        runner = VLMStreamRunner(model, tokenizer, knobs)
        return replay_episode(runner, episode, pictures(60, config.image_size), knobs, "x")[0]

    before = replay(knobs)
    assert "mistake" not in dump_json(before)
    model.add_mistake_head()
    after = replay(knobs)
    assert len(after.mistake_prob) == 60
    assert "mistake_prob" in dump_json(after)
    assert digest_json(replace(after, mistake_prob=(), mistakes=())) == digest_json(before)
