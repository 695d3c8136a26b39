"""Make the sampling plan of a training from its configuration: windows, supervised frames, curriculum."""

from __future__ import annotations

from dataclasses import fields

from prospect_core.train.config.schema import Config, FrameOptions, SamplingOptions
from prospect_core.train.data import frame_samplers
from prospect_core.train.data.training_dataset import SamplingPlan
from prospect_core.train.data.window_sampler import WindowSampler
from prospect_core.util.errors import UserError


def make_sampling_plan(config: Config, max_context: int) -> SamplingPlan:
    """Make the sampling plan of a configuration.

    Args:
        config: Configuration of the training.
        max_context: Maximum tokens that the model reads.

    Raises:
        UserError: If ``sampling.max_tokens`` is larger than that.
    """
    options = config.sampling
    if options.max_tokens is not None and options.max_tokens > max_context:
        raise UserError(
            f"sampling.max_tokens={options.max_tokens}: the model's max_context is {max_context}; give at most that"
        )
    return SamplingPlan(
        windows=_window_sampler(options),
        frames=sampling_plan_frame_sampler(options.frames),
        max_tokens=options.max_tokens or max_context,
        dialogues_per_video=config.data.dialogues_per_video,
        windows_per_episode=config.data.windows_per_episode,
        curriculum=options.curriculum,
        patch_captions=options.patch_captions,
    )


def sampling_plan_frame_sampler(options: FrameOptions) -> frame_samplers.FrameSampler:
    """Make the frame sampler of the options."""
    chosen: frame_samplers.FrameSampler = frame_samplers.Every()
    if not options.every:
        parts = (
            options.transitions,
            options.speaking,
            options.key_frames,
            options.regular,
            options.silent,
            options.complexity,
        )
        chosen = frame_samplers.CombinedSampler(tuple(part for part in parts if part is not None))
    return chosen if options.balance is None else frame_samplers.ClassBalanced(chosen, options.balance)


def _window_sampler(options: SamplingOptions) -> WindowSampler:
    return WindowSampler(**{field.name: getattr(options, field.name) for field in fields(WindowSampler)})
