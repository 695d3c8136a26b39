"""Build a training from its configuration: data, model, trainer and validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from prospect_core import __version__
from prospect_core.checkpoints.folders import digest_checkpoint_folder, find_checkpoint_folder
from prospect_core.data.dataset import Dataset
from prospect_core.data.jsonl_index import Joined
from prospect_core.sequence.annotation_coverage import AnnotationCoverage, find_annotation_coverage
from prospect_core.train.config.schema import Config
from prospect_core.train.config.trainer_option_errors import translate_trainer_option_errors
from prospect_core.train.data.sources import (
    first_training_source_videos,
    open_training_source_media,
    open_training_sources,
)
from prospect_core.train.objectives.losses import FocalOptions, list_training_objectives
from prospect_core.train.output_dir import SCRATCH, refuse_other_output_dir
from prospect_core.train.setup.trainer_arguments import MUON, make_trainer_arguments
from prospect_core.util.console import format_count


@dataclass(frozen=True)
class TrainingHooks:
    """Connections of a training to its caller.

    Attributes:
        tell: Prints a line for the user.
        live: Whether progress may be redrawn in place, as on a terminal.
        warnings: Lines to report first.
        open_media: Opens the frames of a dataset; a dry run replaces it by blank frames.
        callbacks: Further callbacks of the trainer.
    """

    tell: Callable[[str], None] = print
    live: bool = False
    warnings: Sequence[str] = ()
    open_media: Callable[..., Any] = open_training_source_media
    callbacks: Sequence[Any] = ()


@dataclass(frozen=True)
class Training:
    """A training that is ready to start.

    Attributes:
        config: Its configuration.
        trainer: The trainer.
        tokenizer: The tokenizer.
        validation: The validation; None if none is configured.
        log: The log.
        signature: Identity of the training: version, digests of data and weights, configuration.
        resume_from: (checkpoint folder, whether the training was complete there); None for a new
            training.
        has_dialogue: Whether any source has dialogue.
    """

    config: Config
    trainer: Any
    tokenizer: Any
    validation: Any
    log: Any
    signature: dict[str, Any]
    resume_from: tuple[Path, bool] | None
    has_dialogue: bool


def build_training(config: Config, hooks: TrainingHooks) -> Training:
    """Open the data and make the model and the trainer.

    Args:
        config: Configuration of the training.
        hooks: Output of lines, and replacements for a dry run.

    Raises:
        UserError: If options contradict each other, the data, or the unfinished training in the
            output folder.
        DataError: If a video that training or validation needs is missing or too short.
    """
    from transformers import set_seed

    from prospect_core.train.setup.model_factory import freeze_model_factory_parts, make_model
    from prospect_core.train.setup.validation_setup import set_up_validation
    from prospect_core.train.trainer import last_whole_trainer_checkpoint

    set_seed(config.train.seed)
    output, scratch = Path(config.output), Path(config.output) / SCRATCH
    sources = open_training_sources(config, hooks.tell)
    episodes = Joined([some for _, some in sources])
    signature = _signature(config, sources)
    resume_from = last_whole_trainer_checkpoint(scratch)
    if resume_from is not None:
        refuse_other_output_dir(scratch, signature)
    model, tokenizer = make_model(
        config.model, config.init, episodes, partial(first_training_source_videos, sources), hooks.tell
    )
    freeze_model_factory_parts(model, config.model)
    # a rebuilt prompt shows as many utterances as in training
    if config.sampling.recent_share:
        model.config.recent_utterances = config.sampling.recent_utterances
    arguments = make_trainer_arguments(config, scratch, output)

    def frames_of(data: Dataset, some: Any) -> Any:
        return hooks.open_media(config, data, model, some, hooks.tell, arguments.device)

    built = _Model(model, tokenizer, arguments)
    coverage = [find_annotation_coverage(some, model.config.mistake_head) for _, some in sources]
    for (data, _), found in zip(sources, coverage, strict=True):
        for gap in found.gaps(model.config.mistake_head):
            hooks.tell(f"{data.info.name}: {gap}")
    dataset = _training_windows(config, built, sources, coverage, frames_of)
    # a missing video must end the training before its first step
    validation = set_up_validation(config, model, tokenizer, frames_of, hooks.tell)
    _report_sizes(model, episodes, arguments.device, hooks.tell)
    log, trainer = _trainer(config, hooks, built, dataset, validation)
    has_dialogue = any(found.dialogue for found in coverage)
    return Training(config, trainer, tokenizer, validation, log, signature, resume_from, has_dialogue)


@dataclass(frozen=True)
class _Model:
    model: Any
    tokenizer: Any
    arguments: Any


def _signature(config: Config, sources: Sequence[tuple[Dataset, Any]]) -> dict[str, Any]:
    return {
        "version": __version__,
        "data": [data.digest for data, _ in sources],
        "init": digest_checkpoint_folder(find_checkpoint_folder(config.init, "init")) if config.init else None,
        "tower": digest_checkpoint_folder(find_checkpoint_folder(config.model.tower, "tower"))
        if config.model.tower
        else None,
        "config": asdict(config),
    }


def _training_windows(
    config: Config,
    built: _Model,
    sources: Sequence[tuple[Dataset, Any]],
    coverage: Sequence[AnnotationCoverage],
    frames_of: Callable[[Dataset, Any], Any],
) -> Any:
    """Make the windows of all sources, or batches of windows if ``train.batch_tokens`` is set."""
    from prospect_core.sequence.builder import SequenceBuilder
    from prospect_core.train.data.sampling_plan import make_sampling_plan
    from prospect_core.train.data.token_batches import TokenBatches
    from prospect_core.train.data.training_dataset import DSTTrainingDataset, Mixed

    media = Mixed([(some, frames_of(data, some)) for data, some in sources])
    plan = make_sampling_plan(config, built.model.config.max_context)
    builder = SequenceBuilder.of(built.model.config, built.tokenizer)
    episodes = Joined([some for _, some in sources])
    by_id = {clip.id: found for (_, some), found in zip(sources, coverage, strict=True) for clip in some.clips()}
    windows = DSTTrainingDataset(episodes, builder, media, plan, config.train.seed, by_id)
    return windows if config.train.batch_tokens is None else TokenBatches(windows, config.train.batch_tokens)


def _report_sizes(model: Any, episodes: Joined, device: Any, tell: Callable[[str], None]) -> None:
    import torch

    parameters = sum(p.numel() for p in model.parameters())
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    clips = episodes.clips()
    videos = {clip.video for clip in clips}
    tell(
        f"{parameters / 1e6:.2f} M parameters, {trainable / 1e6:.2f} M of them trained;"
        f" {format_count(len(clips), 'episode')} of {format_count(len(videos), 'video')};"
        f" {format_count(torch.get_num_threads(), 'thread')} on {device}"
    )


def _trainer(config: Config, hooks: TrainingHooks, built: _Model, dataset: Any, validation: Any) -> tuple[Any, Any]:
    """Make the log and the trainer, which refer to each other."""
    from transformers import EarlyStoppingCallback, PrinterCallback

    from prospect_core.train.callbacks.training_log import TrainingLog
    from prospect_core.train.data.collator import DSTDataCollator
    from prospect_core.train.objectives.loss_weighting import make_loss_weighting
    from prospect_core.train.trainer import DSTTrainer

    minutes = config.train.minutes
    goal = f"{minutes:g} min" if minutes else f"{config.train.max_steps} steps"
    log = TrainingLog(Path(config.output) / "train_log.jsonl", hooks.tell, goal, hooks.live)
    callbacks = [log, *hooks.callbacks]
    if config.eval.patience is not None:
        callbacks.append(EarlyStoppingCallback(config.eval.patience))
    objectives = list_training_objectives(built.model.config.mistake_head)
    start = {name: getattr(config.loss, name).weight for name in objectives}
    with translate_trainer_option_errors("train"):
        trainer = DSTTrainer(
            model=built.model,
            args=built.arguments,
            train_dataset=dataset,
            eval_dataset=[] if config.eval.every else None,
            data_collator=DSTDataCollator(built.model.config.pad_token_id, built.model.config.mistake_head),
            weighting=make_loss_weighting(config.loss.weighting, start, objectives),
            speaking=FocalOptions(config.loss.speaking.gamma, config.loss.speaking.alpha),
            update=FocalOptions(config.loss.update.gamma, config.loss.update.alpha),
            mistake=FocalOptions(config.loss.mistake.gamma, config.loss.mistake.alpha),
            dynamic_focal=config.loss.dynamic,
            minutes=minutes,
            warmup=config.train.warmup,
            validation=validation if config.eval.every else None,
            muon=config.train.optimiser == MUON,
            rates=config.train.rates,
            callbacks=callbacks,
        )
    log.trainer = trainer
    # it would print every report a second time
    trainer.remove_callback(PrinterCallback)
    if config.train.fsdp and trainer.accelerator.distributed_type.value != "FSDP":
        hooks.tell("warning: train.fsdp has no effect: it needs several processes with one accelerator each")
    return log, trainer
