"""Open the training windows that `prospect train` would draw from a dataset, for previews."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prospect_core.data.dataset import Dataset
from prospect_core.model.checkpoint import load_model_checkpoint
from prospect_core.train.config.compose import compose_config
from prospect_core.util.errors import DataError, UserError


def open_preview_window_dataset(root: Path, split: str, ckpt: str, overrides: Sequence[str]) -> Any:
    """Open the dataset that `prospect train` would draw from, with pictures.

    Args:
        root: Folder of the dataset.
        split: Name of the split.
        ckpt: Checkpoint whose tokenizer and frame format are used.
        overrides: Training options, as KEY=VALUE.

    Raises:
        UserError: If an option does not affect windows.
        DataError: If the split has no episode.
    """
    from prospect_core.features.picture_cache import PictureCache
    from prospect_core.sequence.builder import SequenceBuilder
    from prospect_core.train.data.sampling_plan import make_sampling_plan
    from prospect_core.train.data.training_dataset import DSTTrainingDataset

    for given in overrides:
        if not given.startswith(("sampling", "data.dialogues_per_video=", "data.windows_per_episode=", "train.seed=")):
            raise UserError(
                f"{given!r} does not change training windows; give a key of sampling, data.dialogues_per_video,"
                " data.windows_per_episode or train.seed"
            )
    config, _ = compose_config(overrides)
    data = Dataset.open(root)
    episodes = data.rows(split)
    if not episodes:
        raise DataError(f"{data.root}: split {split!r} has no episodes")
    model, tokenizer = load_model_checkpoint(ckpt)
    builder = SequenceBuilder.of(model.config, tokenizer)
    media = PictureCache(data, model.config.frame_format)
    plan = make_sampling_plan(config, model.config.max_context)
    return DSTTrainingDataset(episodes, builder, media, plan, config.train.seed)
