"""`DSTTrainingDataset`: windows of the training split as tokens, labels and frames.

python -c "from prospect_core.train.dataset import DSTTrainingDataset; help(DSTTrainingDataset)"
"""

from __future__ import annotations

import random

import numpy as np
from torch.utils.data import Dataset as TorchDataset

from prospect_core.data.dataset import Dataset
from prospect_core.errors import DataError
from prospect_core.sequence import SequenceBuilder, TokenSequence
from prospect_core.timeline import Episode
from prospect_core.train.sampling import WindowSampler


class DSTTrainingDataset(TorchDataset):
    """One window of each episode an epoch, drawn anew each epoch (`set_epoch`) from the seed.

    An item is ``(TokenSequence, frames)`` with frames (F, size, size, 3) uint8. Each video is decoded once and kept.
    """

    def __init__(
        self,
        data: Dataset,
        split: str,
        builder: SequenceBuilder,
        sampler: WindowSampler,
        size: int,
        seed: int = 0,
    ) -> None:
        self.data, self.builder, self.sampler, self.size, self.seed = data, builder, sampler, size, seed
        self.episodes: list[Episode] = list(data.episodes(split))
        if not self.episodes:
            raise DataError(f"{data.root}: split {split!r} has no episode to train on")
        self.epoch = 0
        self._frames: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.episodes)

    def set_epoch(self, epoch: int) -> None:
        """Other windows from now on; the same epoch gives the same windows."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> tuple[TokenSequence, np.ndarray]:
        episode = self.episodes[index]
        rng = random.Random(f"{self.seed}/{self.epoch}/{index}")
        window, context, missed = self.sampler.draw(rng, episode)
        frames = self.video(episode)[window.start_frame : window.end_frame]
        return self.builder.window(window, context, missed), frames

    def video(self, episode: Episode) -> np.ndarray:
        """All frames of an episode's video up to its end, (frames, size, size, 3) uint8."""
        have = self._frames.get(episode.video)
        if have is None or len(have) < episode.end_frame:
            source = self.data.frame_source(episode, self.size)
            have = self._frames[episode.video] = np.stack(list(source.frames(0, episode.end_frame)))
        return have
