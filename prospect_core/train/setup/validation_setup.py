"""The closed-loop validation of a training, built from its configuration."""

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
    """The closed-loop validation, or None where nothing asks for it; data without val trains with neutral thresholds.

    ``proassist_output_frames(data, episodes)`` gives its frames, from where training has its own: stored features of a frozen tower, or
    pictures. One process alone validates; all encode their share of what it will need.

    Raises:
        DataError: A video that validation needs is missing or too short.
    """
    from prospect_core.features.picture_cache import PictureCache
    from prospect_core.train.validation import Validation, find_validation_evaluator, pick_validation_episodes

    options = config.eval
    if not options.every and not options.thresholds:
        return None
    name = config.data.path
    data = open_training_source(name, options.split, tell, missing_ok=not options.every)
    if data is None:
        tell(f"{name}: has no split {options.split!r}; the thresholds stay 0.5 (eval.thresholds=false says so)")
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
    """Refuse, as a `UserError`, validation over episodes whose frames alone are more tokens than the model has positions."""
    most = int(config.text_config.max_position_embeddings)
    for episode in episodes:
        if episode.num_frames * config.tokens_per_frame > most:
            raise UserError(
                f"eval.split: {episode.id} has {episode.num_frames} frames of {config.tokens_per_frame} tokens, and the model"
                f" {most:,} positions; lower model.tokens_per_frame, or give eval.thresholds=false"
            )
