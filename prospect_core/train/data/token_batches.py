"""Batches by tokens: as many windows as fit, so that a GPU is as full with short windows as with long ones.

python -c "from prospect_core.train.data.token_batches import TokenBatches; help(TokenBatches)"
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

from prospect_core.train.data.training_dataset import DSTTrainingDataset, clear_training_dataset_labels

#: windows among which those of similar length are put together
CHUNK = 1024
#: batches of an epoch beyond those that the first one has: another epoch's windows may need more
SPARE = 0.05


class TokenBatches:
    """The windows of a `DSTTrainingDataset` in batches of about ``tokens`` tokens with padding, at least one window each: how
    long a window gets is estimated before it is drawn.

    An item is a whole batch, a list of the dataset's items: the loader's own batch size is 1. Each epoch has as many batches,
    so that a training can go on inside one: those that are left over teach nothing, and windows beyond the last one are not
    read in that epoch.
    """

    def __init__(self, windows: DSTTrainingDataset, tokens: int) -> None:
        self.windows, self.tokens = windows, tokens
        self.builder = windows.builder
        #: the number of batches is a multiple of this one, so that all processes read as many
        self.multiple = 1
        self._whole = math.ceil(len(self._packed()) * (1 + SPARE))
        self._batches: list[list[int]] | None = None

    @property
    def together(self) -> int:
        """Windows of similar length stand side by side here in any case."""
        return 1

    @together.setter
    def together(self, windows: int) -> None:
        pass

    def set_epoch(self, *args: Any, **kwargs: Any) -> None:
        """As `DSTTrainingDataset.set_epoch`."""
        self.windows.set_epoch(*args, **kwargs)
        self._batches = None

    def label_rates(self) -> dict[str, float | None]:
        """As `DSTTrainingDataset.label_rates`."""
        return self.windows.label_rates()

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
        """Indices of windows by batch, in an order of its own for each epoch."""
        out: list[list[int]] = []
        sizes = [self.windows.tokens(k) for k in range(len(self.windows))]
        for begin in range(0, len(sizes), CHUNK):
            batches = group_token_batches(sizes[begin : begin + CHUNK], self.tokens, begin)
            random.Random(f"{self.windows.seed}/{self.windows.epoch}/{begin}/batches").shuffle(batches)
            out += batches
        return out


def group_token_batches(sizes: Sequence[int], room: int, first: int = 0) -> list[list[int]]:
    """Items of these sizes in groups of similar ones: the largest times the number of a group is at most ``room``, unless it
    is a group of one. Items are numbered from ``first``."""
    groups: list[list[int]] = []
    for k in sorted(range(len(sizes)), key=lambda k: (-sizes[k], k)):
        # the first of a group is its largest
        if groups and sizes[groups[-1][0]] * (len(groups[-1]) + 1) <= room:
            groups[-1].append(k)
        else:
            groups.append([k])
    return [[first + k for k in group] for group in groups]
