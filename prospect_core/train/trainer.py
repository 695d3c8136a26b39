"""`DSTTrainer`: `transformers.Trainer` with the four losses, logged apart, and a schedule by steps or by minutes.

prospect train data=data/workbench output=runs/tiny train.minutes=3
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from transformers import Trainer, TrainerCallback

from prospect_core.train.losses import OBJECTIVES, FocalOptions, loss_sums, supervised_counts


class DSTTrainer(Trainer):
    """Trains `DSTSmolVLM`. Each objective's loss is its sum over the step's global number of supervised items.

    ``minutes`` ends training by the clock; the learning rate then follows the share of time used, else the share of
    steps done: linear warm-up over the first ``warmup`` of it, then cosine down to zero.
    """

    def __init__(
        self,
        *args: Any,
        weights: dict[str, float],
        speaking: FocalOptions,
        update: FocalOptions,
        minutes: float | None = None,
        warmup: float = 0.05,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.weights, self.focal_options = weights, (speaking, update)
        self.minutes, self.warmup = minutes, warmup
        # our loss is already divided by the counts of the whole accumulated step
        self.model_accepts_loss_kwargs = True
        self.loss_is_scaled_for_ga = True
        self._sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._started: float | None = None
        if minutes is not None:
            self.add_callback(_StopByClock(self))

    def get_batch_samples(self, epoch_iterator: Iterator, num_batches: int, device: Any) -> Any:
        """As in transformers, with one count for each objective over all micro-batches of the step."""
        # the range comes first: the other way round, zip would take one batch too many and drop it
        batches = [batch for _, batch in zip(range(num_batches), epoch_iterator, strict=False)]
        counts: dict[str, Tensor] | None = None
        if batches:
            each = [supervised_counts(batch) for batch in batches]
            counts = {name: torch.stack([c[name] for c in each]).sum().to(device) for name in OBJECTIVES}
        return batches, counts

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Weighted sum of the four normalised losses."""
        counts = num_items_in_batch or supervised_counts(inputs)
        # rows are padded on the right, where causal attention never looks: without the mask it runs twice as fast
        output = model(**{k: v for k, v in inputs.items() if "labels" not in k and k != "attention_mask"})
        sums = loss_sums(self.accelerator.unwrap_model(model), output, inputs, *self.focal_options)
        total = torch.zeros((), device=output.hidden_BTD.device)
        for name, value in sums.items():
            # one count of nothing would divide by zero; its sum is zero too
            total = total + self.weights[name] * value / counts[name].clamp(min=1)
            self._sums[name][0] += float(value.detach())
            self._sums[name][1] += float(supervised_counts(inputs)[name])
        return (total, output) if return_outputs else total

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Adds the mean of each objective that had something to learn since the last report."""
        if "loss" in logs:
            for name, (value, count) in self._sums.items():
                # nothing supervised since the last report is no loss, not a loss of zero
                if count:
                    logs[f"loss_{name}"] = value / count
            self._sums.clear()
        super().log(logs, *args, **kwargs)

    def progress(self, step: int) -> float:
        """Share of the training that is over, 0..1."""
        if self.minutes is None:
            return min(1.0, step / max(1, self.args.max_steps))
        if self._started is None:
            return 0.0
        return min(1.0, (time.monotonic() - self._started) / (60 * self.minutes))

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Linear warm-up, then cosine to zero, over `progress`."""

        def factor(step: int) -> float:
            share = self.progress(step)
            if share < self.warmup:
                return max(share / self.warmup, 0.01)
            rest = (share - self.warmup) / (1 - self.warmup)
            return 0.5 * (1 + float(torch.cos(torch.tensor(rest * torch.pi))))

        used: Any = optimizer or self.optimizer
        self.lr_scheduler = LambdaLR(used, factor)
        return self.lr_scheduler


class _StopByClock(TrainerCallback):
    """Starts the clock at the first step and ends training when the minutes are used."""

    def __init__(self, trainer: DSTTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer._started = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.trainer.progress(state.global_step) >= 1:
            control.should_training_stop = True


class RedrawWindows(TrainerCallback):
    """Tells the dataset which epoch begins, so that its windows are drawn anew."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.dataset.set_epoch(round(state.epoch or 0))
