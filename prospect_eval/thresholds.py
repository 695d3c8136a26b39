"""The two thresholds of a checkpoint, chosen on validation data and stored in it.

    prospect-eval calibrate --ckpt runs/train --suite workbench

Each threshold is chosen from the stored probabilities of a replay under ``none`` (event F1 within 1 s);
`prospect_core.train.validation.settle` replays and chooses again until both have settled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prospect_core.records import EpisodeRecord
from prospect_eval.matching import match_events

GRID = tuple(round(0.02 * k, 2) for k in range(2, 49))


@dataclass(frozen=True)
class Choice:
    """Thresholds with the (open-loop) F1 that each had on the data it was chosen on."""

    speaking: float
    update: float
    speaking_f1: float
    update_f1: float

    def __str__(self) -> str:
        return f"speaking {self.speaking:.2f} (F1 {self.speaking_f1:.3f}), update {self.update:.2f} (F1 {self.update_f1:.3f})"


def choose_thresholds(records: Sequence[EpisodeRecord]) -> Choice:
    """The best of a grid for each probability; among equals the middle one."""
    speaking, update = [], []
    for record in records:
        episode = record.episode
        speaking.append((record.speaking_prob, [u.frame for u in episode.utterances()], episode))
        update.append((record.update_prob, sorted({f for f, _, _ in episode.transitions()}), episode))
    curves = []
    for rows in (speaking, update):
        curve = []
        for threshold in GRID:
            hits = total = 0
            for probs, reference, episode in rows:
                predicted = (np.flatnonzero(np.asarray(probs) >= threshold) + episode.start_frame).tolist()
                hits += len(match_events(predicted, reference, episode.fps))
                total += len(predicted) + len(reference)
            curve.append(2 * hits / total if total else 0.0)
        curves.append(curve)
    best = [np.flatnonzero(np.asarray(curve) >= max(curve) - 1e-12) for curve in curves]
    chosen = [GRID[int(indices[len(indices) // 2])] for indices in best]
    return Choice(chosen[0], chosen[1], max(curves[0]), max(curves[1]))
