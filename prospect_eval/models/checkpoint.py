"""A checkpoint on a dataset: its replay, its teacher-forced pass and its latency pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from prospect_core.checkpoints.folders import (
    choose_checkpoint_folder_dtype,
    digest_checkpoint_folder,
    find_checkpoint_folder,
)
from prospect_core.data.dataset import Dataset
from prospect_core.features.feature_cache import FeatureCache, feature_cache_vision_digest, open_feature_cache
from prospect_core.model.checkpoint import load_model_checkpoint
from prospect_core.records import EpisodeLatency, TeacherForcedTurn
from prospect_core.stream import SPAN
from prospect_core.stream.batching import StreamBatcher
from prospect_core.stream.latency import measure_stream_latency, warm_up_stream
from prospect_core.stream.replay import replay_episode
from prospect_core.stream.runner import VLMStreamRunner
from prospect_core.stream.teacher_forcing import run_teacher_forcing
from prospect_core.timeline import Episode
from prospect_core.util.cache_dir import cache_dir
from prospect_core.util.errors import DataError
from prospect_core.util.signals import stop_requested
from prospect_core.util.timer import StageTimer
from prospect_eval.models.base import Prediction, Predictor, PredictorOptions


class CheckpointModel:
    """Weights, tokenizer and settings of a checkpoint, applied to a dataset.

    Attributes:
        name: The checkpoint's folder or name.
        data: The dataset.
        streams: Number of episodes that are replayed concurrently.
        model: The model.
        tokenizer: Its tokenizer.
        knobs: Settings of the replay.
        runner: A single stream for passes outside the batched replay.
    """

    def __init__(self, ckpt: str, data: Dataset, asked: PredictorOptions) -> None:
        self.name, self.data, self.streams = ckpt, data, asked.streams
        dtype = choose_checkpoint_folder_dtype(asked.device, asked.dtype)
        self.model, self.tokenizer = load_model_checkpoint(ckpt, asked.device, dtype=dtype)
        config = self.model.config
        mistake = config.mistake_threshold if config.mistake_head else None
        self.knobs = asked.knobs(config.speaking_threshold, config.update_threshold, mistake)
        self.runner = VLMStreamRunner(self.model, self.tokenizer, self.knobs)
        digest = feature_cache_vision_digest(self.model)
        need = "features of this checkpoint"
        store = open_feature_cache(asked.features, self.model).need(need) if asked.features else None
        self._cache = FeatureCache(data, cache_dir() / "features", digest, self.model.config.frame_format, store)

    def predict(self, episodes: Sequence[Episode]) -> Iterator[Prediction]:
        """Replay episodes concurrently.

        Their videos are prefetched, decoded and encoded in batches.

        Args:
            episodes: The episodes.

        Yields:
            Each episode with its record and timing, or with its error, in the order in which they
            end.
        """
        if self.knobs.rules.clock == "live":
            yield from self._predict_live(episodes)
            return
        together, watch = StreamBatcher(self.model), StageTimer()

        def one(episode: Episode, frames: np.ndarray | DataError, before: dict[str, float]) -> Prediction:
            if isinstance(frames, DataError):
                return episode, frames
            runner = VLMStreamRunner(self.model, self.tokenizer, self.knobs, together)
            features = torch.from_numpy(frames).to(self.model.device)

            def clip(start: int, end: int) -> Tensor:
                return features[start - episode.start_frame : end - episode.start_frame]

            try:
                record, timing = replay_episode(runner, episode, clip, self.knobs, self.name, SPAN)
            except DataError as error:
                return episode, error
            stages: dict[str, float] = dict(Counter(before) + Counter(timing.stages))
            return episode, (record, replace(timing, seconds=sum(stages.values()), stages=stages))

        def jobs() -> Iterator[Callable[[], Prediction]]:
            for episode, frames in zip(episodes, self._cache.feed(self.model, episodes, watch), strict=True):
                if stop_requested():
                    return
                yield partial(one, episode, frames, watch.take())

        yield from together.run(jobs(), self.streams)

    def _predict_live(self, episodes: Sequence[Episode]) -> Iterator[Prediction]:
        """Replay episodes one by one; each frame is encoded when the model sees it."""
        for number, episode in enumerate(episodes):
            if stop_requested():
                return
            try:
                if number == 0:
                    warm_up_stream(self.runner, episode)
                source = self.data.frame_source(episode, self.model.config.frame_format)
                yield episode, replay_episode(self.runner, episode, source.frames, self.knobs, self.name, 1)
            except DataError as error:
                yield episode, error

    def forced(self, episode: Episode) -> list[TeacherForcedTurn]:
        """Return the episode's turns under teacher forcing."""
        threshold = self.knobs.speaking_threshold
        return run_teacher_forcing(self.model, self.tokenizer, episode, self._features(episode), threshold)

    def latency(self, episode: Episode) -> EpisodeLatency:
        """Measure the seconds of every step of an episode, as in a live session."""
        source = self.data.frame_source(episode, self.model.config.frame_format)
        return measure_stream_latency(self.runner, episode, source.frames(episode.start_frame, episode.end_frame))

    def least_budget(self, episodes: Sequence[Episode]) -> int:
        """Return the smallest token budget for the episode with the longest task."""
        return max(self.runner.least_budget(episode.task) for episode in episodes)

    def _features(self, episode: Episode) -> Tensor:
        """Return the embeddings of the episode's frames."""
        (found,) = self._cache.feed(self.model, [episode])
        if isinstance(found, DataError):
            raise found
        return torch.from_numpy(found).to(self.model.device)


def open_checkpoint_predictor(ckpt: str, data: Dataset, asked: PredictorOptions) -> Predictor:
    """Open a checkpoint as a predictor.

    Args:
        ckpt: Checkpoint folder, or the name of a released checkpoint.
        data: The dataset.
        asked: Settings of the replay. Thresholds default to those of the checkpoint.
    """
    model = CheckpointModel(ckpt, data, asked)
    digest = digest_checkpoint_folder(find_checkpoint_folder(ckpt))
    source = asked.thresholds_from(model.model.config.thresholds_data)
    return Predictor(ckpt, digest, model.knobs, model.predict, source, model.forced, model.latency, model.least_budget)
