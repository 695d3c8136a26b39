"""One process of a data-parallel training, which saves the gradients of its steps.

    python -m tests.helpers.distributed_worker WORLD_FOLDER OUTPUT.npz BATCH_SIZE WEIGHTING [SECONDS]

With SECONDS training ends by the clock, which runs twice as fast in every process except the first.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import torch


def step(world: str, output: str, batch_size: int, weighting: str, seconds: float | None = None) -> None:
    """Train two steps of ``batch_size`` windows per process; process 0 writes gradients, logs and weights."""
    if seconds is not None and os.environ["RANK"] != "0":
        real = time.monotonic
        time.monotonic = lambda: 2 * real()
    from prospect_core.data.dataset import Dataset
    from prospect_core.model.modeling import DSTSmolVLM
    from prospect_core.sequence.builder import SequenceBuilder
    from prospect_core.sequence.tokenizer import train_tokenizer
    from prospect_core.train.data.training_dataset import DSTTrainingDataset, SamplingPlan
    from prospect_core.train.data.window_sampler import WindowSampler
    from tests.helpers.small_models import small_config
    from tests.helpers.training import KeepGradients, make_trainer, pictures

    torch.set_num_threads(1)
    episodes = list(Dataset.open(world).episodes("train"))
    tokenizer = train_tokenizer([e.text for x in episodes for e in x.events if e.text], 400)
    torch.manual_seed(0)
    model = DSTSmolVLM(small_config(tokenizer))
    draws = SamplingPlan(WindowSampler(4, 30), windows_per_episode=2)
    dataset = DSTTrainingDataset(episodes, SequenceBuilder(tokenizer, 4), pictures, draws)
    keep = KeepGradients()
    trainer = make_trainer(model, dataset, Path(output).parent / "trainer", weighting, callbacks=[keep],
                           per_device_train_batch_size=batch_size, max_steps=2 if seconds is None else 10**6,
                           minutes=None if seconds is None else seconds / 60, ddp_find_unused_parameters=False)  # fmt: skip
    trainer.train()
    if trainer.accelerator.is_main_process:
        arrays = {f"{k}/{n.removeprefix('module.')}": g.numpy() for k, s in enumerate(keep.steps) for n, g in s.items()}
        for k, row in enumerate(r for r in trainer.state.log_history if "loss" in r):
            arrays |= {f"log/{k}/{n}": np.array(v) for n, v in row.items() if n.startswith("loss")}
        arrays["weights"] = np.asarray(trainer.weighting.weights())
        np.savez(output, allow_pickle=False, **arrays)


if __name__ == "__main__":
    step(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], *map(float, sys.argv[5:]))
