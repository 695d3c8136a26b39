"""Helpers of training tests: losses of a batch, the smallest model's options, gradients."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback, TrainingArguments

from prospect_core.timeline import Episode
from prospect_core.train.data.collator import DSTDataCollator
from prospect_core.train.objectives.loss_weighting import make_loss_weighting
from prospect_core.train.objectives.losses import OBJECTIVES, FocalOptions, loss_sums, next_token_targets
from prospect_core.train.trainer import MODEL_INPUTS, DSTTrainer

PLAIN = FocalOptions(0.0, 0.5)
SPEAKING, UPDATE, STATE, RESPONSE = range(len(OBJECTIVES))
SMALL = [
    "model.vision.image_size=32", "model.vision.hidden_size=32", "model.vision.intermediate_size=64",
    "model.vision.layers=1", "model.vision.heads=2", "model.text.hidden_size=48", "model.text.intermediate_size=64",
    "model.text.layers=2", "model.text.heads=4", "model.text.kv_heads=2", "model.text.local_heads=1",
    "model.vocab_size=400",
    "sampling.min_frames=2", "sampling.max_frames=6", "train.batch_size=3", "train.log_every=1", "eval.thresholds=false",
]  # fmt: skip


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of a training's log."""
    return [json.loads(line) for line in (folder / "train_log.jsonl").read_text().splitlines()]


def losses_of(
    model: Any, batch: dict[str, Any], speaking: FocalOptions = PLAIN, update: FocalOptions = PLAIN
) -> tuple[torch.Tensor, Any]:
    """Return ((4,) loss sums, output) of a batch."""
    output = model(
        **{k: batch[k] for k in MODEL_INPUTS if k in batch}, speaks_BT=next_token_targets(batch["labels"])[0]
    )
    return loss_sums(output, batch, speaking, update), output


def gradients(model: torch.nn.Module, total: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return {name: gradient} of a scalar; zeros for parameters without influence."""
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    found = torch.autograd.grad(total, [p for _, p in named], allow_unused=True)
    return {n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(named, found, strict=True)}


def pictures(episode: Episode, start: int, end: int, size: int = 32) -> np.ndarray[Any, Any]:
    """Return frames that depend only on the episode's video and their numbers."""
    seed = sum(episode.video.encode())
    return np.stack(
        [np.random.default_rng(seed + k).integers(0, 255, (size, size, 3), dtype=np.uint8) for k in range(start, end)]
    )


class KeepGradients(TrainerCallback):
    """Stores the gradients of each optimizer step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, torch.Tensor]] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.steps.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})


def make_trainer(
    model: Any,
    dataset: Any,
    folder: Path,
    weighting: str = "fixed",
    weights: Mapping[str, float] | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    muon: bool = False,
    minutes: float | None = None,
    **arguments: Any,
) -> DSTTrainer:
    """Make a `DSTTrainer` on the CPU that writes no files by default."""
    options = {"max_steps": 1, "per_device_train_batch_size": 2, "max_grad_norm": 0.0, "logging_steps": 1,
               "save_strategy": "no", "report_to": [], "disable_tqdm": True, "remove_unused_columns": False,
               "use_cpu": True, "dataloader_pin_memory": False}  # fmt: skip
    return DSTTrainer(
        model=model,
        args=TrainingArguments(output_dir=str(folder), **{**options, **arguments}),
        train_dataset=dataset,
        data_collator=DSTDataCollator(model.config.pad_token_id),
        weighting=make_loss_weighting(weighting, weights or dict.fromkeys(OBJECTIVES, 1.0)),
        speaking=FocalOptions(),
        update=FocalOptions(),
        callbacks=list(callbacks),
        muon=muon,
        minutes=minutes,
    )
