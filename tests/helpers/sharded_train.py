"""Run `prospect train` in a process group; shard the trained model with FSDP and gather it again.

    torchrun --nproc-per-node 2 -m tests.helpers.sharded_train data=... output=...

accelerate shards only on accelerators, PyTorch also on CPUs. This module therefore shards the model
after its training steps with `fully_shard` over gloo: each process holds half of every tensor, and
the whole state is gathered from both. The file in the variable TRAINED_WEIGHTS gets the weights
before that.
"""

from __future__ import annotations

import os
import sys
from copy import deepcopy
from typing import Any
from unittest.mock import patch

import torch.distributed
from safetensors.torch import save_file
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from prospect_core.cli.commands import prospect
from prospect_core.train.trainer import DSTTrainer

_real_train = DSTTrainer.train


def train_and_shard(self: DSTTrainer, *args: Any, **kwargs: Any) -> Any:
    """Train as usual; then set `whole_state` from a sharded model."""
    output = _real_train(self, *args, **kwargs)
    trained = self.accelerator.unwrap_model(self.model)
    if self.accelerator.is_main_process:
        weights = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
        save_file(weights, os.environ["TRAINED_WEIGHTS"])
    processes = torch.distributed.get_world_size()
    sharded = deepcopy(trained)
    mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (processes,))
    for layer in sharded.model.text_model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(sharded, mesh=mesh)
    for parameter in sharded.parameters():
        assert isinstance(parameter, DTensor)
        # shards are rows: a tensor with a single row is in one process
        assert parameter.shape[0] < processes or parameter.to_local().numel() < parameter.numel()
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state: Any = get_model_state_dict(sharded, options=options)
    self.whole_state = state
    return output


if __name__ == "__main__":
    with patch.object(DSTTrainer, "train", train_and_shard):
        prospect(["train", *sys.argv[1:]])
