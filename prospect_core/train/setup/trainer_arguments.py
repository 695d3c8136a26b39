"""Convert options of `prospect train` to arguments of transformers' Trainer."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

from prospect_core.train.config.schema import Config
from prospect_core.train.config.trainer_option_errors import translate_trainer_option_errors

#: name of the only optimizer that transformers does not provide
MUON = "muon"


def make_trainer_arguments(config: Config, scratch: Path, output: Path) -> Any:
    """Make the `TrainingArguments` of a configuration.

    Args:
        config: Configuration of the training.
        scratch: Folder of the training checkpoints.
        output: Output folder.

    Raises:
        UserError: If transformers refuses a value.
    """
    import torch
    from transformers import TrainingArguments

    # transformers renames this option during 5.x, before 6
    known = {f.name for f in fields(TrainingArguments)}
    renamed = "activation_checkpointing" if "activation_checkpointing" in known else "gradient_checkpointing"
    checkpointing: dict[str, Any] = {renamed: True} if config.train.gradient_checkpointing else {}
    options, every = config.train, config.eval.every
    # transformers requires that checkpoints and evaluations coincide to load the best model
    save = every or options.save_every
    if options.tensorboard:
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(output / "tensorboard")
    given: dict[str, Any] = dict(
        output_dir=str(scratch),
        per_device_train_batch_size=options.batch_size if options.batch_tokens is None else 1,
        gradient_accumulation_steps=options.accumulation,
        **checkpointing,
        # DSTTrainer makes Muon itself
        optim="adamw_torch" if options.optimiser == MUON else options.optimiser,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        adam_beta1=options.beta1,
        adam_beta2=options.beta2,
        max_grad_norm=options.grad_clip,
        max_steps=options.max_steps if options.minutes is None else 10**9,
        use_cpu=not torch.accelerator.is_available(),
        bf16=options.precision == "bfloat16",
        tf32=True if options.precision == "tf32" else None,
        fsdp=options.fsdp or "",
        deepspeed=options.deepspeed,
        logging_steps=options.log_every,
        logging_first_step=True,
        save_strategy="steps",
        save_steps=save,
        save_total_limit=2,
        eval_strategy="steps" if every else "no",
        eval_steps=every,
        load_best_model_at_end=config.eval.patience is not None,
        metric_for_best_model=config.eval.metric if every else None,
        greater_is_better=_higher_is_better(config) if every else None,
        report_to=["tensorboard"] if options.tensorboard else [],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_num_workers=config.data.workers,
        dataloader_pin_memory=torch.cuda.is_available(),
        dataloader_drop_last=False,
        ddp_find_unused_parameters=False,
        seed=options.seed,
    )
    with translate_trainer_option_errors("train"):
        arguments = TrainingArguments(**given)
    if arguments.n_gpu > 1:
        # without a launcher transformers would split each batch over all visible GPUs,
        # which DSTTrainer does not support: use one
        arguments._n_gpu = 1
    return arguments


def _higher_is_better(config: Config) -> bool:
    from prospect_core.train.validation import find_validation_evaluator

    return find_validation_evaluator(config.eval.evaluator).check_metric(config.eval.metric) == "higher"
