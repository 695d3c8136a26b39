"""`DSTTrainer`: `transformers.Trainer` with a loss for each objective, each normalised by its global count and logged.

    prospect train data=data/workbench output=runs/tiny train.minutes=3

``prospect.json`` in each checkpoint holds the state that transformers does not save: sums since the
last report, loss weights, elapsed seconds, thresholds, patience. It is written last and lists the
size of every other file, so an incomplete checkpoint after a crash or on a full disk is detected.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterator, Sized
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import SequentialSampler
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from prospect_core.train.callbacks.memory import EVERY_STEPS, release_memory
from prospect_core.train.config.schema import Rates
from prospect_core.train.config.trainer_option_errors import translate_trainer_option_errors
from prospect_core.train.objectives.loss_weighting import Weighting
from prospect_core.train.objectives.losses import (
    MISTAKE,
    FocalOptions,
    count_supervised_losses,
    list_training_objectives,
    loss_sums,
    next_token_targets,
)
from prospect_core.train.optim.learning_rates import set_learning_rates
from prospect_core.train.optim.muon import Muon, muon_parameter_groups
from prospect_core.util.atomic import write_atomic
from prospect_core.util.errors import DataError
from prospect_core.util.json_io import dump_json
from prospect_core.util.signals import stop_requested

STATE_FILE = "prospect.json"
#: kinds of training in which each process holds a shard of each tensor
SHARDED = ("FSDP", "DEEPSPEED")
#: no attention mask: rows are padded on the right, which causal attention never reads
MODEL_INPUTS = ("input_ids", "pixel_values", "frame_embeds", "frame_index", "marker_index")


class Evaluates(Protocol):
    """Closed-loop evaluation for `DSTTrainer.evaluate`.

    Attributes:
        thresholds: (speaking, update) thresholds of the next replay, to store.
    """

    thresholds: tuple[float, float]

    def evaluate(self, model: Any) -> dict[str, float | None]:
        """Return {name: value} of a closed-loop replay; None for an undefined metric."""
        ...


def _require_gradient(module: Any, inputs: Any, output: Any) -> None:
    """Make gradients reach the last hidden states, where the norms of `Weighting.wants_norms` are taken."""
    hidden_BTD = output.last_hidden_state
    if torch.is_grad_enabled() and not hidden_BTD.requires_grad:
        hidden_BTD.requires_grad_()


class DSTTrainer(Trainer):
    """Trains `DSTSmolVLM`; an objective's loss is its sum divided by the global number of supervised items.

    "Global" means over all micro-batches of an optimizer step and over all processes.
    ``train_dataset`` is a `DSTTrainingDataset`, redrawn in every epoch and read in its own order.
    The learning rate rises linearly during warm-up and then follows a cosine to zero. A loss that
    is not finite ends the training with a `DataError`.

    Args:
        *args: As in transformers.
        weighting: Weighting of the losses.
        speaking: Focal loss of speaking.
        update: Focal loss of updates.
        mistake: Focal loss of mistakes, for a model with a mistake head.
        dynamic_focal: Whether the focal losses follow the label rates of each epoch.
        minutes: Minutes after which training ends; the schedule then follows the time instead of
            the steps.
        warmup: Share of the training for warm-up, 0 to 1.
        validation: Closed-loop evaluation.
        muon: Whether to use Muon.
        rates: Factors of the learning rate by part of the model.
        **kwargs: As in transformers.
    """

    def __init__(
        self,
        *args: Any,
        weighting: Weighting,
        speaking: FocalOptions,
        update: FocalOptions,
        mistake: FocalOptions | None = None,
        dynamic_focal: bool = False,
        minutes: float | None = None,
        warmup: float = 0.05,
        validation: Evaluates | None = None,
        muon: bool = False,
        rates: Rates | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        config: Any = self.accelerator.unwrap_model(self.model).config
        self.objectives = list_training_objectives(config.mistake_head)
        #: focal losses by objective
        self.focal_options = {"speaking": speaking, "update": update}
        if config.mistake_head:
            self.focal_options[MISTAKE] = mistake or FocalOptions()
        self.weighting, self.dynamic_focal = weighting, dynamic_focal
        self.minutes, self.warmup, self.validation, self.muon = minutes, warmup, validation, muon
        self.rates = rates
        # compute_loss already divides by the counts of the whole accumulated step
        self.model_accepts_loss_kwargs = True
        self.loss_is_scaled_for_ga = True
        #: gathered tensors of a sharded model after training
        self.whole_state: dict[str, Tensor] | None = None
        self.seconds_before = self._clock = 0.0
        self._started: float | None = None
        # per objective, sums of losses and items since the last report, and in this step
        # (also squared norms)
        self._report = torch.zeros(2, len(self.objectives), dtype=torch.float64)
        self._step = torch.zeros(3, len(self.objectives), dtype=torch.float64)
        # tokens without padding, and frames, that this process has read
        self._seen = torch.zeros(2, dtype=torch.int64)
        # tokens and frames of the longest window in this process
        self._longest = torch.zeros(2, dtype=torch.int64)
        self.add_callback(_Steps(self))
        if self.accelerator.num_processes > 1:
            # otherwise accelerate would fill the last batches of an epoch with
            # earlier windows
            whole: Any = self.train_dataset
            whole.multiple = self.args.train_batch_size * self.accelerator.num_processes
        if weighting.wants_norms:
            # also for a frozen text model: the heads share its hidden states
            self.accelerator.unwrap_model(self.model).model.text_model.register_forward_hook(_require_gradient)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        dataset = train_dataset if train_dataset is not None else self.train_dataset
        assert isinstance(dataset, Sized)
        return SequentialSampler(dataset)

    def get_batch_samples(self, epoch_iterator: Iterator[dict[str, Tensor]], num_batches: int, device: Any) -> Any:
        """Return the micro-batches of a step as transformers does, and their counts by objective.

        The counts cover all micro-batches and processes of the step.

        Args:
            epoch_iterator: Iterator over batches.
            num_batches: Number of micro-batches.
            device: Device of the counts.
        """
        # range must come first: otherwise zip would take one batch too many and drop it
        batches = [batch for _, batch in zip(range(num_batches), epoch_iterator, strict=False)]
        if not batches:
            return batches, None
        counts = torch.stack([count_supervised_losses(batch) for batch in batches]).sum(0).to(device)
        return batches, self.accelerator.reduce(counts, "sum")

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Return the weighted sum of the normalised losses.

        Args:
            model: The model.
            inputs: A batch.
            return_outputs: Whether to return (loss, output).
            num_items_in_batch: (O,) global counts of the step.
        """
        mine = count_supervised_losses(inputs)
        counts = mine if num_items_in_batch is None else num_items_in_batch
        speaks_BT, _ = next_token_targets(inputs["labels"])
        output = model(**{k: inputs[k] for k in MODEL_INPUTS if k in inputs}, speaks_BT=speaks_BT)
        sums = loss_sums(output, inputs, **self.focal_options)
        # a count of zero would divide by zero; its sum is zero too
        means = sums / counts.clamp(min=1)
        weights = torch.as_tensor(self.weighting.weights(), dtype=means.dtype, device=means.device)
        self._note(sums.detach(), mine, output.hidden_BTD, means)
        read = torch.stack([inputs["attention_mask"].sum(), (inputs["frame_index"] >= 0).sum()])
        self._seen = self._seen.to(read.device) + read
        each = torch.stack([inputs["attention_mask"].sum(1), (inputs["frame_index"] >= 0).sum(1)])
        self._longest = torch.maximum(self._longest.to(each.device), each.amax(1))
        # DDP averages gradients over processes, but these losses are already parts of one
        # global mean
        total = (weights * means).sum() * self.accelerator.num_processes
        return (total, output) if return_outputs else total

    def _note(self, sums: Tensor, counts: Tensor, hidden_BTD: Tensor, means: Tensor) -> None:
        """Accumulate sums for report and weighting without waiting for the device."""
        self._report = self._report.to(sums.device) + torch.stack([sums.double(), counts.double()])
        if not self.weighting.learns:
            return
        squares = torch.zeros_like(sums)
        if self.weighting.wants_norms:
            squares = torch.stack(
                [torch.autograd.grad(m, hidden_BTD, retain_graph=True)[0].double().square().sum() for m in means]
            )
        step = torch.stack([sums.double(), counts.double(), squares.double()])
        self._step = self._step.to(sums.device) + step

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train as in transformers; all processes then gather a sharded model.

        Args:
            *args: As in transformers.
            **kwargs: As in transformers.
        """
        output = super().train(*args, **kwargs)
        if self.accelerator.distributed_type.value in SHARDED:
            self.whole_state = self.accelerator.get_state_dict(self.model)
        return output

    def begin_epoch(self, epoch: int, step: int) -> None:
        """Redraw the windows for an epoch and update dynamic focal losses from its labels.

        Args:
            epoch: Number of the epoch.
            step: Optimizer step at which it starts.
        """
        dataset: Any = self.train_dataset
        now = self.progress(step)
        windows = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.accelerator.num_processes
        dataset.together = windows
        # with a time limit, an epoch is expected to take as long as the mean of those
        # before
        by_clock = now / epoch if epoch else 0.0
        steps = math.ceil(len(dataset) / windows)
        dataset.set_epoch(epoch, now, by_clock if self.minutes is not None else steps / max(1, self.args.max_steps))
        if self.dynamic_focal:
            rates = dataset.label_rates(tuple(self.focal_options))
            self.focal_options |= {name: FocalOptions.of_rate(rate) for name, rate in rates.items() if rate is not None}

    def seen(self) -> tuple[int, int]:
        """Return (tokens without padding, frames) that this process has read; waits for the device."""
        tokens, frames = self._seen.tolist()
        return tokens, frames

    def longest(self) -> tuple[int, int]:
        """Return (tokens, frames) of the longest windows of any process; waits for the device."""
        tokens, frames = self.accelerator.gather(self._longest[None].to(self.accelerator.device)).amax(0).tolist()
        return tokens, frames

    def end_step(self) -> None:
        """Report the finished optimizer step to the weighting."""
        if self.weighting.learns:
            sums, counts, squares = self.accelerator.reduce(self._step, "sum").cpu().numpy()
            with np.errstate(divide="ignore", invalid="ignore"):
                self.weighting.observe(np.where(counts > 0, sums / counts, np.nan), np.sqrt(squares))
            self._step = torch.zeros_like(self._step)

    # transformers declares floats; an undefined metric is logged as None, which its callbacks
    # accept
    def log(self, logs: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        """Add the mean loss of each objective with supervision since the last report, and learned weights.

        Args:
            logs: Values to log.
            *args: As in transformers.
            **kwargs: As in transformers.

        Raises:
            DataError: If a loss is not finite.
        """
        if "loss" in logs:
            sums, counts = self._reported()
            for name, value, count in zip(self.objectives, sums, counts, strict=True):
                # without supervision since the last report there is no loss, not
                # a loss of zero
                if count:
                    logs[f"loss_{name}"] = value / count
            if self.weighting.learns:
                weights = zip(self.objectives, self.weighting.weights(), strict=True)
                logs |= {f"weight_{name}": float(weight) for name, weight in weights}
            self._report = torch.zeros_like(self._report)
        super().log(logs, *args, **kwargs)

    def _reported(self) -> list[list[float]]:
        """Return [sums, counts] since the last report over all processes.

        Raise `DataError` if a sum is not finite.
        """
        report: list[list[float]] = self.accelerator.reduce(self._report, "sum").cpu().tolist()
        for name, value in zip(self.objectives, report[0], strict=True):
            if not math.isfinite(value):
                raise DataError(
                    f"training diverged by step {self.state.global_step}: the {name} loss is {value};"
                    " lower train.learning_rate, or raise train.warmup"
                )
        return report

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Return the streaming metrics of a short closed-loop replay as ``eval_NAME``, equal in every process.

        An undefined metric, for example of a model that never speaks, counts as the worst value.

        Args:
            *args: Ignored.
            **kwargs: Ignored.
        """
        assert self.validation is not None
        model = self.accelerator.unwrap_model(self.model)
        model.eval()
        found = self.validation.evaluate(model) if self.accelerator.is_main_process else {}
        model.train()
        if self.accelerator.num_processes > 1:
            from accelerate.utils import broadcast_object_list

            found = broadcast_object_list([found])[0]
        worst = -math.inf if self.args.greater_is_better else math.inf
        metrics = {f"eval_{name}": worst if value is None else value for name, value in found.items()}
        self.log({f"eval_{name}": value for name, value in found.items()})
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def progress(self, step: int) -> float:
        """Return the share of the training that is done at a step, 0 to 1."""
        if self.minutes is None:
            steps: int = self.args.max_steps
            return min(1.0, step / max(1, steps))
        return min(1.0, self._clock / (60 * self.minutes))

    def tick(self) -> None:
        """Read the clock; all processes use the first one's.

        With separate clocks, one process would stop while another waits for it.
        """
        self._clock = self.seconds()
        if self.accelerator.num_processes > 1:
            from accelerate.utils import broadcast

            seconds = torch.tensor(self._clock, dtype=torch.float64, device=self.accelerator.device)
            self._clock = float(broadcast(seconds))

    def seconds(self) -> float:
        """Return the seconds of training, including those before an interruption."""
        return self.seconds_before + (0.0 if self._started is None else time.monotonic() - self._started)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Make the schedule: linear warm-up, then a cosine to zero, over `progress`.

        Args:
            num_training_steps: Ignored; `progress` knows the end of the training.
            optimizer: The optimizer; the trainer's own if None.
        """

        def factor(step: int) -> float:
            share = self.progress(step)
            if share < self.warmup:
                return max(share / self.warmup, 0.01)
            rest = (share - self.warmup) / (1 - self.warmup)
            return 0.5 * (1 + float(torch.cos(torch.tensor(rest * torch.pi))))

        used: Any = optimizer or self.optimizer
        self.lr_scheduler = LambdaLR(used, factor)
        return self.lr_scheduler

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        """Make the optimizer as transformers does, or Muon, with a rate for each part.

        Args:
            *args: As in transformers.
            **kwargs: As in transformers.

        Raises:
            UserError: If the optimizer cannot be made.
        """
        if self.optimizer is not None:
            return self.optimizer
        options, model = self.args, self.model
        assert model is not None
        if self.muon:
            groups = muon_parameter_groups(model, options.weight_decay, self.get_decay_parameter_names(model))
            self.optimizer: Any = Muon(groups, options.learning_rate, (options.adam_beta1, options.adam_beta2))
        else:
            with translate_trainer_option_errors("train"):
                super().create_optimizer(*args, **kwargs)
        # a sharded parameter can span several parts, so it has one rate
        if self.rates is not None and self.accelerator.distributed_type.value not in SHARDED:
            dataset: Any = self.train_dataset
            optimizer: Any = self.optimizer
            set_learning_rates(optimizer, self.accelerator.unwrap_model(model), self.rates, dataset.builder.special.new)
        return self.optimizer

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        report, longest = self._reported(), self.longest()
        super()._save_checkpoint(model, trial)
        if self.args.should_save:
            folder = Path(self._get_output_dir(trial)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
            state = {
                "report": report,
                "weighting": self.weighting.state(),
                "seconds": self.seconds(),
                "longest": longest,
                # an interrupted training stops too
                "over": (self.control.should_training_stop and not stop_requested())
                or self.progress(self.state.global_step) >= 1,
                "thresholds": self.validation.thresholds if self.validation else None,
                "patience": [callback.early_stopping_patience_counter for callback in self._stoppers()],
                "files": {f.relative_to(folder).as_posix(): f.stat().st_size for f in folder.rglob("*") if f.is_file()},
            }
            write_atomic(folder / STATE_FILE, dump_json(state))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        state = json.loads((Path(resume_from_checkpoint) / STATE_FILE).read_bytes())
        # the sums cover all processes: one process restores them
        if self.accelerator.is_main_process:
            self._report = torch.tensor(state["report"], dtype=torch.float64)
        self.weighting.load(state["weighting"])
        self.seconds_before = state["seconds"]
        self._longest = torch.tensor(state["longest"], dtype=torch.int64)
        if self.validation and state["thresholds"]:
            self.validation.thresholds = tuple(state["thresholds"])
        for callback, counter in zip(self._stoppers(), state["patience"], strict=True):
            callback.early_stopping_patience_counter = counter

    def _stoppers(self) -> list[EarlyStoppingCallback]:
        return [c for c in self.callback_handler.callbacks if isinstance(c, EarlyStoppingCallback)]


def last_whole_trainer_checkpoint(folder: Path) -> tuple[Path, bool] | None:
    """Find the newest complete checkpoint.

    Returns:
        (folder, whether the training was finished there); None if there is none.
    """
    found = []
    for path in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        number = re.fullmatch(rf"{PREFIX_CHECKPOINT_DIR}-(\d+)", path.name)
        try:
            state = json.loads((path / STATE_FILE).read_bytes())
            whole = all((path / name).stat().st_size == size for name, size in state["files"].items())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        if number and whole:
            found.append((int(number[1]), path, bool(state["over"])))
    return max(found)[1:] if found else None


class _Steps(TrainerCallback):
    """Runs the clock, redraws windows each epoch, reports steps to the weighting, releases memory."""

    def __init__(self, trainer: DSTTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer._started = time.monotonic()
        self.trainer.tick()

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # a training that resumes inside an epoch draws the windows of that epoch's start
        epoch = int((state.epoch or 0) + 1e-6)
        begun = state.global_step * epoch / state.epoch if epoch else 0
        self.trainer.begin_epoch(epoch, round(begun))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.end_step()
        self.trainer.tick()
        if state.global_step % EVERY_STEPS == 0:
            release_memory()
        if self.trainer.minutes is not None and self.trainer.progress(state.global_step) >= 1:
            control.should_training_stop = True
        if stop_requested():
            # resumes from here when it is started again
            control.should_save = control.should_training_stop = True
