"""Set up the closed-loop validation of a training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from prospect_core.train.config.schema import Config
from prospect_core.train.data.sources import open_training_source
from prospect_core.util.errors import UserError


def set_up_validation(
    config: Config,
    model: Any,
    tokenizer: Any,
    frames_of: Callable[[Any, Any], Any],
    tell: Callable[[str], None],
) -> Any:
    """Make the closed-loop validation; return None if it is not needed or the data has no such split.

    Without the split, the model keeps neutral thresholds.

    Args:
        config: Configuration of the training.
        model: The model.
        tokenizer: Its tokenizer.
        frames_of: ``frames_of(data, episodes)`` opens the frames as for training: stored features
            for a frozen vision tower, otherwise pictures. One process validates; all encode their
            share.
        tell: Prints a line for the user.

    Raises:
        UserError: If the options contradict each other.
        DataError: If a video that validation needs is missing or too short.
    """
    from prospect_core.features.picture_cache import PictureCache
    from prospect_core.train.validation import Validation, find_validation_evaluator, pick_validation_episodes

    options = config.eval
    if not options.every and not options.thresholds:
        return None
    name = config.data.path
    data = open_training_source(name, options.split, tell, missing_ok=not options.every)
    if data is None:
        tell(
            f"{name}: has no split {options.split!r}; the thresholds stay 0.5 (set eval.thresholds=false to suppress this warning)"
        )
        return None
    evaluator = find_validation_evaluator(options.evaluator)
    if options.every and config.train.fsdp:
        raise UserError("eval.every with train.fsdp: a sharded model cannot be streamed; evaluate the checkpoint later")
    episodes = pick_validation_episodes(data, options.split, options.episodes)
    require_validation_setup_positions(model.config, episodes)
    media = frames_of(data, episodes)
    if isinstance(media, PictureCache):
        media.require(episodes)
    return Validation(data, options.split, episodes, tokenizer, evaluator, (options.metric,), media)


def require_validation_setup_positions(config: Any, episodes: Sequence[Any]) -> None:
    """Check that the model has enough positions for the frames of each episode.

    Raises:
        UserError: If it has not.
    """
    most = int(config.text_config.max_position_embeddings)
    for episode in episodes:
        if episode.num_frames * config.tokens_per_frame > most:
            raise UserError(
                f"eval.split: {episode.id} has {episode.num_frames} frames of {config.tokens_per_frame} tokens, and the model"
                f" {most:,} positions; lower model.tokens_per_frame, give a model with random weights more positions"
                " (model.text.max_position_embeddings), or give eval.thresholds=false"
            )
