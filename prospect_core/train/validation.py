"""Validation as evaluation does it: a closed-loop replay of val through the same runner, scored by the same metrics.

    prospect train eval.every=200 eval.metric=speaking_event_f1@2s eval.patience=5

What scores and chooses thresholds is found by entry point (group ``prospect.evaluators``), so that this package does
not depend on the one that evaluates; `Evaluator` says what it must have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from prospect_core.checkpoints.thresholds import make_thresholds_entry
from prospect_core.data.dataset import Dataset
from prospect_core.features.feature_cache import encode_feature_cache_pictures
from prospect_core.model.modeling import DSTSmolVLM
from prospect_core.records import EpisodeRecord, Knobs
from prospect_core.stream import SPAN, STREAMS
from prospect_core.stream.batching import StreamBatcher
from prospect_core.stream.replay import replay_episode
from prospect_core.stream.runner import VLMStreamRunner
from prospect_core.timeline import Episode
from prospect_core.util.entry_points import list_entry_points, load_entry_point
from prospect_core.util.errors import DataError, UserError, require_choice

GROUP = "prospect.evaluators"
#: thresholds have settled when they move by less; after so many rounds they are taken as they are
SETTLED, ROUNDS = 0.02, 3
#: where choosing begins: a probability that none reaches keeps a model silent that would yet talk on every frame
SILENT = (1.01, 0.5)
#: features (frames, I, D) by video and rate
Features = dict[tuple[str, float], Tensor]


class ChosenThresholds(Protocol):
    """Thresholds that an evaluator has chosen, 0..1."""

    @property
    def speaking(self) -> float: ...

    @property
    def update(self) -> float: ...


class ChoosesThresholds(Protocol):
    """What `settle_validation_thresholds` asks of an object or module."""

    def choose_thresholds(self, records: Sequence[EpisodeRecord]) -> ChosenThresholds:
        """The best thresholds for what was replayed."""
        ...


class Evaluator(ChoosesThresholds, Protocol):
    """An object or module that is registered in the group `GROUP`."""

    def check_metric(self, name: str) -> str:
        """``"higher"`` or ``"lower"``, whichever is better."""
        ...

    def metric_values(self, records: Sequence[EpisodeRecord], names: Sequence[str]) -> dict[str, float | None]:
        """{name: value}, None where undefined."""
        ...


def find_validation_evaluator(name: str) -> Evaluator:
    """The evaluator registered under ``name``; an unknown one is a `UserError` that lists what is installed."""
    found = {point.name: point for point in list_entry_points(GROUP)}
    if not found:
        raise UserError(f"eval.evaluator={name}: no evaluator is installed; `pip install -e .` registers prospect_eval")
    require_choice("eval.evaluator", name, found)
    evaluator: Evaluator = load_entry_point(found[name])
    return evaluator


@dataclass
class Validation:
    """Some val episodes and the way to replay a model over them; ``metrics`` are the names that it reports.

    ``thresholds`` are those of the last `evaluate`, from which the next one starts.
    """

    data: Dataset
    split: str
    episodes: Sequence[Episode]
    tokenizer: Any
    evaluator: Evaluator
    metrics: tuple[str, ...]
    #: ``media(episode, start, end)``: pictures (F, size, size, 3) uint8, or features (F, I, D) of a frozen tower
    media: Callable[[Episode, int, int], np.ndarray]
    thresholds: tuple[float, float] = SILENT

    def evaluate(self, model: DSTSmolVLM) -> dict[str, float | None]:
        """Metrics (None: undefined) of a replay whose thresholds were chosen from the replay before it."""
        frames = self._encode(model)
        chosen = self.evaluator.choose_thresholds(self._replay(model, self.thresholds, frames))
        self.thresholds = (chosen.speaking, chosen.update)
        values = self.evaluator.metric_values(self._replay(model, self.thresholds, frames), self.metrics)
        return values | {"speaking_threshold": self.thresholds[0], "update_threshold": self.thresholds[1]}

    def calibrate(self, model: DSTSmolVLM, tell: Callable[[str], None] = print) -> None:
        """Choose both thresholds under ``none`` until they settle, and store them with the data's name in the config."""
        frames = self._encode(model)
        chosen = settle_validation_thresholds(
            lambda thresholds: self._replay(model, thresholds, frames), self.thresholds, self.evaluator, tell
        )
        for key, value in make_thresholds_entry(chosen, self.data, self.split).items():
            setattr(model.config, key, value)

    def _encode(self, model: DSTSmolVLM) -> Features:
        """Features of every video at its rate, encoded once for all replays of one state of the model."""
        longest: dict[tuple[str, float], Episode] = {}
        for episode in sorted(self.episodes, key=lambda e: e.end_frame):
            longest[episode.video, episode.fps] = episode
        return {key: self._features(model, episode) for key, episode in longest.items()}

    def _features(self, model: DSTSmolVLM, episode: Episode) -> Tensor:
        """Embeddings (F, I, D) of an episode's video up to the episode's end."""
        found = self.media(episode, 0, episode.end_frame)
        if found.dtype == np.uint8:
            return encode_feature_cache_pictures(model, found)
        return torch.from_numpy(found).to(model.device)

    def _replay(self, model: DSTSmolVLM, thresholds: tuple[float, float], frames: Features) -> list[EpisodeRecord]:
        knobs, together = Knobs("none", None, *thresholds), StreamBatcher(model)

        def one(episode: Episode) -> EpisodeRecord:
            runner = VLMStreamRunner(model, self.tokenizer, knobs, together)
            seen = frames[episode.video, episode.fps][episode.start_frame : episode.end_frame]
            return replay_episode(runner, episode, seen, knobs, "training", SPAN)[0]

        found = {
            record.episode.id: record for record in together.run((partial(one, e) for e in self.episodes), STREAMS)
        }
        return [found[episode.id] for episode in self.episodes]


def settle_validation_thresholds(
    replay_all: Callable[[tuple[float, float]], Sequence[EpisodeRecord]],
    start: tuple[float, float],
    evaluator: ChoosesThresholds,
    tell: Callable[[str], None],
) -> tuple[float, float]:
    """(speaking, update): replay, choose from the stored probabilities, replay again with them until they settle."""
    now = start
    for number in range(1, ROUNDS + 1):
        choice = evaluator.choose_thresholds(replay_all(now))
        tell(f"thresholds, round {number}: {choice}")
        moved = max(abs(choice.speaking - now[0]), abs(choice.update - now[1]))
        now = (choice.speaking, choice.update)
        if moved < SETTLED:
            break
    return now


def pick_validation_episodes(data: Dataset, split: str, limit: int | None) -> list[Episode]:
    """At most ``limit`` episodes of a split, spread evenly over it; none is a `DataError`."""
    episodes = sorted(data.episodes(split), key=lambda e: (e.video, e.id))
    if not episodes:
        raise DataError(f"{data.root}: split {split!r} has no episode to validate on")
    if limit is None or limit >= len(episodes):
        return episodes
    return [episodes[k * len(episodes) // limit] for k in range(limit)]
