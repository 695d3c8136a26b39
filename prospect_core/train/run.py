"""`prospect train`: from a resolved configuration to a checkpoint folder.

    prospect train train.minutes=3 output=runs/tiny

The folder holds the weights (safetensors), the tokenizer, ``train_config.yaml`` (the resolved configuration) and
``train_log.jsonl`` (one line a report: step, seconds, learning rate, the four losses).
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prospect_core.data.dataset import Dataset
from prospect_core.errors import UserError
from prospect_core.terminal import quiet_transformers
from prospect_core.train.losses import OBJECTIVES, FocalOptions


def compose_config(overrides: list[str]) -> Any:
    """The Hydra configuration with overrides ``key=value``; a wrong key or value is a one-line `UserError`."""
    from hydra import compose, initialize_config_module
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_module("prospect_core.train.conf", version_base="1.3"):
            return compose("train", overrides)
    except (HydraException, OmegaConfBaseException) as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise UserError(f"{reason} (see the keys with `prospect train --cfg`)") from None


def train(config: Any, tell: Callable[[str], None] = print) -> dict[str, Any]:
    """Train and write the checkpoint; returns the first and last reported losses."""
    import torch
    from omegaconf import OmegaConf
    from transformers import PrinterCallback, TrainingArguments, set_seed

    from prospect_core.model.checkpoint import load_checkpoint
    from prospect_core.model.configuration import DSTSmolVLMConfig
    from prospect_core.model.modeling import DSTSmolVLM
    from prospect_core.model.processing import train_tokenizer
    from prospect_core.sequence import ROLE, SequenceBuilder
    from prospect_core.train.collator import DSTDataCollator
    from prospect_core.train.dataset import DSTTrainingDataset
    from prospect_core.train.sampling import WindowSampler
    from prospect_core.train.trainer import DSTTrainer, RedrawWindows

    quiet_transformers()
    output = Path(config.output)
    if (output / "config.json").exists():
        raise UserError(f"output={output}: holds a checkpoint already; choose another folder or delete it first")
    set_seed(config.train.seed)
    data = _open_data(config.data, config.split, tell)
    if config.init:
        model, tokenizer = load_checkpoint(config.init)
        model.train()
    else:
        texts = [
            ROLE,
            "Goal: not started in progress completed 1st 2nd 3rd 4th",
            "S1->start; S2->complete; S3->reopen",
        ]
        for episode in data.episodes(config.split):
            texts += [f"{step.id}: {step.name}" for step in episode.task.steps]
            texts += [event.text for event in episode.events if event.text]
        tokenizer = train_tokenizer(texts, config.model.vocab_size)
        model = DSTSmolVLM(model_config(config.model, tokenizer, DSTSmolVLMConfig))
    builder = SequenceBuilder(tokenizer, model.config.tokens_per_frame, model.config.max_user_tokens)
    sampler = WindowSampler(**config.sampling)
    dataset = DSTTrainingDataset(data, config.split, builder, sampler, model.config.image_size, config.train.seed)
    tell(
        f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters,"
        f" {len(dataset)} episodes, {torch.get_num_threads()} threads"
    )
    scratch = output / ".trainer"
    output.mkdir(parents=True, exist_ok=True)
    minutes = config.train.minutes
    arguments = TrainingArguments(
        output_dir=str(scratch),
        per_device_train_batch_size=config.train.batch_size,
        learning_rate=config.train.learning_rate,
        weight_decay=config.train.weight_decay,
        max_steps=config.train.max_steps if minutes is None else 10**9,
        max_grad_norm=config.train.grad_clip,
        adam_beta2=0.98,
        logging_steps=config.train.log_every,
        logging_first_step=True,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        dataloader_drop_last=len(dataset) >= config.train.batch_size,
        seed=config.train.seed,
    )
    log = _Log(output / "train_log.jsonl", tell, config.train.max_steps, minutes)
    trainer = DSTTrainer(
        model=model,
        args=arguments,
        train_dataset=dataset,
        data_collator=DSTDataCollator(model.config.pad_token_id),
        weights={name: config.loss[name].weight for name in OBJECTIVES},
        speaking=_focal(config.loss["speaking"]),
        update=_focal(config.loss["update"]),
        minutes=minutes,
        warmup=config.train.warmup,
        callbacks=[RedrawWindows(dataset), log.callback()],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    model.config.trained_steps += trainer.state.global_step
    model.config.thresholds_data = ""
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    OmegaConf.save(config, output / "train_config.yaml", resolve=True)
    shutil.rmtree(scratch, ignore_errors=True)
    return log.summary()


def model_config(options: Any, tokenizer: Any, kind: Any) -> Any:
    """Our config block ``model`` as a `DSTSmolVLMConfig` for a tokenizer."""
    from prospect_core.model.processing import SpecialIds

    ids = SpecialIds.of(tokenizer)
    vision, text = options.vision, options.text
    try:
        return kind(
            vision_config={
                "hidden_size": vision.hidden_size,
                "intermediate_size": 4 * vision.hidden_size,
                "num_hidden_layers": vision.layers,
                "num_attention_heads": vision.heads,
                "image_size": vision.image_size,
                "patch_size": vision.patch_size,
                "initializer_range": vision.initializer_range,
            },
            text_config={
                "model_type": "llama",
                "vocab_size": len(tokenizer),
                "hidden_size": text.hidden_size,
                "intermediate_size": text.intermediate_size,
                "num_hidden_layers": text.layers,
                "num_attention_heads": text.heads,
                "num_key_value_heads": text.kv_heads,
                "max_position_embeddings": text.max_position_embeddings,
                "initializer_range": text.initializer_range,
                "pad_token_id": ids.pad,
                "bos_token_id": None,
                "eos_token_id": ids.eos,
            },
            scale_factor=vision.scale_factor,
            tokens_per_frame=options.tokens_per_frame,
            image_token_id=ids.image,
            pad_token_id=ids.pad,
            eos_token_id=ids.eos,
            state_head_size=options.state_head_size,
            max_context=options.max_context,
        )
    except ValueError as error:
        raise UserError(f"model: {error}") from None


def _focal(options: Any) -> FocalOptions:
    return FocalOptions(options.gamma, options.alpha)


def _open_data(name: str, split: str, tell: Callable[[str], None]) -> Dataset:
    if name != "workbench":
        return Dataset.open(name)
    from prospect_core.workbench.generate import SPLITS, cached

    if split not in SPLITS:
        raise UserError(f"split={split}: the workbench has {', '.join(SPLITS)}")
    tell(f"workbench split {split!r} (made on first use)")
    return cached(split)


class _Log:
    """Writes one JSON line a report and tells a readable one."""

    def __init__(self, path: Path, tell: Callable[[str], None], max_steps: int, minutes: float | None) -> None:
        self.path, self.tell, self.rows = path, tell, list[dict[str, Any]]()
        self.goal = f"{minutes:g} min" if minutes is not None else f"{max_steps} steps"
        self.start = time.monotonic()

    def callback(self) -> Any:
        from transformers import TrainerCallback

        outer = self

        class Write(TrainerCallback):
            def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
                if logs and "loss" in logs:
                    outer.add(state.global_step, state.epoch or 0.0, logs)

        return Write()

    def add(self, step: int, epoch: float, logs: dict[str, float]) -> None:
        row: dict[str, Any] = {
            "step": step,
            "epoch": round(epoch, 3),
            "seconds": round(time.monotonic() - self.start, 1),
        }
        row["learning_rate"] = logs.get("learning_rate")
        row |= {name: round(logs[f"loss_{name}"], 5) if f"loss_{name}" in logs else None for name in OBJECTIVES}
        self.rows.append(row)
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        losses = "  ".join(f"{name} {'–' if row[name] is None else format(row[name], '.4f')}" for name in OBJECTIVES)
        self.tell(f"step {step:>6} of {self.goal}  {row['seconds']:>6.0f} s  {losses}")

    def summary(self) -> dict[str, Any]:
        """Means of the first and of the last five reports, by objective; empty when nothing was reported."""
        out: dict[str, Any] = {"steps": self.rows[-1]["step"] if self.rows else 0, "first": {}, "last": {}}
        for name in OBJECTIVES:
            values = [row[name] for row in self.rows if row[name] is not None]
            if values:
                out["first"][name] = round(sum(values[:5]) / len(values[:5]), 5)
                out["last"][name] = round(sum(values[-5:]) / len(values[-5:]), 5)
        return out
