"""Closed-loop validation of a training: a replay of val with the evaluation's runner and metrics.

    prospect train eval.every=200 eval.metric=speaking_event_f1@2s eval.patience=5

An entry point (group ``prospect.evaluators``) provides the evaluator, so this package does not
depend on the evaluation package. `Evaluator` states its interface.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from prospect_core.checkpoints.thresholds import NEUTRAL, NEVER, CheckpointThresholds, make_thresholds_entry
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
#: thresholds have converged when they move by less than SETTLED, at the latest after this number
#: of rounds
SETTLED, ROUNDS = 0.02, 3
#: initial thresholds, so that a model that would speak on every frame stays silent
SILENT = (NEVER, NEUTRAL)
#: features (frames, I, D) by video and rate
Features = dict[tuple[str, float], Tensor]


class ChosenThresholds(Protocol):
    """Thresholds that an evaluator has chosen, each 0 to 1.

    It may have ``mistake``, the threshold of a model with a mistake head; None or missing if it was
    not chosen.
    """

    @property
    def speaking(self) -> float | None:
        """Speaking threshold; None for data without dialogue, on which it cannot be chosen."""
        ...

    @property
    def update(self) -> float:
        """Update threshold."""
        ...


class ChoosesThresholds(Protocol):
    """Object or module that chooses thresholds."""

    def choose_thresholds(self, records: Sequence[EpisodeRecord]) -> ChosenThresholds:
        """Return the best thresholds for replayed records."""
        ...


class Evaluator(ChoosesThresholds, Protocol):
    """Object or module that is registered in the group `GROUP`."""

    def check_metric(self, name: str) -> str:
        """Return the better direction of a metric: ``"higher"`` or ``"lower"``."""
        ...

    def metric_values(self, records: Sequence[EpisodeRecord], names: Sequence[str]) -> dict[str, float | None]:
        """Return {name: value} of metrics over records; None for an undefined one."""
        ...


def find_validation_evaluator(name: str) -> Evaluator:
    """Find the evaluator that is registered under ``name``.

    Raises:
        UserError: If there is none; the message lists the installed ones.
        DataError: If it cannot be imported.
    """
    found = {point.name: point for point in list_entry_points(GROUP)}
    if not found:
        raise UserError(
            f"eval.evaluator={name}: no such evaluator is installed; `pip install -e .` registers prospect_eval"
        )
    require_choice("eval.evaluator", name, found)
    evaluator: Evaluator = load_entry_point(found[name])
    return evaluator


@dataclass
class Validation:
    """Closed-loop validation over some episodes.

    Attributes:
        data: Dataset of the episodes.
        split: Split of the episodes.
        episodes: The episodes.
        tokenizer: Tokenizer of the model.
        evaluator: Computes metrics and chooses thresholds.
        metrics: Names of the reported metrics.
        media: ``media(episode, start, end)`` returns pictures (F, size, size, 3) uint8, or features
            (F, I, D) of a frozen vision tower.
        thresholds: (speaking, update) of the last `evaluate`, from which the next one starts.
    """

    data: Dataset
    split: str
    episodes: Sequence[Episode]
    tokenizer: Any
    evaluator: Evaluator
    metrics: tuple[str, ...]
    media: Callable[[Episode, int, int], np.ndarray]
    thresholds: tuple[float, float] = SILENT

    def evaluate(self, model: DSTSmolVLM) -> dict[str, float | None]:
        """Replay twice and return metrics; the second replay uses thresholds chosen from the first.

        Returns:
            {name: value}; None for an undefined metric.
        """
        frames = self._encode(model)
        chosen = self.evaluator.choose_thresholds(self._replay(model, self.thresholds, frames))
        speaking = self.thresholds[0] if chosen.speaking is None else chosen.speaking
        self.thresholds = (speaking, chosen.update)
        values = self.evaluator.metric_values(self._replay(model, self.thresholds, frames), self.metrics)
        return values | {"speaking_threshold": self.thresholds[0], "update_threshold": self.thresholds[1]}

    def calibrate(self, model: DSTSmolVLM, tell: Callable[[str], None] = print) -> None:
        """Choose the thresholds under the strategy ``none`` and store them in the model's configuration.

        Without dialogue in the episodes, the speaking threshold of the configuration is used and kept.

        Args:
            model: The model.
            tell: Prints a line for the user.
        """
        frames = self._encode(model)
        start = self.thresholds
        if not any(episode.utterances() for episode in self.episodes):
            start = (model.config.speaking_threshold, start[1])
        chosen = settle_validation_thresholds(
            lambda thresholds: self._replay(model, thresholds, frames), start, self.evaluator, tell
        )
        for key, value in make_thresholds_entry(chosen, self.data, self.split).items():
            setattr(model.config, key, value)

    def _encode(self, model: DSTSmolVLM) -> Features:
        """Encode every video at its rate once for all replays of the model's current weights."""
        longest: dict[tuple[str, float], Episode] = {}
        for episode in sorted(self.episodes, key=lambda e: e.end_frame):
            longest[episode.video, episode.fps] = episode
        return {key: self._features(model, episode) for key, episode in longest.items()}

    def _features(self, model: DSTSmolVLM, episode: Episode) -> Tensor:
        """Return embeddings (F, I, D) of an episode's video up to the episode's end."""
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
) -> CheckpointThresholds:
    """Replay, choose thresholds from the stored probabilities, and repeat until they converge.

    The mistake threshold follows from the last replay: it does not change what a stream reads.

    Args:
        replay_all: Replays all episodes with (speaking, update) thresholds.
        start: Initial thresholds.
        evaluator: Chooses thresholds.
        tell: Prints a line for the user.
    """
    now = start
    mistake: float | None = None
    for number in range(1, ROUNDS + 1):
        choice = evaluator.choose_thresholds(replay_all(now))
        tell(f"thresholds, round {number}: {choice}")
        speaking = now[0] if choice.speaking is None else choice.speaking
        moved = max(abs(speaking - now[0]), abs(choice.update - now[1]))
        now = (speaking, choice.update)
        # evaluators of earlier versions do not choose it
        mistake = getattr(choice, "mistake", None)
        if moved < SETTLED:
            break
    return CheckpointThresholds(*now, mistake)


def pick_validation_episodes(data: Dataset, split: str, limit: int | None) -> list[Episode]:
    """Return at most ``limit`` episodes of a split, spread evenly over it; all if None.

    Raises:
        DataError: If the split has no episodes.
    """
    episodes = sorted(data.episodes(split), key=lambda e: (e.video, e.id))
    if not episodes:
        raise DataError(f"{data.root}: split {split!r} has no episodes")
    if limit is None or limit >= len(episodes):
        return episodes
    return [episodes[k * len(episodes) // limit] for k in range(limit)]
