"""A checkpoint of ours on some data: its replay, its teacher-forced pass, and its plain pass.

python -c "from prospect_eval.models.checkpoint import CheckpointModel; help(CheckpointModel)"
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from prospect_core.checkpoints.folders import checkpoint_digest, dtype_on, find_checkpoint
from prospect_core.data.dataset import Dataset
from prospect_core.features.feature_cache import FeatureCache, feature_store, vision_digest
from prospect_core.model.checkpoint import load_checkpoint
from prospect_core.records import EpisodeLatency, TeacherForcedTurn
from prospect_core.stream import SPAN
from prospect_core.stream.batching import StreamBatcher
from prospect_core.stream.latency import plain_pass
from prospect_core.stream.replay import replay
from prospect_core.stream.runner import VLMStreamRunner
from prospect_core.stream.teacher_forcing import teacher_forced
from prospect_core.timeline import Episode
from prospect_core.util.cache_dir import cache_dir
from prospect_core.util.errors import DataError
from prospect_core.util.signals import stopping
from prospect_core.util.timer import StageTimer
from prospect_eval.models.base import Prediction, Predictor, PredictorOptions


class CheckpointModel:
    """Weights, tokenizer and knobs on a data set; so many episodes at once as are asked for."""

    def __init__(self, ckpt: str, data: Dataset, asked: PredictorOptions) -> None:
        self.name, self.data, self.streams = ckpt, data, asked.streams
        dtype = dtype_on(asked.device, asked.dtype)
        self.model, self.tokenizer = load_checkpoint(ckpt, asked.device, dtype=dtype)
        config = self.model.config
        self.knobs = asked.knobs(config.speaking_threshold, config.update_threshold)
        self.runner = VLMStreamRunner(self.model, self.tokenizer, self.knobs)
        digest = vision_digest(self.model)
        need = "features of this checkpoint"
        store = feature_store(asked.features, self.model).need(need) if asked.features else None
        self._cache = FeatureCache(data, cache_dir() / "features", digest, self.model.config.frame_format, store)

    def predict(self, episodes: Sequence[Episode]) -> Iterator[Prediction]:
        """Replay many episodes at once; their videos are decoded ahead and encoded in batches before they begin."""
        together, watch = StreamBatcher(self.model), StageTimer()

        def one(episode: Episode, frames: np.ndarray | DataError, before: dict[str, float]) -> Prediction:
            if isinstance(frames, DataError):
                return episode, frames
            runner = VLMStreamRunner(self.model, self.tokenizer, self.knobs, together)
            features = torch.from_numpy(frames).to(self.model.device)
            try:
                record, timing = replay(runner, episode, features, self.knobs, self.name, SPAN)
            except DataError as error:
                return episode, error
            stages: dict[str, float] = dict(Counter(before) + Counter(timing.stages))
            return episode, (record, replace(timing, seconds=sum(stages.values()), stages=stages))

        def jobs() -> Iterator[Callable[[], Prediction]]:
            for episode, frames in zip(episodes, self._cache.feed(self.model, episodes, watch), strict=True):
                if stopping():
                    return
                yield partial(one, episode, frames, watch.take())

        yield from together.run(jobs(), self.streams)

    def forced(self, episode: Episode) -> list[TeacherForcedTurn]:
        """The episode's turns under teacher forcing."""
        threshold = self.knobs.speaking_threshold
        return teacher_forced(self.model, self.tokenizer, episode, self._features(episode), threshold)

    def latency(self, episode: Episode) -> EpisodeLatency:
        """The seconds of every step, as if live."""
        source = self.data.frame_source(episode, self.model.config.frame_format)
        return plain_pass(self.runner, episode, source.frames(episode.start_frame, episode.end_frame))

    def least_budget(self, episodes: Sequence[Episode]) -> int:
        """What the longest task needs."""
        return max(self.runner.least_budget(episode.task) for episode in episodes)

    def _features(self, episode: Episode) -> Tensor:
        """Embeddings of the episode's frames."""
        (found,) = self._cache.feed(self.model, [episode])
        if isinstance(found, DataError):
            raise found
        return torch.from_numpy(found).to(self.model.device)


def open_checkpoint(ckpt: str, data: Dataset, asked: PredictorOptions) -> Predictor:
    """A checkpoint folder or a shipped name. Thresholds default to the checkpoint's own."""

    model = CheckpointModel(ckpt, data, asked)
    digest = checkpoint_digest(find_checkpoint(ckpt))
    source = asked.thresholds_from(model.model.config.thresholds_data)
    return Predictor(ckpt, digest, model.knobs, model.predict, source, model.forced, model.latency, model.least_budget)
