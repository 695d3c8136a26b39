"""`DSTDataCollator`: make padded batches from windows of different lengths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from prospect_core.sequence.builder import TokenSequence
from prospect_core.sequence.labels import IGNORE


@dataclass(frozen=True)
class DSTDataCollator:
    """Pads windows on the right and stacks them.

    The attention mask comes from the lengths, never from a comparison of ids with the pad id. A
    batch holds ``pixel_values`` (N, 3, H, W) for items with pictures, or ``frame_embeds`` (N, I, D)
    for items with features, of all windows' frames in reading order. Pictures stay uint8, a quarter
    of the size of float32, and the model normalises them on its device. Items may be lists of
    windows (`TokenBatches`).

    Attributes:
        pad_token_id: Id of padding.
        mistakes: Whether batches hold the labels of mistakes, for a model with a mistake head.
    """

    pad_token_id: int
    mistakes: bool = False

    def __call__(
        self, items: list[tuple[TokenSequence, np.ndarray]] | list[list[tuple[TokenSequence, np.ndarray]]]
    ) -> dict[str, Tensor]:
        """Return the batch of the items as tensors by name."""
        items = [window for item in items for window in (item if isinstance(item, list) else [item])]
        sequences = [sequence for sequence, _ in items]
        lengths = torch.tensor([len(s.ids) for s in sequences])
        ids_BT = _pad([s.ids for s in sequences], self.pad_token_id)
        steps = max(len(s.markers) for s in sequences)
        frames = max(len(s.frames) for s in sequences)
        states_BFK = torch.full((len(items), frames, steps), IGNORE)
        for row, sequence in enumerate(sequences):
            if sequence.markers:
                states_BFK[row, : len(sequence.frames), : len(sequence.markers)] = _tensor(sequence.states)
        batch = {
            "input_ids": ids_BT,
            "attention_mask": (torch.arange(ids_BT.shape[1])[None] < lengths[:, None]).long(),
            **_media(np.concatenate([media for _, media in items])),
            "frame_index": _pad([s.frame_last for s in sequences], -1),
            "marker_index": _pad([s.markers for s in sequences], -1),
            "labels": _pad([s.lm_labels for s in sequences], IGNORE),
            "speaking_labels": _pad([s.speaking for s in sequences], IGNORE),
            "update_labels": _pad([s.update for s in sequences], IGNORE),
            "state_labels": states_BFK,
        }
        if self.mistakes:
            batch["mistake_labels"] = _pad([s.mistakes for s in sequences], IGNORE)
        return batch


def _media(frames: np.ndarray) -> dict[str, Tensor]:
    tensor = torch.from_numpy(frames)
    return {"pixel_values": tensor.permute(0, 3, 1, 2)} if frames.dtype == np.uint8 else {"frame_embeds": tensor}


def _pad(rows: list[list[int]], value: int) -> Tensor:
    return pad_sequence([_tensor(row) for row in rows], batch_first=True, padding_value=value)


def _tensor(numbers: list[int] | list[list[int]]) -> Tensor:
    # torch.tensor takes three times as long for lists
    return torch.from_numpy(np.array(numbers, dtype=np.int64))
