"""`prospect train`: from a configuration to a checkpoint folder.

    prospect train train.minutes=3 output=runs/tiny

The folder holds the weights (safetensors), the tokenizer, ``train_config.yaml`` (the resolved configuration) and
``train_log.jsonl``; while training goes on also ``.trainer`` with the checkpoints that an interrupted training goes on
from when the same command is given again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from copy import deepcopy
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any

from prospect_core import __version__
from prospect_core.checkpoints import checkpoint_digest, find_checkpoint
from prospect_core.data.dataset import Dataset
from prospect_core.data.index import Joined
from prospect_core.errors import DataError, UserError
from prospect_core.interrupt import patient
from prospect_core.jsonio import dump, write_atomic
from prospect_core.lock import locked
from prospect_core.model.checkpoint import load_checkpoint
from prospect_core.terminal import counted, quiet_transformers
from prospect_core.thresholds import forget_thresholds
from prospect_core.train.arguments import MUON, training_arguments
from prospect_core.train.config import compose_config
from prospect_core.train.losses import OBJECTIVES, FocalOptions
from prospect_core.train.objections import objections
from prospect_core.train.options import Config, FrameOptions, SamplingOptions
from prospect_core.train.output import SCRATCH, TRAINING_FILE, finish, finished, refuse_another, refuse_finished
from prospect_core.train.sources import open_data, open_media, open_sources, some_videos


def train(
    config: Config,
    text: str,
    tell: Callable[[str], None] = print,
    live: bool = False,
    warnings: Sequence[str] = (),
    media_of: Callable[..., Any] = open_media,
    callbacks: Sequence[Any] = (),
) -> dict[str, Any]:
    """Train and write the checkpoint; ``text`` is the configuration as YAML. A rehearsal brings frames and callbacks of its
    own.

    Of several processes the first alone tells anything, writes, and returns the first and last reported losses.
    """
    import torch
    from transformers import EarlyStoppingCallback, PrinterCallback, set_seed

    from prospect_core.model.processing import tokenizer_digest
    from prospect_core.sequence import SequenceBuilder
    from prospect_core.train.backbone import make_model, set_backbone
    from prospect_core.train.collator import DSTDataCollator
    from prospect_core.train.dataset import DSTTrainingDataset, Mixed
    from prospect_core.train.progress import TrainingLog
    from prospect_core.train.trainer import DSTTrainer, last_whole_checkpoint
    from prospect_core.train.weighting import make_weighting

    quiet_transformers()
    main_process = os.environ.get("RANK", "0") == "0"
    if not main_process:
        tell, live = (lambda line: None), False
    for warning in warnings:
        tell(f"warning: {warning}")
    output, scratch = Path(config.output), Path(config.output) / SCRATCH
    if finished(output, text):
        tell(f"output={output}: holds the checkpoint of this training already; delete it to train anew")
        return {}
    refuse_finished(output)
    set_seed(config.train.seed)
    sources = open_sources(config, tell)
    episodes = Joined([some for _, some in sources])
    clips = episodes.clips()
    training = {
        "version": __version__,
        "data": [data.digest for data, _ in sources],
        "init": checkpoint_digest(find_checkpoint(config.init, "init")) if config.init else None,
        "tower": checkpoint_digest(find_checkpoint(config.model.tower, "tower")) if config.model.tower else None,
        "config": asdict(config),
    }
    found = last_whole_checkpoint(scratch)
    if found is not None:
        refuse_another(scratch, training)
    model, tokenizer = make_model(config.model, config.init, episodes, partial(some_videos, sources), tell)
    set_backbone(model, config.model)
    # a rebuilt prompt shows as many utterances as training has shown
    if config.sampling.recent_share:
        model.config.recent_utterances = config.sampling.recent_utterances
    arguments = training_arguments(config, scratch, output)
    builder = SequenceBuilder.of(model.config, tokenizer)
    place = arguments.device
    media = Mixed([(some, media_of(config, data, model, some, tell, place)) for data, some in sources])
    # before the first step, so that a video that is missing ends the training before it begins
    validation = make_validation(config, model, tokenizer, partial(media_of, config), tell, place)
    draws = make_draws(config, model.config.max_context)
    dataset = in_batches(DSTTrainingDataset(episodes, builder, media, draws, config.train.seed), config)
    learning = sum(p.numel() for p in model.parameters() if p.requires_grad)
    tell(
        f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {learning / 1e6:.2f} M of them learn;"
        f" {counted(len(clips), 'episode')} of {counted(len({clip.video for clip in clips}), 'video')}; {counted(torch.get_num_threads(), 'thread')} on {place}"
    )
    minutes = config.train.minutes
    log = TrainingLog(
        output / "train_log.jsonl", tell, f"{minutes:g} min" if minutes else f"{config.train.max_steps} steps", live
    )
    if config.eval.patience is not None:
        callbacks = [*callbacks, EarlyStoppingCallback(config.eval.patience)]
    start = {name: getattr(config.loss, name).weight for name in OBJECTIVES}
    with objections("train"):
        trainer = DSTTrainer(
            model=model,
            args=arguments,
            train_dataset=dataset,
            eval_dataset=[] if config.eval.every else None,
            data_collator=DSTDataCollator(model.config.pad_token_id),
            weighting=make_weighting(config.loss.weighting, start),
            speaking=FocalOptions(config.loss.speaking.gamma, config.loss.speaking.alpha),
            update=FocalOptions(config.loss.update.gamma, config.loss.update.alpha),
            dynamic_focal=config.loss.dynamic,
            minutes=minutes,
            warmup=config.train.warmup,
            validation=validation if config.eval.every else None,
            muon=config.train.optimiser == MUON,
            rates=config.train.rates,
            callbacks=[log, *callbacks],
        )
    log.trainer = trainer
    # it would print every log once more
    trainer.remove_callback(PrinterCallback)
    if config.train.fsdp and trainer.accelerator.distributed_type.value != "FSDP":
        tell("warning: train.fsdp has no effect: it needs several processes, each with an accelerator of its own")
    with ExitStack() as stack:
        stack.callback(log.close)
        if main_process:
            stack.enter_context(locked(scratch, f"output={output}"))
            refuse_finished(output)
            write_atomic(scratch / TRAINING_FILE, dump(training, indent=1) + "\n")
        go(trainer, found, tell)
        longest = trainer.longest()
        if not main_process:
            return {}
        log.close()
        model.config.tokenizer_digest = tokenizer_digest(tokenizer)
        finish(output, wind_up(trainer, config, validation, longest, tell), tokenizer, text)
    return log.summary()


def in_batches(windows: Any, config: Config) -> Any:
    """The windows themselves, or, where a batch is to hold so many tokens, batches of them."""
    if config.train.batch_tokens is None:
        return windows
    from prospect_core.train.batches import TokenBatches

    return TokenBatches(windows, config.train.batch_tokens)


def leave_others() -> None:
    """Leave the group of processes that train together, before this process ends: one that still is in it may be aborted by the
    group's threads, and with it the whole training, which was over. Nothing can be trained together here after that."""
    import torch.distributed

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def go(trainer: Any, found: tuple[Path, bool] | None, tell: Callable[[str], None]) -> None:
    """Train from the beginning or on from a checkpoint; of a training that was over, only its end is read. Interrupted once,
    the step under way is finished and kept."""
    from transformers import TrainerState
    from transformers.trainer import TRAINER_STATE_NAME

    from prospect_core.train.trainer import last_whole_checkpoint

    if found is not None:
        tell(f"going on from step {found[0].name.rsplit('-', 1)[1]} ({found[0]})")
    if found is not None and found[1]:
        trainer.state = TrainerState.load_from_json(str(found[0] / TRAINER_STATE_NAME))
        best = trainer.state.best_model_checkpoint if trainer.args.load_best_model_at_end else None
        trainer._load_from_checkpoint(best or str(found[0]))
        return
    # of several processes each would stop at a step of its own
    alone = trainer.args.world_size == 1
    try:
        # some packages that are needed are imported only now
        with (
            patient("the step under way and a checkpoint") if alone else nullcontext(),
            objections("train", (ImportError,)),
        ):
            trainer.train(resume_from_checkpoint=None if found is None else str(found[0]))
    except KeyboardInterrupt:
        kept = last_whole_checkpoint(Path(trainer.args.output_dir))
        step = "none" if kept is None else f"of step {kept[0].name.rsplit('-', 1)[1]}"
        tell(f"interrupted at step {trainer.state.global_step}; the last checkpoint is {step}")
        raise
    except UserError as error:
        original = _out_of_loader(error)
        if original is None:
            raise
        raise original from error


def _out_of_loader(error: UserError) -> UserError | None:
    """The error that a process of torch's loader met, of one that has that process's traceback as its text; None for others.

    In such a text the traceback ends with the error's own line or lines.
    """
    text, kind = str(error), type(error)
    if not text.startswith(f"Caught {kind.__name__} in DataLoader worker process"):
        return None
    _, found, message = text.rpartition(f"\n{kind.__module__}.{kind.__qualname__}: ")
    return kind(message.strip()) if found else None


def wind_up(
    trainer: Any, config: Config, validation: Any, longest: tuple[int, int], tell: Callable[[str], None]
) -> Any:
    """The trained model, whole, merged and finite, with its thresholds."""
    import torch

    from prospect_core.model.modeling import DSTSmolVLM
    from prospect_core.train.backbone import merge_lora, set_backbone

    model = trainer.accelerator.unwrap_model(trainer.model)
    if trainer.whole_state is not None:
        # this process holds a part of each tensor: a whole model of the same configuration takes the whole ones
        model = DSTSmolVLM(deepcopy(model.config))
        set_backbone(model, config.model)
        model.load_state_dict(trainer.whole_state, strict=True)
    merge_lora(model)
    model.eval()
    if not all(bool(torch.isfinite(p).all()) for p in model.parameters()):
        raise DataError(f"output={config.output}: training diverged, weights are not finite; lower train.learning_rate")
    best = trainer.state.best_global_step if trainer.args.load_best_model_at_end else None
    model.config.trained_steps += best or trainer.state.global_step
    note_lengths(model.config, longest, config.sampling)
    # those of the checkpoint that it began from were chosen for other weights
    forget_thresholds(model.config)
    if validation and config.eval.thresholds:
        validation.calibrate(model, tell)
    return model


def note_lengths(config: Any, longest: tuple[int, int], sampling: SamplingOptions) -> None:
    """Keep the longest windows of all trainings in a model's configuration: ``longest`` are tokens and frames of this one's.

    Windows that begin with a summary, or with what was said before them, are as a stream goes on after one compression.
    """
    tokens, frames = longest
    config.trained_tokens = max(config.trained_tokens, tokens)
    config.trained_frames = max(config.trained_frames, frames)
    if sampling.summary_share or sampling.recent_share:
        config.trained_compressions = 1


def make_draws(config: Config, max_context: int) -> Any:
    """What is drawn anew each epoch, from the configuration."""
    from prospect_core.train.curriculum import Curriculum
    from prospect_core.train.dataset import Draws

    options = config.sampling
    if options.max_tokens is not None and options.max_tokens > max_context:
        raise UserError(
            f"sampling.max_tokens={options.max_tokens}: the model's max_context is {max_context}; give at most that"
        )
    return Draws(
        windows=_windows(options),
        frames=make_sampler(options.frames),
        max_tokens=options.max_tokens or max_context,
        dialogues_per_video=config.data.dialogues_per_video,
        windows_per_episode=config.data.windows_per_episode,
        curriculum=None if options.curriculum is None else Curriculum(**asdict(options.curriculum)),
        places=options.places,
    )


def preview_dataset(root: Path, split: str, ckpt: str, overrides: Sequence[str]) -> Any:
    """The dataset that `prospect train` would draw from, with pictures, for a checkpoint's tokenizer."""
    from prospect_core.data.picture_cache import PictureCache
    from prospect_core.sequence import SequenceBuilder
    from prospect_core.train.dataset import DSTTrainingDataset

    for given in overrides:
        if not given.startswith(("sampling", "data.dialogues_per_video=", "data.windows_per_episode=", "train.seed=")):
            raise UserError(
                f"{given!r} does not change what a window shows: give sampling..., data.dialogues_per_video,"
                " data.windows_per_episode or train.seed"
            )
    config, _ = compose_config(overrides)
    data = Dataset.open(root)
    episodes = data.rows(split)
    if not episodes:
        raise DataError(f"{data.root}: split {split!r} has no episode to show")
    model, tokenizer = load_checkpoint(ckpt)
    builder = SequenceBuilder.of(model.config, tokenizer)
    media = PictureCache(data, model.config.frame_format)
    draws = make_draws(config, model.config.max_context)
    return DSTTrainingDataset(episodes, builder, media, draws, config.train.seed)


def make_sampler(options: FrameOptions) -> Any:
    """The frame sampler that the options describe."""
    from prospect_core.train import samplers

    if options.every:
        chosen: Any = samplers.Every()
    else:
        kinds = {
            "transitions": samplers.Transitions,
            "speaking": samplers.Speaking,
            "key_frames": samplers.KeyFrames,
            "regular": samplers.Regular,
            "silent": samplers.Silent,
            "complexity": samplers.Complexity,
        }
        wanted = {name: getattr(options, name) for name in kinds}
        chosen = samplers.Together(tuple(kinds[n](**asdict(o)) for n, o in wanted.items() if o is not None))
    return chosen if options.balance is None else samplers.ClassBalanced(chosen, options.balance)


def make_validation(
    config: Config,
    model: Any,
    tokenizer: Any,
    media_of: Callable[..., Any],
    tell: Callable[[str], None],
    device: Any,
) -> Any:
    """The closed-loop validation, or None where nothing asks for it; data without val trains with neutral thresholds.

    ``media_of(data, model, episodes, tell, device)`` gives its frames, from where training has its own: stored features of
    a frozen tower, or pictures. One process alone validates; all encode their share of what it will need.

    Raises:
        DataError: A video that validation needs is missing or too short.
    """
    from prospect_core.data.picture_cache import PictureCache
    from prospect_core.train.validation import Validation, find_evaluator, pick_episodes

    options = config.eval
    if not options.every and not options.thresholds:
        return None
    name = config.data.path
    data = open_data(name, options.split, tell, missing_ok=not options.every)
    if data is None:
        tell(f"{name}: has no split {options.split!r}; the thresholds stay 0.5 (eval.thresholds=false says so)")
        return None
    evaluator = find_evaluator(options.evaluator)
    if options.every and config.train.fsdp:
        raise UserError("eval.every with train.fsdp: a sharded model cannot be streamed; evaluate the checkpoint later")
    episodes = pick_episodes(data, options.split, options.episodes)
    require_room(model.config, episodes)
    media = media_of(data, model, episodes, tell, device)
    if isinstance(media, PictureCache):
        media.require(episodes)
    return Validation(data, options.split, episodes, tokenizer, evaluator, (options.metric,), media)


def require_room(config: Any, episodes: Sequence[Any]) -> None:
    """Refuse, as a `UserError`, validation over episodes whose frames alone are more tokens than the model has positions."""
    most = int(config.text_config.max_position_embeddings)
    for episode in episodes:
        if episode.num_frames * config.tokens_per_frame > most:
            raise UserError(
                f"eval.split: {episode.id} has {episode.num_frames} frames of {config.tokens_per_frame} tokens, and the model"
                f" {most:,} positions; lower model.tokens_per_frame, or give eval.thresholds=false"
            )


def _windows(options: SamplingOptions) -> Any:
    from prospect_core.slips import SlipShares
    from prospect_core.train.windows import WindowSampler

    given = {f.name: getattr(options, f.name) for f in fields(WindowSampler)}
    return WindowSampler(**given | {"slips": SlipShares(**asdict(options.slips))})
