"""Make the final model of a training: whole, merged and checked, with its lengths and thresholds."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from prospect_core.checkpoints.thresholds import NEVER, clear_checkpoint_thresholds
from prospect_core.train.config.schema import Config, SamplingOptions
from prospect_core.util.errors import DataError


def make_final_model(
    trainer: Any,
    config: Config,
    validation: Any,
    longest: tuple[int, int],
    tell: Callable[[str], None],
    has_dialogue: bool = True,
) -> Any:
    """Return the trained model: whole, merged, finite, with thresholds.

    Args:
        trainer: The trainer after training.
        config: Configuration of the training.
        validation: Chooses the thresholds, if given.
        longest: (tokens, frames) of the longest training windows.
        tell: Prints a line for the user.
        has_dialogue: Whether any training data has dialogue. Otherwise a new model has not learned to
            speak and never does; a continued one keeps the speaking threshold of ``init``.

    Raises:
        DataError: If a weight is not finite.
    """
    import torch

    from prospect_core.model.modeling import DSTSmolVLM
    from prospect_core.train.setup.model_factory import freeze_model_factory_parts, merge_model_lora

    model = trainer.accelerator.unwrap_model(trainer.model)
    if trainer.whole_state is not None:
        # this process holds only shards: load the gathered tensors into a new model of
        # the same configuration
        model = DSTSmolVLM(deepcopy(model.config))
        freeze_model_factory_parts(model, config.model)
        model.load_state_dict(trainer.whole_state, strict=True)
    merge_model_lora(model)
    model.eval()
    if not all(bool(torch.isfinite(p).all()) for p in model.parameters()):
        raise DataError(f"output={config.output}: training diverged, weights are not finite; lower train.learning_rate")
    best = trainer.state.best_global_step if trainer.args.load_best_model_at_end else None
    model.config.trained_steps += best or trainer.state.global_step
    note_final_model_lengths(model.config, longest, config.sampling)
    # thresholds of the initial checkpoint were chosen for other weights
    speaking_before = model.config.speaking_threshold
    clear_checkpoint_thresholds(model.config)
    if not has_dialogue:
        model.config.speaking_threshold = speaking_before if config.init else NEVER
    if validation and config.eval.thresholds:
        validation.calibrate(model, tell)
    return model


def note_final_model_lengths(config: Any, longest: tuple[int, int], sampling: SamplingOptions) -> None:
    """Record the longest windows of all trainings in a model's configuration.

    Windows that start with a summary, or with earlier utterances, are like a stream after one
    compression.

    Args:
        config: Configuration of the model.
        longest: (tokens, frames) of this training's longest windows.
        sampling: Sampling of this training.
    """
    tokens, frames = longest
    config.trained_tokens = max(config.trained_tokens, tokens)
    config.trained_frames = max(config.trained_frames, frames)
    if sampling.summary_share or sampling.recent_share:
        config.trained_compressions = 1
