"""How the four losses weigh against each other: fixed, by learned uncertainty, or by gradient norm.

    python -c "from prospect_core.train.objectives.loss_weighting import make_loss_weighting; print(make_loss_weighting('fixed', {'speaking': 2.0}).weights())"

A weighting is told each optimiser step's global mean losses (and gradient norms, if it asks for them), keeps its own
state outside the model and its optimiser, and so works alike under DDP, FSDP and DeepSpeed. Vectors have one entry an
objective, in the order of `OBJECTIVES`; a loss that nothing was supervised for is NaN and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from prospect_core.train.objectives.losses import OBJECTIVES
from prospect_core.util.errors import require_choice


class Weighting(Protocol):
    """Weights of the objectives, from what was observed."""

    learns: bool
    wants_norms: bool

    def weights(self) -> np.ndarray:
        """(4,) what each mean loss is multiplied by in the next step."""
        ...

    def observe(self, losses: np.ndarray, norms: np.ndarray) -> None:
        """(4,) mean losses of a step, and (4,) norms of their gradients at the shared representation."""
        ...

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, as plain JSON values."""
        ...

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        ...


class FixedWeights:
    """The configured weights, always."""

    learns = wants_norms = False

    def __init__(self, start: np.ndarray) -> None:
        self.start = start

    def weights(self) -> np.ndarray:
        return self.start

    def observe(self, losses: np.ndarray, norms: np.ndarray) -> None:
        pass

    def state(self) -> dict[str, Any]:
        return {}

    def load(self, state: Mapping[str, Any]) -> None:
        pass


class UncertaintyWeights:
    """Homoscedastic uncertainty (Kendall, Gal and Cipolla 2018): minimises sum of exp(-s) loss + s / 2 over s too.

    ``s`` is the log variance of an objective and starts at ``-log(weight)``, so that training begins with the
    configured weights; at rest an objective's weight is 1 / (2 loss). ``s`` follows Adam at ``rate``, and the weight
    stays within ``[1e-3, 1e3]``. An objective whose configured weight is 0 stays out.
    """

    learns, wants_norms = True, False
    BETAS, LIMIT = (0.9, 0.99), float(np.log(1e3))

    def __init__(self, start: np.ndarray, rate: float = 0.01) -> None:
        self.rate, self.active = rate, start > 0
        self.s = np.where(self.active, -np.log(np.where(self.active, start, 1.0)), 0.0)
        self.first, self.second, self.steps = np.zeros_like(self.s), np.zeros_like(self.s), np.zeros_like(self.s)

    def weights(self) -> np.ndarray:
        return np.where(self.active, np.exp(-self.s), 0.0)

    def observe(self, losses: np.ndarray, norms: np.ndarray) -> None:
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
        return {
            "s": self.s.tolist(),
            "first": self.first.tolist(),
            "second": self.second.tolist(),
            "steps": self.steps.tolist(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        self.s, self.first, self.second, self.steps = (np.array(state[k]) for k in ("s", "first", "second", "steps"))


class GradNormWeights:
    """Weights that balance gradient norms (after Chen et al. 2018, solved for the weights instead of descended).

    The wanted norm of objective i is the mean of all weighted norms times ``r_i ** alpha``, where r_i is how far its
    loss has fallen since the first step, relative to the others: what learns slowly weighs more. Weights move by
    ``momentum`` towards that and keep their configured sum. Norms are taken at the text model's last hidden states,
    which all four heads share: that costs a pass through the heads, not through the model.
    """

    learns = wants_norms = True

    def __init__(self, start: np.ndarray, alpha: float = 0.5, momentum: float = 0.05) -> None:
        self.alpha, self.momentum, self.active = alpha, momentum, start > 0
        self.now, self.total = start.astype(float), float(start.sum())
        self.first = np.full(len(start), np.nan)

    def weights(self) -> np.ndarray:
        return self.now

    def observe(self, losses: np.ndarray, norms: np.ndarray) -> None:
        seen = self.active & np.isfinite(losses) & (norms > 0)
        self.first = np.where(np.isnan(self.first) & seen, losses, self.first)
        if seen.sum() < 2:
            return
        fallen = losses[seen] / np.maximum(self.first[seen], 1e-12)
        wanted = (self.now[seen] * norms[seen]).mean() * (fallen / max(fallen.mean(), 1e-12)) ** self.alpha
        moved = self.now.copy()
        # one odd batch must not throw a weight about
        target = np.clip(wanted / norms[seen], self.now[seen] / 10, self.now[seen] * 10)
        moved[seen] += self.momentum * (target - self.now[seen])
        self.now = moved * self.total / moved.sum()

    def state(self) -> dict[str, Any]:
        return {"now": self.now.tolist(), "first": [None if np.isnan(v) else float(v) for v in self.first]}

    def load(self, state: Mapping[str, Any]) -> None:
        self.now = np.array(state["now"])
        self.first = np.array([np.nan if v is None else v for v in state["first"]])


KINDS: dict[str, Callable[[np.ndarray], Weighting]] = {
    "fixed": FixedWeights,
    "uncertainty": UncertaintyWeights,
    "gradnorm": GradNormWeights,
}


def make_loss_weighting(kind: str, start: Mapping[str, float]) -> Weighting:
    """The weighting of that name, beginning with the configured weights (an objective left out weighs 0)."""
    require_choice("loss.weighting", kind, KINDS)
    return KINDS[kind](np.array([start.get(name, 0.0) for name in OBJECTIVES]))
