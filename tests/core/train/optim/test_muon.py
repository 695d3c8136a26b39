"""Muon and AdamW compared with torch's, and a training that resumes with Muon."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from prospect_core.sequence.builder import SequenceBuilder
from prospect_core.train.data.training_dataset import DSTTrainingDataset, SamplingPlan
from prospect_core.train.data.window_sampler import WindowSampler
from prospect_core.train.optim.muon import Muon, muon_parameter_groups, orthogonalize_for_muon
from tests.helpers.commands import run_cli
from tests.helpers.training import SMALL, make_trainer, pictures

pytestmark = pytest.mark.integration


def pair(shape):
    one = nn.Parameter(torch.randn(shape))
    return one, nn.Parameter(one.detach().clone())


def test_orthogonalize_singular_values_approach_one():
    for rows, columns in ((24, 24), (16, 40)):
        x = orthogonalize_for_muon(torch.randn(3, rows, columns))
        values = torch.linalg.svdvals(x)
        # the smallest singular value of a square matrix is nearly 0 and needs more than five
        # iterations
        assert values[:, : rows - rows // 6].min() > 0.3
        assert values.max() < 1.25
        u, _, v = torch.linalg.svd(torch.randn(1, rows, columns), full_matrices=False)
        # the singular vectors do not change
        assert (
            torch.nn.functional.cosine_similarity((orthogonalize_for_muon(u @ v)).flatten(), (u @ v).flatten(), 0)
            > 0.99
        )


@pytest.mark.parametrize("shape", [(12, 12), (8, 20), (20, 8)])
def test_muon_steps_equal_torch_within_bfloat16(shape):
    muon = getattr(torch.optim, "Muon", None)
    if muon is None:
        pytest.skip("this torch has no Muon")
    mine, theirs = pair(shape)
    a = Muon([{"params": [mine], "orthogonal": True, "weight_decay": 0.05}], lr=1e-2)
    b = muon([theirs], lr=1e-2, weight_decay=0.05, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        gradient = torch.randn(shape)
        before = mine.detach().clone()
        for parameter, optimiser in ((mine, a), (theirs, b)):
            parameter.grad = gradient.clone()
            optimiser.step()
        assert (mine - theirs).abs().max() < 0.1 * (mine - before).abs().max()


def test_muon_other_parameters_use_adamw():
    mine, theirs = pair((5, 3))
    a = Muon([{"params": [mine], "weight_decay": 0.1}], lr=3e-3, betas=(0.9, 0.98))
    b = torch.optim.AdamW([theirs], lr=3e-3, betas=(0.9, 0.98), weight_decay=0.1)
    for _ in range(5):
        gradient = torch.randn(5, 3)
        for parameter, optimiser in ((mine, a), (theirs, b)):
            parameter.grad = gradient.clone()
            optimiser.step()
    torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-7)


def test_muon_parameter_groups_have_each_parameter_once(model):
    model.model.vision_model.requires_grad_(False)
    groups = muon_parameter_groups(model, 0.05, [n for n, p in model.named_parameters() if p.ndim > 1])
    found = [id(p) for group in groups for p in group["params"]]
    assert sorted(found) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    assert all(p.ndim == 2 for p in groups[0]["params"])
    assert id(model.model.text_model.get_input_embeddings().weight) not in {id(p) for p in groups[0]["params"]}
    assert groups[2]["weight_decay"] == 0


def test_muon_state_round_trips(model):
    def step(optimiser, seed):
        torch.manual_seed(seed)
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimiser.step()

    groups = muon_parameter_groups(model, 0.05, [])
    first = Muon(groups, 1e-3)
    step(first, 0)
    kept, weights = copy.deepcopy(first.state_dict()), {k: v.clone() for k, v in model.state_dict().items()}
    step(first, 1)
    expected = {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(weights)
    second = Muon(muon_parameter_groups(model, 0.05, []), 1e-3)
    second.load_state_dict(kept)
    step(second, 1)
    assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())


def test_train_command_uses_muon(short_world, tmp_path):
    options = [f"data={short_world.root}", *SMALL, "optimiser=muon", "train.max_steps=2", f"output={tmp_path / 'out'}"]
    assert run_cli("train", *options) == 0
    assert "optimiser: muon" in (tmp_path / "out" / "train_config.yaml").read_text()


def test_trainer_muon_state_is_saved(model, short_world, tokenizer, tmp_path):
    dataset = DSTTrainingDataset(
        list(short_world.episodes("train")), SequenceBuilder(tokenizer, 4), pictures, SamplingPlan(WindowSampler(2, 6))
    )
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    whole = make_trainer(model, dataset, tmp_path / "a", muon=True, max_steps=3, save_strategy="steps", save_steps=2)
    whole.train()
    assert isinstance(whole.optimizer.optimizer, Muon)
    expected = {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(weights)
    again = make_trainer(model, dataset, tmp_path / "b", muon=True, max_steps=3)
    again.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-2"))
    assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())
