"""Training in several processes and with sharded models: one log, one checkpoint, the trained
model.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from prospect_core.model.checkpoint import load_model_checkpoint
from prospect_core.train.trainer import DSTTrainer
from tests.helpers.commands import run_cli
from tests.helpers.tiers import nightly
from tests.helpers.training import SMALL, rows_of


@pytest.mark.slow
def test_train_two_processes_write_one_checkpoint(short_world, tmp_path):
    """Started like torchrun: one log, one checkpoint; sharding, which needs accelerators, reports
    that it is off.
    """
    out = tmp_path / "run"
    options = [f"data={short_world.root}", f"output={out}", "train.max_steps=4", "train.save_every=2",
               "train.fsdp=full_shard", *SMALL]  # fmt: skip
    done = torchrun(["--no-python", sys.executable, "-m", "prospect_core.cli", "train", *options], {})
    assert done.stdout.count("checkpoint: ") == 1
    assert done.stderr.count("warning: train.fsdp has no effect") == (0 if torch.accelerator.is_available() else 1)
    assert [row["step"] for row in rows_of(out)] == [1, 2, 3, 4]
    assert load_model_checkpoint(str(out))[0].config.trained_steps == 4


def test_train_process_leaves_group_at_any_end(tmp_path):
    """A process that ended inside its group was aborted by the group's threads."""
    import torch.distributed

    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    assert run_cli("train", f"data={tmp_path / 'none'}", f"output={tmp_path / 'out'}") == 3
    assert not torch.distributed.is_initialized()


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["full", "lora"])
def test_train_sharded_writes_trained_configuration(short_world, tmp_path, monkeypatch, backbone):
    """The tensors come from several processes. Utterances, tokenizer and connector fit were those
    of a new model.
    """
    real = DSTTrainer.train

    def put_together(self, *args, **kwargs):
        output = real(self, *args, **kwargs)
        self.whole_state = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        return output

    outputs = []
    for name in ("whole", "sharded"):
        out = tmp_path / name
        options = [
            f"data={short_world.root}",
            f"output={out}",
            *SMALL,
            "train.max_steps=2",
            f"model.backbone={backbone}",
        ]
        options += ["sampling.recent_share=0.5", "sampling.recent_utterances=5", "model.framing=letterbox"]
        assert run_cli("train", *options) == 0
        outputs.append({file.name: file.read_bytes() for file in out.glob("*.json")})
        monkeypatch.setattr(DSTTrainer, "train", put_together)
    whole, sharded = outputs
    config = json.loads(whole["config.json"])
    assert (config["recent_utterances"], config["framing"]) == (5, "letterbox")
    assert config["tokenizer_digest"]
    assert sharded["config.json"] == whole["config.json"]
    first, second = (load_model_checkpoint(str(tmp_path / name))[0].state_dict() for name in ("whole", "sharded"))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["full", nightly("lora")])
def test_train_fsdp_checkpoint_equals_trained_model(short_world, tmp_path, backbone):
    """Two processes with half of every tensor each, over gloo on the CPU."""
    out, trained = tmp_path / "run", tmp_path / "trained.safetensors"
    options = [f"data={short_world.root}", f"output={out}", "train.max_steps=2", f"model.backbone={backbone}",
               "model.mistake_head=true", "model.framing=letterbox", "sampling.recent_share=0.5",
               "sampling.recent_utterances=5", *SMALL]  # fmt: skip
    torchrun(["-m", "tests.helpers.sharded_train", *options], {"TRAINED_WEIGHTS": str(trained)})
    model, _ = load_model_checkpoint(str(out))
    written, expected = model.state_dict(), load_file(trained)
    # without adapters, whose merged weights are compared with transformers' in
    # test_model_factory.py
    common = [name for name in written if name in expected]
    assert len(common) == len(written) or backbone == "lora"
    assert len(common) > 20
    assert all(torch.equal(written[name], expected[name]) for name in common)
    config = model.config
    assert (config.trained_steps, config.framing, config.recent_utterances) == (2, "letterbox", 5)
    assert config.mistake_head
    assert config.tokenizer_digest
    assert (torch.tensor([config.trained_frames, config.trained_tokens]) > 0).all()


def torchrun(module: list[str], variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a module in two processes like torchrun."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *module]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done
