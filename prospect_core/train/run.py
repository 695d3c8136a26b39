"""Run a training: from a configuration to a checkpoint folder.

    prospect train train.minutes=3 output=runs/tiny

The folder holds the weights (safetensors), the tokenizer, ``train_config.yaml`` (the resolved
configuration) and ``train_log.jsonl``. During training, ``.trainer`` holds the checkpoints from
which the same command resumes after an interruption.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from prospect_core.train.config.schema import Config
from prospect_core.train.config.trainer_option_errors import translate_trainer_option_errors
from prospect_core.train.output_dir import (
    SCRATCH,
    TRAINING_FILE,
    is_output_dir_finished,
    publish_to_output_dir,
    refuse_finished_output_dir,
)
from prospect_core.train.setup.build import Training, TrainingHooks, build_training
from prospect_core.util.atomic import write_atomic
from prospect_core.util.console import quiet_transformers
from prospect_core.util.errors import UserError
from prospect_core.util.folder_lock import lock_folder
from prospect_core.util.json_io import dump_json
from prospect_core.util.signals import defer_interrupt


def run_training(config: Config, text: str, hooks: TrainingHooks | None = None) -> dict[str, Any]:
    """Train and write the checkpoint into the output folder.

    Args:
        config: The configuration.
        text: The configuration as YAML, which is stored next to the checkpoint.
        hooks: Output of lines, and replacements for a dry run.

    Returns:
        The first and the last reported losses. Empty if the output folder holds this checkpoint
        already, and in all processes except the first, which alone reports and writes.

    Raises:
        UserError: If options or the output folder cannot be used.
        DataError: If data cannot be used, or weights are not finite at the end.
        KeyboardInterrupt: After an interruption; the running step is finished and saved.
    """
    quiet_transformers()
    hooks = hooks or TrainingHooks()
    if not _is_main_process():
        hooks = replace(hooks, tell=lambda line: None, live=False)
    for warning in hooks.warnings:
        hooks.tell(f"warning: {warning}")
    output = Path(config.output)
    if is_output_dir_finished(output, text):
        hooks.tell(f"output={output}: already holds the checkpoint of this training; delete the folder to train again")
        return {}
    refuse_finished_output_dir(output)
    training = build_training(config, hooks)
    return _train_and_publish(training, text, hooks.tell)


def _is_main_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _train_and_publish(training: Training, text: str, tell: Callable[[str], None]) -> dict[str, Any]:
    from prospect_core.sequence.tokenizer import digest_tokenizer
    from prospect_core.train.setup.final_model import make_final_model

    config, trainer, log = training.config, training.trainer, training.log
    output, scratch = Path(config.output), Path(config.output) / SCRATCH
    with ExitStack() as stack:
        stack.callback(log.close)
        if _is_main_process():
            stack.enter_context(lock_folder(scratch, f"output={output}"))
            refuse_finished_output_dir(output)
            write_atomic(scratch / TRAINING_FILE, dump_json(training.signature, indent=1) + "\n")
        _train_or_resume(trainer, training.resume_from, tell)
        longest = trainer.longest()
        if not _is_main_process():
            return {}
        log.close()
        model = make_final_model(trainer, config, training.validation, longest, tell, training.has_dialogue)
        model.config.tokenizer_digest = digest_tokenizer(training.tokenizer)
        publish_to_output_dir(output, model, training.tokenizer, text)
    return dict(log.summary())


def leave_training_run_processes() -> None:
    """Leave the process group of a distributed training before this process ends.

    Otherwise a thread of the group may abort this process, and with it the finished training. No
    distributed training is possible in this process afterwards.
    """
    import torch.distributed

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _train_or_resume(trainer: Any, resume_from: tuple[Path, bool] | None, tell: Callable[[str], None]) -> None:
    """Train from the start or resume from a checkpoint; a finished training only loads its result.

    On the first interruption, the running step is finished and saved.
    """
    from transformers import TrainerState
    from transformers.trainer import TRAINER_STATE_NAME

    from prospect_core.train.trainer import last_whole_trainer_checkpoint

    if resume_from is not None:
        tell(f"continuing from step {resume_from[0].name.rsplit('-', 1)[1]} ({resume_from[0]})")
    if resume_from is not None and resume_from[1]:
        trainer.state = TrainerState.load_from_json(str(resume_from[0] / TRAINER_STATE_NAME))
        best = trainer.state.best_model_checkpoint if trainer.args.load_best_model_at_end else None
        trainer._load_from_checkpoint(best or str(resume_from[0]))
        return
    # several processes would stop at different steps
    alone = trainer.args.world_size == 1
    try:
        # some required packages are imported only now
        with (
            defer_interrupt("the current step and a checkpoint") if alone else nullcontext(),
            translate_trainer_option_errors("train", (ImportError,)),
        ):
            trainer.train(resume_from_checkpoint=None if resume_from is None else str(resume_from[0]))
    except KeyboardInterrupt:
        kept = last_whole_trainer_checkpoint(Path(trainer.args.output_dir))
        step = "none" if kept is None else f"step {kept[0].name.rsplit('-', 1)[1]}"
        tell(f"interrupted at step {trainer.state.global_step}; last checkpoint: {step}")
        raise
    except UserError as error:
        original = _out_of_loader(error)
        if original is None:
            raise
        raise original from error


def _out_of_loader(error: UserError) -> UserError | None:
    """Return the error inside an error of torch's loader whose text is a worker's traceback; None for others.

    The traceback in such a text ends with the original error's own line or lines.
    """
    text, kind = str(error), type(error)
    if not text.startswith(f"Caught {kind.__name__} in DataLoader worker process"):
        return None
    _, found, message = text.rpartition(f"\n{kind.__module__}.{kind.__qualname__}: ")
    return kind(message.strip()) if found else None
