"""Token strategies: keep part of the cache, chosen from keys, values and token metadata.

The prompt always stays. Text (turns and updates) stays within its quota, newest pieces first and
only whole ones. The remaining room goes to frame tokens with the highest scores. Scores are rounded
to a coarse grid and ties go to the newest token, so numerical noise does not change the selection.
All layers keep the same tokens, by their mean score.

* ``drop_middle``: the newest frames (attention sinks and a recent window, StreamingLLM 2309.17453).
* ``uniform``: frames evenly spread over the present ones.
* ``keydiff``: keys least similar to the mean key (KeyDiff 2504.15364).
* ``value_norm``: the largest values (VaN of InfiniPot-V 2506.15745).
* ``tar``: keys least similar to those of the same patch in the newest frames (TaR of InfiniPot-V);
  those frames stay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from prospect_core.stream.token_metadata import Kind, TokenMeta

#: share of the room after the prompt that text may use
TEXT_SHARE = 0.25
#: grid of scores: steps per standard deviation
GRID = 32
#: share of the frame tokens that `tar` gives to the newest frames, with which it compares the
#: others
RECENT_SHARE = 0.125
#: keys or values of every layer, each (1, H, T, D)
Layers = Sequence[Tensor]
Score = Callable[[Layers, Layers, TokenMeta, int], np.ndarray]


@dataclass(frozen=True)
class TokenStrategy:
    """Keeps the frame tokens with the highest scores.

    Attributes:
        name: Name of the strategy.
        keeps: Description, one line.
        score: ``score(keys, values, meta, room)`` returns (T,) scores of all tokens, of which those
            of text are unused; ``room`` is the number of frame tokens that can stay.
        limited: Whether it takes a budget.
        writes: Whether the model writes a summary.
    """

    name: str
    keeps: str
    score: Score
    limited: bool = True
    writes: bool = False

    def select(self, keys: Layers, values: Layers, meta: TokenMeta, most: int) -> list[int]:
        """Select the prompt, text within its quota, and frame tokens.

        Args:
            keys: Keys of every layer.
            values: Values of every layer.
            meta: Metadata of every token.
            most: Maximum number of tokens.

        Returns:
            Indices to keep, ascending.
        """
        kind = meta.kind
        prompt = np.flatnonzero(kind == Kind.PROMPT)
        free = most - len(prompt)
        text = _newest_text(meta, int(TEXT_SHARE * free))
        frames = np.flatnonzero(kind == Kind.FRAME)
        room = max(0, free - len(text))
        scores = round_token_strategy_scores(self.score(keys, values, meta, room)[frames])
        # ties go to the newest token
        best = frames[np.lexsort((-frames, -scores))][:room]
        return sorted([*prompt.tolist(), *text, *best.tolist()])


def _newest_text(meta: TokenMeta, quota: int) -> list[int]:
    """Return the tokens of the newest whole pieces of text that fit into the quota."""
    kind, frame = meta.kind, meta.frame
    out: list[int] = []
    pieces: dict[tuple[int, int], list[int]] = {}
    for index in np.flatnonzero((kind != Kind.PROMPT) & (kind != Kind.FRAME)).tolist():
        pieces.setdefault((int(frame[index]), int(kind[index])), []).append(index)
    for piece in reversed(pieces.values()):
        if len(out) + len(piece) > quota:
            break
        out = piece + out
    return out


def round_token_strategy_scores(scores: np.ndarray) -> np.ndarray:
    """Round scores to `GRID` steps per standard deviation."""
    spread = float(scores.std()) if len(scores) else 0.0
    if spread <= 1e-6 * max(1.0, float(np.abs(scores).max(initial=0.0))):
        return np.zeros(len(scores))
    # round the unit too, otherwise noise in it would move every grid line
    unit = float(f"{spread / GRID:.1e}")
    return np.asarray(np.round(scores / unit))


def token_strategy_recency(keys: Layers, values: Layers, meta: TokenMeta, room: int) -> np.ndarray:
    """Score a token by its frame number."""
    return meta.frame.astype(float)


def token_strategy_even_spread(keys: Layers, values: Layers, meta: TokenMeta, room: int) -> np.ndarray:
    """Score 1 for the tokens of evenly spread frames that fit, including the newest, and 0 for others."""
    kind, frame = meta.kind, meta.frame
    present = np.unique(frame[kind == Kind.FRAME])
    each = max(1, int((kind == Kind.FRAME).sum()) // max(1, len(present)))
    count = min(len(present), room // each)
    chosen = present[len(present) - 1 - (np.arange(count) * len(present)) // max(1, count)]
    return np.isin(frame, chosen).astype(float)


def token_strategy_unlike_mean(keys: Layers, values: Layers, meta: TokenMeta, room: int) -> np.ndarray:
    """Score minus the cosine of a key with the mean direction of all frames' keys, over heads and layers."""
    frames = torch.as_tensor(meta.kind == Kind.FRAME)
    total = np.zeros(len(meta))
    for layer in keys:
        unit_HTD = functional.normalize(layer[0].float(), dim=-1)
        mean_H1D = functional.normalize(unit_HTD[:, frames.to(layer.device)].mean(1, keepdim=True), dim=-1)
        total -= (unit_HTD * mean_H1D).sum(-1).mean(0).cpu().double().numpy()
    return total / len(keys)


def token_strategy_value_norm(keys: Layers, values: Layers, meta: TokenMeta, room: int) -> np.ndarray:
    """Score the norm of a value relative to the mean norm of its layer and head."""
    total = np.zeros(len(meta))
    for layer in values:
        norm_HT = layer[0].float().norm(dim=-1)
        total += (norm_HT / norm_HT.mean(-1, keepdim=True)).mean(0).cpu().double().numpy()
    return total / len(values)


def token_strategy_unlike_newest(keys: Layers, values: Layers, meta: TokenMeta, room: int) -> np.ndarray:
    """Score minus the mean cosine of a key with those of the same patch in the newest frames.

    The newest frames themselves have the highest score.
    """
    kind, frame, place = meta.kind, meta.frame, meta.place
    present = np.unique(frame[kind == Kind.FRAME])
    each = max(1, int((kind == Kind.FRAME).sum()) // max(1, len(present)))
    newest = present[-max(1, int(RECENT_SHARE * room) // each) :]
    total = np.zeros(len(meta))
    for patch in np.unique(place[kind == Kind.FRAME]):
        mine = np.flatnonzero((kind == Kind.FRAME) & (place == patch))
        of_newest = torch.as_tensor(mine[np.isin(frame[mine], newest)])
        if not len(of_newest):
            continue
        for layer in keys:
            unit_HTD = functional.normalize(layer[0].float(), dim=-1)
            mean_H1D = unit_HTD[:, of_newest.to(layer.device)].mean(1, keepdim=True)
            cosine_HN = (unit_HTD[:, torch.as_tensor(mine, device=layer.device)] * mean_H1D).sum(-1)
            total[mine] -= cosine_HN.mean(0).cpu().double().numpy() / len(keys)
    return np.where(np.isin(frame, newest), 2.0, total)


TOKEN_STRATEGIES = (
    TokenStrategy("drop_middle", "the prompt, the newest text, and the newest frames", token_strategy_recency),
    TokenStrategy("uniform", "the prompt, the newest text, and evenly spaced frames", token_strategy_even_spread),
    TokenStrategy("keydiff", "the prompt, the newest text, and frame tokens whose keys differ most from the mean", token_strategy_unlike_mean),
    TokenStrategy("value_norm", "the prompt, the newest text, and the frame tokens with the largest values", token_strategy_value_norm),
    TokenStrategy("tar", "the prompt, the newest text, and frame tokens that differ most from the newest frames", token_strategy_unlike_newest),
)  # fmt: skip
