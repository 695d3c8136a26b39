"""Weighting of the losses: fixed, by learned uncertainty, or by gradient norm.

A weighting observes the global mean losses of each optimizer step (and gradient norms, if it needs
them). It keeps its state outside the model and its optimizer, so it works under DDP, FSDP and
DeepSpeed. Vectors have one entry per objective (O), in the order of `list_training_objectives`. The
loss of an objective without supervision is NaN and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from prospect_core.train.objectives.losses import OBJECTIVES
from prospect_core.util.errors import require_choice


class Weighting(Protocol):
    """Weights of the objectives, updated from observed losses.

    Attributes:
        learns: Whether the weights change.
        wants_norms: Whether it needs gradient norms.
    """

    learns: bool
    wants_norms: bool

    def weights(self) -> np.ndarray:
        """Return (O,) factors of the mean losses for the next step."""
        ...

    def observe(self, losses: np.ndarray, norms: np.ndarray) -> None:
        """Update from a step.

        Args:
            losses: (O,) mean losses.
            norms: (O,) norms of their gradients at the shared representation.
        """
        ...

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint, as JSON values."""
        ...

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore the state from `state`."""
        ...


class FixedWeights:
    """Constant weights.

    Args:
        start: (O,) weights.
    """

    learns = wants_norms = False

    def __init__(self, start: np.ndarray) -> None:
        self.start = start

    def weights(self) -> np.ndarray:
        """Return the constant weights (O,)."""
        return self.start

    def observe(self, losses: np.ndarray, norms: np.ndarray) -> None:
        """Ignore the losses."""
        pass

    def state(self) -> dict[str, Any]:
        """Return an empty state."""
        return {}

    def load(self, state: Mapping[str, Any]) -> None:
        """Do nothing."""
        pass


class UncertaintyWeights:
    """Homoscedastic uncertainty (Kendall, Gal and Cipolla 2018): minimises sum of exp(-s) loss + s / 2.

    ``s`` is the log variance of an objective and starts at ``-log(weight)``, so training begins
    with the configured weights. At rest an objective's weight is 1 / (2 loss). ``s`` follows Adam,
    and the weight stays within ``[1e-3, 1e3]``. An objective with weight 0 stays at 0.

    Args:
        start: (O,) initial weights.
        rate: Learning rate of ``s``.
    """

    learns, wants_norms = True, False
    BETAS, LIMIT = (0.9, 0.99), float(np.log(1e3))

    def __init__(self, start: np.ndarray, rate: float = 0.01) -> None:
        self.rate, self.active = rate, start > 0
        self.s = np.where(self.active, -np.log(np.where(self.active, start, 1.0)), 0.0)
        self.first, self.second, self.steps = np.zeros_like(self.s), np.zeros_like(self.s), np.zeros_like(self.s)

    def weights(self) -> np.ndarray:
        """Return exp(-s) (O,); 0 for excluded objectives."""
        return np.where(self.active, np.exp(-self.s), 0.0)

    def observe(self, losses: np.ndarray, norms: np.ndarray) -> None:
        """Take one Adam step of ``s``; the norms are unused."""
        seen = self.active & np.isfinite(losses)
        grad = np.where(seen, 0.5 - np.exp(-self.s) * np.where(seen, losses, 0.0), 0.0)
        b1, b2 = self.BETAS
        self.first = np.where(seen, b1 * self.first + (1 - b1) * grad, self.first)
        self.second = np.where(seen, b2 * self.second + (1 - b2) * grad**2, self.second)
        self.steps = self.steps + seen
        count = np.maximum(self.steps, 1)
        step = self.first / (1 - b1**count) / (np.sqrt(self.second / (1 - b2**count)) + 1e-8)
        self.s = np.clip(np.where(seen, self.s - self.rate * step, self.s), -self.LIMIT, self.LIMIT)

    def state(self) -> dict[str, Any]:
        """Return ``s`` and the moments of Adam."""
        return {
            "s": self.s.tolist(),
            "first": self.first.tolist(),
            "second": self.second.tolist(),
            "steps": self.steps.tolist(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore ``s`` and the moments of Adam."""
        self.s, self.first, self.second, self.steps = (np.array(state[k]) for k in ("s", "first", "second", "steps"))


class GradNormWeights:
    """Weights that balance gradient norms (after Chen et al. 2018, solved for the weights directly).

    The target norm of objective i is the mean of all weighted norms times ``r_i ** alpha``. r_i is
    the ratio of its current to its first loss, relative to the mean of these ratios: objectives
    that learn slowly get more weight. Weights move by ``momentum`` towards the target and keep
    their configured sum. Norms are taken at the text model's last hidden states, which all
    heads share: that costs a pass through the heads, not through the model.

    Args:
        start: (O,) initial weights.
        alpha: Exponent of the relative loss ratio.
        momentum: Share of the distance to the target per step, 0 to 1.
    """

    learns = wants_norms = True

    def __init__(self, start: np.ndarray, alpha: float = 0.5, momentum: float = 0.05) -> None:
        self.alpha, self.momentum, self.active = alpha, momentum, start > 0
        self.now, self.total = start.astype(float), float(start.sum())
        self.first = np.full(len(start), np.nan)

    def weights(self) -> np.ndarray:
        """Return the current weights (O,)."""
        return self.now

    def observe(self, losses: np.ndarray, norms: np.ndarray) -> None:
        """Move the weights towards their targets."""
        seen = self.active & np.isfinite(losses) & (norms > 0)
        self.first = np.where(np.isnan(self.first) & seen, losses, self.first)
        if seen.sum() < 2:
            return
        fallen = losses[seen] / np.maximum(self.first[seen], 1e-12)
        wanted = (self.now[seen] * norms[seen]).mean() * (fallen / max(fallen.mean(), 1e-12)) ** self.alpha
        moved = self.now.copy()
        # limit the influence of a single batch
        target = np.clip(wanted / norms[seen], self.now[seen] / 10, self.now[seen] * 10)
        moved[seen] += self.momentum * (target - self.now[seen])
        self.now = moved * self.total / moved.sum()

    def state(self) -> dict[str, Any]:
        """Return the current weights and the first losses."""
        return {"now": self.now.tolist(), "first": [None if np.isnan(v) else float(v) for v in self.first]}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore the weights and the first losses."""
        self.now = np.array(state["now"])
        self.first = np.array([np.nan if v is None else v for v in state["first"]])


KINDS: dict[str, Callable[[np.ndarray], Weighting]] = {
    "fixed": FixedWeights,
    "uncertainty": UncertaintyWeights,
    "gradnorm": GradNormWeights,
}


def make_loss_weighting(kind: str, start: Mapping[str, float], objectives: Sequence[str] = OBJECTIVES) -> Weighting:
    """Make a weighting.

    Args:
        kind: A name in `KINDS`.
        start: Initial weight by objective; 0 for missing ones.
        objectives: The objectives in order.

    Raises:
        UserError: If the name is unknown.
    """
    require_choice("loss.weighting", kind, KINDS)
    return KINDS[kind](np.array([start.get(name, 0.0) for name in objectives]))
