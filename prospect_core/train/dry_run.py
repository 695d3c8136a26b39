"""Dry run of a training: its first steps on blank frames, with estimates of time and memory.

    prospect train --dry-run data=data/workbench output=runs/mine train.max_steps=500

It leaves no files.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from prospect_core.data.dataset import Dataset
from prospect_core.data.jsonl_index import clips_from_jsonl_index
from prospect_core.train.config.schema import Config
from prospect_core.train.output_dir import SCRATCH, is_output_dir_finished, refuse_finished_output_dir
from prospect_core.util.cache_dir import cache_dir
from prospect_core.util.console import format_count, format_duration

#: number of steps; the first is not timed, because it includes set-up
STEPS = 4


class _StepsDoneError(Exception):
    """Raised after the last step of a dry run."""


class TrainingEstimate:
    """Blank media and a clock, which `prospect_core.train.run.run_training` takes as media and callback."""

    def __init__(self) -> None:
        self.missing, self.encode_s, self._marks = 0, 0.0, list[float]()
        #: bytes by kind of memory
        self.memory: dict[str, int] = {}

    def media(
        self, config: Config, data: Dataset, model: Any, episodes: Sequence[Any], tell: Any, device: Any
    ) -> Callable[[Any, int, int], np.ndarray]:
        """Return blank frames of the real shape; count the missing features and time one encoding batch.

        Args:
            config: Configuration of the training.
            data: A dataset.
            model: The model.
            episodes: Its episodes.
            tell: Ignored.
            device: Torch device.
        """
        import torch

        from prospect_core.features.feature_cache import (
            ENCODE_BATCH,
            FeatureCache,
            feature_cache_vision_digest,
            open_feature_cache,
        )
        from prospect_core.train.setup.memory_estimate import estimate_training_memory
        from prospect_core.train.setup.model_factory import factory_vision_is_frozen

        self.memory = estimate_training_memory(model, config)
        shape = model.config.frame_format
        blank = np.zeros((1, shape.size, shape.size, 3), np.uint8)
        if config.data.features and factory_vision_is_frozen(model):
            store = open_feature_cache(config.data.store, model) if config.data.store else None
            missing = FeatureCache(
                data, cache_dir() / "features", feature_cache_vision_digest(model), shape, store
            ).missing(clips_from_jsonl_index(episodes))
            pixels = torch.from_numpy(blank).permute(0, 3, 1, 2)
            model.to(device)
            with torch.no_grad():
                blank = model.encode_frames(pixels.to(device)).float().cpu().numpy()
                begin = time.perf_counter()
                model.encode_frames(pixels.to(device).expand(ENCODE_BATCH, -1, -1, -1)).cpu()
            a_frame = (time.perf_counter() - begin) / ENCODE_BATCH
            self.missing += len(missing)
            self.encode_s += a_frame * sum(clip.end_frame for clip in missing.values())
        return lambda episode, start, end: np.repeat(blank, end - start, 0)

    def callback(self) -> Any:
        """Return a callback that ends the training after `STEPS` steps."""
        from transformers import TrainerCallback

        marks = self._marks

        class Clock(TrainerCallback):
            def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
                marks.append(time.perf_counter())
                if len(marks) == STEPS:
                    raise _StepsDoneError

        return Clock()

    @property
    def step_s(self) -> float:
        """Seconds per step."""
        return (self._marks[-1] - self._marks[0]) / (len(self._marks) - 1)


def dry_run_training(config: Config, text: str, tell: Callable[[str], None]) -> list[str]:
    """Check options and data as the training does, run its first steps, and describe the whole training.

    The output folder is not changed.

    Args:
        config: Configuration of the training.
        text: Its YAML text.
        tell: Prints a line for the user.

    Returns:
        Lines for the user.
    """
    from prospect_core.train.run import run_training
    from prospect_core.train.setup.build import TrainingHooks

    output = Path(config.output)
    if is_output_dir_finished(output, text):
        return [f"output={output}: already holds the checkpoint of this training; nothing to do"]
    refuse_finished_output_dir(output)
    estimate = TrainingEstimate()

    def quiet(line: str) -> None:
        if not line.startswith("step "):
            tell(line)

    with TemporaryDirectory() as name:
        options = replace(config.train, max_steps=STEPS + 1, minutes=None, save_every=10**6, tensorboard=False)
        closed = replace(config.eval, every=None, patience=None, thresholds=False)
        trial = replace(config, output=str(Path(name) / "run"), train=options, eval=closed)
        with suppress(_StepsDoneError):
            hooks = TrainingHooks(quiet, open_media=estimate.media, callbacks=[estimate.callback()])
            run_training(trial, text, hooks)
    return list(_lines(config, output, estimate))


def _lines(config: Config, output: Path, estimate: TrainingEstimate) -> Any:
    step, minutes = estimate.step_s, config.train.minutes
    if estimate.missing:
        videos = format_count(estimate.missing, "video")
        yield f"encoding the features of {videos} first: about {format_duration(estimate.encode_s)}, without decoding"
    told = ", ".join(f"{part} {size / 1e9:.2g}" for part, size in estimate.memory.items())
    yield f"estimated memory: {sum(estimate.memory.values()) / 1e9:.2g} GB per process ({told})"
    if minutes:
        steps = f"about {60 * minutes / step:,.0f} steps of {step:.2g} s"
        yield f"training time: {format_duration(60 * minutes)}, as given (train.minutes); {steps}"
    else:
        whole = step * config.train.max_steps
        steps = f"{format_count(config.train.max_steps, 'step')} of {step:.2g} s"
        yield f"training time: about {format_duration(whole)}, {steps}"
    if config.eval.every:
        yield f"not included: a replay of validation episodes every {config.eval.every} steps"
    if config.eval.thresholds:
        yield "not included: replays of validation episodes to choose thresholds (eval.thresholds=false skips them)"
    yield f"output: {output}{', continuing the training there' if (output / SCRATCH).exists() else ''}"
