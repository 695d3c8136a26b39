"""Anything that can be evaluated, behind one call: an episode in, a record and its timing out.

python -c "from prospect_eval.adapters import open_predictor; help(open_predictor)"
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from prospect_core.data.dataset import Dataset
from prospect_core.errors import UserError, choose
from prospect_core.records import EpisodeRecord, EpisodeTiming, Knobs
from prospect_core.timeline import Episode
from prospect_eval.baselines import BASELINES, baseline
from prospect_eval.keyholes import KEYHOLES, keyhole

Predict = Callable[[Episode], tuple[EpisodeRecord, EpisodeTiming]]


@dataclass(frozen=True)
class Predictor:
    """A model ready to predict; ``digest`` tells what exactly it is, ``knobs`` with what it replays, and
    ``thresholds_from`` where its thresholds come from."""

    name: str
    digest: str
    knobs: Knobs
    predict: Predict
    thresholds_from: str = ""


def open_predictor(
    ckpt: str,
    data: Dataset,
    episodes: Sequence[Episode],
    strategy: str,
    budget: int | None,
    speaking_threshold: float | None = None,
    update_threshold: float | None = None,
    device: str = "cpu",
) -> Predictor:
    """A checkpoint by path or name, or ``baseline:NAME``. Thresholds default to the checkpoint's own."""
    if ckpt.startswith("baseline:"):
        if strategy != "none" or budget is not None or (speaking_threshold, update_threshold) != (None, None):
            raise UserError(f"--ckpt {ckpt}: a baseline has no context, strategy, budget or threshold; leave those out")
        name = choose("baseline", ckpt.removeprefix("baseline:"), (*BASELINES, *KEYHOLES))
        make = keyhole(name) if name in KEYHOLES else baseline(name, episodes)

        def predict(episode: Episode) -> tuple[EpisodeRecord, EpisodeTiming]:
            begin = time.perf_counter()
            record = make(episode)
            return record, EpisodeTiming(episode.id, time.perf_counter() - begin, {})

        return Predictor(ckpt, ckpt, Knobs(), predict)
    return _open_checkpoint(ckpt, data, strategy, budget, speaking_threshold, update_threshold, device)


def _open_checkpoint(
    ckpt: str,
    data: Dataset,
    strategy: str,
    budget: int | None,
    speaking_threshold: float | None,
    update_threshold: float | None,
    device: str,
) -> Predictor:
    from prospect_core.stream.strategies import strategy as check_strategy

    check_strategy(strategy, budget)
    from prospect_core.data.frames import encode_video
    from prospect_core.model.checkpoint import checkpoint_digest, find_checkpoint, load_checkpoint
    from prospect_core.stream.replay import replay
    from prospect_core.stream.runner import VLMStreamRunner

    model, tokenizer = load_checkpoint(ckpt, device)
    config = model.config
    knobs = Knobs(
        strategy,
        budget,
        config.speaking_threshold if speaking_threshold is None else speaking_threshold,
        config.update_threshold if update_threshold is None else update_threshold,
    )
    runner = VLMStreamRunner(model, tokenizer, knobs)
    encoded: dict[tuple[str, int, int], object] = {}

    def predict(episode: Episode) -> tuple[EpisodeRecord, EpisodeTiming]:
        begin = time.perf_counter()
        key = (episode.video, episode.start_frame, episode.end_frame)
        if key not in encoded:
            # episodes of one video follow each other: the last video is all that is worth keeping
            encoded.clear()
            source = data.frame_source(episode, config.image_size)
            encoded[key] = encode_video(model, source, episode.start_frame, episode.end_frame)
        vision = time.perf_counter() - begin
        record, timing = replay(runner, episode, encoded[key], knobs, ckpt)  # type: ignore[arg-type]
        stages = {"decode and vision": vision, **timing.stages}
        return record, replace(timing, seconds=time.perf_counter() - begin, stages=stages)

    given = (speaking_threshold, update_threshold) != (None, None)
    source = "the command line" if given else config.thresholds_data or "never chosen"
    return Predictor(ckpt, checkpoint_digest(find_checkpoint(ckpt)), knobs, predict, source)
