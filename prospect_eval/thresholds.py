"""The two thresholds of a checkpoint, chosen on validation data and stored in it.

    prospect-eval calibrate --ckpt runs/train --suite workbench

Replay under ``none``, choose each threshold from the stored probabilities (event F1 within 1 s), replay again with
them, until both move by less than 0.02, three rounds at most.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from prospect_core.records import EpisodeRecord
from prospect_eval.matching import match_events

GRID = tuple(round(0.02 * k, 2) for k in range(2, 49))
CLOSE_ENOUGH, ROUNDS = 0.02, 3


@dataclass(frozen=True)
class Choice:
    """Thresholds with the (open-loop) F1 that each had on the data it was chosen on."""

    speaking: float
    update: float
    speaking_f1: float
    update_f1: float


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


def calibrate(
    replay_all: Callable[[float, float], Sequence[EpisodeRecord]],
    start: tuple[float, float],
    tell: Callable[[str], None] = print,
) -> Choice:
    """Choose and replay until the thresholds settle; ``replay_all(speaking, update)`` gives the records."""
    speaking, update = start
    for number in range(1, ROUNDS + 1):
        choice = choose_thresholds(replay_all(speaking, update))
        tell(
            f"round {number}: speaking {choice.speaking:.2f} (F1 {choice.speaking_f1:.3f}),"
            f" update {choice.update:.2f} (F1 {choice.update_f1:.3f})"
        )
        moved = max(abs(choice.speaking - speaking), abs(choice.update - update))
        speaking, update = choice.speaking, choice.update
        if moved < CLOSE_ENOUGH:
            break
    return choice
