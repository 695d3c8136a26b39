"""Anything that can be evaluated, behind one call: an episode in, a record and its timing out.

python -c "from prospect_eval.adapters import open_predictor; help(open_predictor)"
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from prospect_core.cachedir import cache_dir
from prospect_core.data.dataset import Dataset
from prospect_core.errors import UserError, choose
from prospect_core.records import EpisodeRecord, EpisodeTiming, Knobs
from prospect_core.stopwatch import Stopwatch
from prospect_core.timeline import Episode
from prospect_eval.baselines import BASELINES, baseline
from prospect_eval.keyholes import KEYHOLES, keyhole

if TYPE_CHECKING:
    from torch import Tensor

    from prospect_core.stream.latency import EpisodeLatency
    from prospect_core.stream.teacher import ForcedTurn

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
    #: what only models of ours can do
    forced: Callable[[Episode], list[ForcedTurn]] | None = None
    latency: Callable[[Episode], EpisodeLatency] | None = None


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


class CheckpointModel:
    """A checkpoint of ours on some data: its replay, its teacher-forced pass, and its plain pass."""

    def __init__(self, ckpt: str, data: Dataset, knobs: Callable[[Any], Knobs], device: str) -> None:
        from prospect_core.data.frames import FeatureCache, vision_digest
        from prospect_core.model.checkpoint import load_checkpoint
        from prospect_core.stream.runner import VLMStreamRunner

        self.name, self.data = ckpt, data
        self.model, self.tokenizer = load_checkpoint(ckpt, device)
        self.knobs = knobs(self.model.config)
        self.runner = VLMStreamRunner(self.model, self.tokenizer, self.knobs)
        digest = vision_digest(self.model)
        self._cache = FeatureCache(data, cache_dir() / "features", digest, self.model.config.image_size)

    def predict(self, episode: Episode) -> tuple[EpisodeRecord, EpisodeTiming]:
        """The record of an episode; its frames are encoded in batches before the stream begins."""
        from prospect_core.stream.replay import replay

        begin, watch = time.perf_counter(), Stopwatch()
        features = self._features(episode, watch)
        record, timing = replay(self.runner, episode, features, self.knobs, self.name)
        stages: dict[str, float] = dict(Counter(watch.seconds) + Counter(timing.stages))
        seconds = time.perf_counter() - begin
        stages["rest"] = seconds - sum(spent for stage, spent in stages.items() if stage != "rest")
        return record, replace(timing, seconds=seconds, stages=stages)

    def forced(self, episode: Episode) -> list[ForcedTurn]:
        """The episode's turns under teacher forcing."""
        from prospect_core.stream.teacher import teacher_forced

        threshold = self.knobs.speaking_threshold
        return teacher_forced(self.model, self.tokenizer, episode, self._features(episode), threshold)

    def latency(self, episode: Episode) -> EpisodeLatency:
        """The seconds of every step, as if live."""
        from prospect_core.stream.latency import plain_pass

        source = self.data.frame_source(episode, self.model.config.image_size)
        return plain_pass(self.runner, episode, source.frames(episode.start_frame, episode.end_frame))

    def _features(self, episode: Episode, watch: Stopwatch | None = None) -> Tensor:
        """Embeddings of the episode's frames: each video is decoded and encoded once, for all runs of these weights."""
        import torch

        from prospect_core.data.frames import encode_video

        try:
            self._cache.prepare(self.model, [episode], watch=watch)
            kept = self._cache(episode, episode.start_frame, episode.end_frame)
        except OSError:
            # no room or no right to keep them: encoded for this once
            source = self.data.frame_source(episode, self.model.config.image_size)
            return encode_video(self.model, source, episode.start_frame, episode.end_frame, watch)
        return torch.from_numpy(kept).to(self.model.device)


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
    from prospect_core.model.checkpoint import checkpoint_digest, find_checkpoint

    def knobs(config: Any) -> Knobs:
        speaking = config.speaking_threshold if speaking_threshold is None else speaking_threshold
        return Knobs(
            strategy, budget, speaking, config.update_threshold if update_threshold is None else update_threshold
        )

    model = CheckpointModel(ckpt, data, knobs, device)
    given = (speaking_threshold, update_threshold) != (None, None)
    source = "the command line" if given else model.model.config.thresholds_data or "never chosen"
    digest = checkpoint_digest(find_checkpoint(ckpt))
    return Predictor(ckpt, digest, model.knobs, model.predict, source, model.forced, model.latency)
