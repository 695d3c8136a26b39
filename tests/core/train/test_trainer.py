"""The trainer: one forward for all samples of a window, global counts, several processes,
checkpoints.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch

from prospect_core.model.modeling import DSTSmolVLM
from prospect_core.sequence.builder import SequenceBuilder
from prospect_core.train.data.collator import DSTDataCollator
from prospect_core.train.data.frame_samplers import CombinedSampler, Every, Silent, Speaking, Transitions
from prospect_core.train.data.training_dataset import DSTTrainingDataset, SamplingPlan, split_training_dataset_samples
from prospect_core.train.data.window_sampler import WindowSampler
from prospect_core.train.objectives.losses import OBJECTIVES, FocalOptions, count_supervised_losses
from prospect_core.train.trainer import STATE_FILE, last_whole_trainer_checkpoint
from tests.helpers.paths import ROOT
from tests.helpers.small_models import small_config
from tests.helpers.training import KeepGradients, gradients, losses_of, make_trainer, pictures

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def builder(tokenizer):
    return SequenceBuilder(tokenizer, 4)


def make_dataset(short_world, builder, media=pictures, frames=None, **windows):
    sampler = WindowSampler(**{"min_frames": 4, "max_frames": 20, **windows})
    frames = frames or CombinedSampler((Transitions(), Speaking(), Silent(0.2)))
    return DSTTrainingDataset(list(short_world.episodes("train")), builder, media, SamplingPlan(sampler, frames))


@pytest.mark.parametrize("stored", [False, True], ids=["pictures", "features"])
@pytest.mark.parametrize("frames", [None, Every()], ids=["sampled", "every"])
def test_trainer_prefix_sharing_equals_separate_samples(model, short_world, builder, frames, stored):
    """One forward of a window contains all of its samples: context up to a frame, labels of that
    frame.
    """
    features = lambda e, a, b: np.random.default_rng(a).normal(size=(b - a, 4, 48)).astype(np.float32)  # noqa: E731
    dataset = make_dataset(
        short_world, builder, features if stored else pictures, frames, min_frames=18, progress_share=1.0
    )
    collate = DSTDataCollator(builder.special.pad)
    focal = FocalOptions(), FocalOptions()
    checked = 0
    for k in range(3):
        item = dataset[k]
        shared = collate([item])
        counts = count_supervised_losses(shared).clamp(min=1)
        together = gradients(model, (losses_of(model, shared, *focal)[0] / counts).sum())
        samples = split_training_dataset_samples(*item)
        alone: dict[str, torch.Tensor] = {}
        seen = torch.zeros(4, dtype=torch.long)
        for sample in samples:
            batch = collate([sample])
            assert len(sample[0].ids) <= len(item[0].ids)
            assert sum(label >= 0 for label in sample[0].speaking[:-1]) == 0
            seen += count_supervised_losses(batch)
            for name, grad in gradients(model, (losses_of(model, batch, *focal)[0] / counts).sum()).items():
                alone[name] = alone.get(name, 0) + grad
        assert torch.equal(seen, count_supervised_losses(shared))
        for name, grad in together.items():
            torch.testing.assert_close(grad, alone[name], atol=2e-6, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
        checked += len(samples)
    assert checked > 12


def test_trainer_losses_use_global_count(short_world, builder, tokenizer, tmp_path):
    """Four windows with different numbers of labels: the same gradients in one batch or
    accumulated.
    """
    found = []
    for size, accumulation in ((4, 1), (1, 4)):
        torch.manual_seed(0)
        model = DSTSmolVLM(small_config(tokenizer))
        keep = KeepGradients()
        trainer = make_trainer(model, make_dataset(short_world, builder, frames=Every()), tmp_path, callbacks=[keep],
                               per_device_train_batch_size=size, gradient_accumulation_steps=accumulation)  # fmt: skip
        trainer.train()
        found.append((keep.steps[0], next(r for r in trainer.state.log_history if "loss" in r)))
    (one, log_one), (four, log_four) = found
    for name, grad in one.items():
        torch.testing.assert_close(four[name], grad, atol=1e-5, rtol=1e-3)
    for name in ("loss", *(f"loss_{n}" for n in OBJECTIVES)):
        assert log_four[name] == pytest.approx(log_one[name], rel=1e-4), name


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def run_workers(short_world, output, processes, batch_size, weighting, *seconds):
    base = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(processes),
            "ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}  # fmt: skip
    command = [
        sys.executable,
        "-m",
        "tests.helpers.distributed_worker",
        str(short_world.root),
        str(output),
        str(batch_size),
        weighting,
        *map(str, seconds),
    ]
    running = [
        subprocess.Popen(command, cwd=ROOT, env={**base, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                         stderr=subprocess.PIPE, text=True)
        for rank in range(processes)
    ]  # fmt: skip
    for process in running:
        _, error = process.communicate(timeout=240)
        assert process.returncode == 0, error[-3000:]
    return np.load(output)


@pytest.mark.slow
@pytest.mark.parametrize("weighting", ["fixed", "gradnorm"])
def test_trainer_two_processes_equal_one(short_world, tmp_path, weighting):
    """Windows of different lengths, so that the processes have different counts: only global counts
    give one result.
    """
    one = run_workers(short_world, tmp_path / "one.npz", 1, 4, weighting)
    two = run_workers(short_world, tmp_path / "two.npz", 2, 2, weighting)
    assert set(one.files) == set(two.files)
    assert any(name.startswith("1/") for name in one.files)
    for name in one.files:
        np.testing.assert_allclose(two[name], one[name], atol=2e-5, rtol=2e-3, err_msg=name)


@pytest.mark.slow
def test_trainer_processes_stop_by_one_clock(short_world, tmp_path):
    """With separate clocks one process stopped after its last step while the other waited for it
    forever.
    """
    run_workers(short_world, tmp_path / "stopped.npz", 2, 2, "fixed", 4)
    assert (tmp_path / "stopped.npz").is_file()


def test_trainer_gradient_checkpointing_keeps_gradients(short_world, builder, tokenizer, tmp_path):
    """In the origin the flag was in the YAML and no code read it."""
    found = []
    for on in (False, True):
        torch.manual_seed(0)
        model = DSTSmolVLM(small_config(tokenizer))
        keep = KeepGradients()
        trainer = make_trainer(model, make_dataset(short_world, builder), tmp_path, callbacks=[keep],
                               gradient_checkpointing=on)  # fmt: skip
        trainer.train()
        assert model.is_gradient_checkpointing is on
        found.append(keep.steps[0])
    for name, grad in found[0].items():
        torch.testing.assert_close(found[1][name], grad, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("weighting", ["uncertainty", "gradnorm"])
def test_trainer_learned_weights_are_logged_and_saved(short_world, builder, tokenizer, tmp_path, weighting):
    def run(folder, **options):
        torch.manual_seed(0)
        model = DSTSmolVLM(small_config(tokenizer))
        trainer = make_trainer(model, make_dataset(short_world, builder), folder, weighting, max_steps=8,
                               save_strategy="steps", save_steps=4, **options)  # fmt: skip
        return trainer, model

    trainer, whole = run(tmp_path / "whole")
    trainer.train()
    logged = [row for row in trainer.state.log_history if "weight_state" in row]
    assert logged[0]["weight_state"] != logged[-1]["weight_state"]
    again, resumed = run(tmp_path / "again")
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-4"))
    np.testing.assert_array_equal(again.weighting.weights(), trainer.weighting.weights())
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


@pytest.mark.parametrize(
    "damage", ["cut weights", "no optimiser", "cut state", "state is a list", "no state", "cut rng"]
)
def test_trainer_damaged_checkpoint_is_skipped(short_world, builder, model, tmp_path, damage):
    """The previous checkpoint is used; a folder with another name never is."""
    trainer = make_trainer(
        model, make_dataset(short_world, builder), tmp_path, max_steps=4, save_strategy="steps", save_steps=2
    )
    trainer.train()
    (tmp_path / "checkpoint-old").mkdir()
    (tmp_path / "checkpoint-old" / STATE_FILE).write_text('{"files": {}, "over": false}')
    assert last_whole_trainer_checkpoint(tmp_path) == (tmp_path / "checkpoint-4", True)
    last = tmp_path / "checkpoint-4"
    name = {"cut weights": "model.safetensors", "no optimiser": "optimizer.pt", "cut rng": "rng_state.pth"}.get(
        damage, STATE_FILE
    )
    file = last / name
    if damage.startswith("cut"):
        file.write_bytes(file.read_bytes()[:-3])
    elif damage == "state is a list":
        file.write_text("[]")
    else:
        file.unlink()
    assert last_whole_trainer_checkpoint(tmp_path) == (tmp_path / "checkpoint-2", False)
    assert last_whole_trainer_checkpoint(tmp_path / "nowhere") is None


def test_trainer_log_has_losses_since_last_report(short_world, builder, model, tmp_path):
    """Sums since the last report, not since the start. A loss without supervision is absent, not
    zero.
    """
    dataset = make_dataset(short_world, builder, frames=lambda rng, view: set(), progress_share=0)
    trainer = make_trainer(model, dataset, tmp_path, max_steps=2)
    trainer.train()
    rows = [row for row in trainer.state.log_history if "loss" in row]
    assert len(rows) == 2
    assert not any(key.startswith("loss_") for row in rows for key in row)


def test_trainer_step_draws_micro_batches_together(short_world, builder, model, tmp_path):
    """All micro-batches of a step are drawn together; otherwise their lengths would differ between
    processes.
    """
    draws = SamplingPlan(windows=WindowSampler(2, 4), windows_per_episode=2)
    data = DSTTrainingDataset(list(short_world.episodes("train")), builder, pictures, draws)
    assert data.together == 1
    make_trainer(model, data, tmp_path, gradient_accumulation_steps=3).train()
    assert data.together == 6
