"""Batches by tokens: each has as many windows as fit, so short windows use a GPU as fully as long ones."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

from prospect_core.train.data.training_dataset import DSTTrainingDataset, clear_training_dataset_labels

#: number of windows among which those of similar length form batches
CHUNK = 1024
#: extra share of batches per epoch, because the windows of another epoch may need more
SPARE = 0.05


class TokenBatches:
    """Windows of a `DSTTrainingDataset` in batches of about ``tokens`` tokens including padding.

    The length of a window is estimated before it is drawn. An item is a whole batch, a list of the
    dataset's items: the loader's batch size is 1. Each epoch has the same number of batches, so a
    training can resume inside an epoch: surplus batches carry no loss, and windows after the last
    batch are not read in that epoch.

    Args:
        windows: The dataset.
        tokens: Tokens of a batch; a batch has at least one window.
    """

    def __init__(self, windows: DSTTrainingDataset, tokens: int) -> None:
        self.windows, self.tokens = windows, tokens
        self.builder = windows.builder
        #: the number of batches is a multiple of this, so that all processes read equally
        #: many
        self.multiple = 1
        self._whole = math.ceil(len(self._packed()) * (1 + SPARE))
        self._batches: list[list[int]] | None = None

    @property
    def together(self) -> int:
        """Number of adjacent windows of similar length: batches already group them."""
        return 1

    @together.setter
    def together(self, windows: int) -> None:
        pass

    def set_epoch(self, *args: Any, **kwargs: Any) -> None:
        """Start an epoch; see `DSTTrainingDataset.set_epoch`."""
        self.windows.set_epoch(*args, **kwargs)
        self._batches = None

    def label_rates(self, names: Sequence[str] = ("speaking", "update")) -> dict[str, float | None]:
        """Return the label rates; see `DSTTrainingDataset.label_rates`."""
        return self.windows.label_rates(names)

    def __len__(self) -> int:
        return -(-self._whole // self.multiple) * self.multiple

    def __getitem__(self, index: int) -> list[Any]:
        if self._batches is None:
            self._batches = self._packed()
        if index < len(self._batches):
            return [self.windows[k] for k in self._batches[index]]
        sequence, media = self.windows[index % len(self.windows)]
        return [(clear_training_dataset_labels(sequence), media)]

    def _packed(self) -> list[list[int]]:
        """Return the indices of windows by batch, in a separate order for each epoch."""
        out: list[list[int]] = []
        sizes = [self.windows.tokens(k) for k in range(len(self.windows))]
        for begin in range(0, len(sizes), CHUNK):
            batches = group_token_batches(sizes[begin : begin + CHUNK], self.tokens, begin)
            random.Random(f"{self.windows.seed}/{self.windows.epoch}/{begin}/batches").shuffle(batches)
            out += batches
        return out


def group_token_batches(sizes: Sequence[int], room: int, first: int = 0) -> list[list[int]]:
    """Group items of similar sizes.

    Args:
        sizes: Size of each item.
        room: Maximum of the largest size times the number of items in a group, except for a single
            item.
        first: Number of the first item.

    Returns:
        Numbers of the items of each group.
    """
    groups: list[list[int]] = []
    for k in sorted(range(len(sizes)), key=lambda k: (-sizes[k], k)):
        # the first item of a group is its largest
        if groups and sizes[groups[-1][0]] * (len(groups[-1]) + 1) <= room:
            groups[-1].append(k)
        else:
            groups.append([k])
    return [[first + k for k in group] for group in groups]
