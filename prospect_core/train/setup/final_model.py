"""The model at the end of a training: whole, merged, checked, with its lengths and thresholds noted."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from prospect_core.checkpoints.thresholds import clear_checkpoint_thresholds
from prospect_core.train.config.schema import Config, SamplingOptions
from prospect_core.util.errors import DataError


def make_final_model(
    trainer: Any, config: Config, validation: Any, longest: tuple[int, int], tell: Callable[[str], None]
) -> Any:
    """The trained model, whole, merged and finite, with its thresholds."""
    import torch

    from prospect_core.model.modeling import DSTSmolVLM
    from prospect_core.train.setup.model_factory import freeze_model_factory_parts, merge_model_lora

    model = trainer.accelerator.unwrap_model(trainer.model)
    if trainer.whole_state is not None:
        # this process holds a part of each tensor: a whole model of the same configuration takes the whole ones
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
    # those of the checkpoint that it began from were chosen for other weights
    clear_checkpoint_thresholds(model.config)
    if validation and config.eval.thresholds:
        validation.calibrate(model, tell)
    return model


def note_final_model_lengths(config: Any, longest: tuple[int, int], sampling: SamplingOptions) -> None:
    """Keep the longest windows of all trainings in a model's configuration: ``longest`` are tokens and frames of this one's.

    Windows that begin with a summary, or with what was said before them, are as a stream goes on after one compression.
    """
    tokens, frames = longest
    config.trained_tokens = max(config.trained_tokens, tokens)
    config.trained_frames = max(config.trained_frames, frames)
    if sampling.summary_share or sampling.recent_share:
        config.trained_compressions = 1
