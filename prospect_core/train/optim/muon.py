"""Muon optimizer: orthogonalized momentum for the layers' matrices, AdamW for all other parameters.

    prospect train optimiser=muon

Jordan et al. 2024 (kellerjordan.github.io/posts/muon), with steps scaled to those of AdamW (Liu et
al. 2025, arXiv 2502.16982), so both use the same learning rate. Muon learns to relate lines of the
prompt to answers in less than half of AdamW's steps. torch.optim.Muon works in bfloat16 and takes
twenty times as long on a CPU without bfloat16 arithmetic. This implementation uses float32, stacks
matrices of equal shape, and updates a model with many small parameters in a few calls.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

MOMENTUM, ADAM_EPS = 0.95, 1e-8
#: coefficients and number of iterations of the Newton-Schulz iteration
QUINTIC, ITERATIONS = (3.4445, -4.7750, 2.0315), 5
#: root mean square of an AdamW step divided by its learning rate
ADAM_RMS = 0.2


class Muon(Optimizer):
    """Muon optimizer; a group with ``orthogonal`` holds two-dimensional parameters only.

    Args:
        params: Parameters or groups.
        lr: Learning rate.
        betas: Momentum coefficients of AdamW.
        weight_decay: Decoupled weight decay.
    """

    def __init__(
        self, params: Iterable[Any], lr: float, betas: tuple[float, float] = (0.9, 0.98), weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "orthogonal": False})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step; parameters without a gradient do not change.

        Args:
            closure: Computes the loss again, if given.

        Returns:
            The loss of ``closure``, otherwise None.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            given = [p for p in group["params"] if p.grad is not None]
            if not given:
                continue
            torch._foreach_mul_(given, 1 - group["lr"] * group["weight_decay"])
            if group["orthogonal"]:
                self._orthogonal(given, group["lr"])
            else:
                self._adam(given, group["lr"], *group["betas"])
        return loss

    def _orthogonal(self, parameters: list[Tensor], rate: float) -> None:
        gradients = [_gradient(p) for p in parameters]
        for parameter in parameters:
            assert parameter.ndim == 2, parameter.shape
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        momenta = [self.state[p]["momentum"] for p in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
        alike: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for parameter, ahead in zip(parameters, torch._foreach_lerp(gradients, momenta, MOMENTUM), strict=True):
            wide = parameter.shape[0] <= parameter.shape[1]
            alike[tuple(sorted(parameter.shape))].append((parameter, ahead if wide else ahead.T))
        for (_, longer), members in alike.items():
            steps = orthogonalize_for_muon(torch.stack([ahead for _, ahead in members]).float())
            changed = [parameter for parameter, _ in members]
            own = [s if s.shape == p.shape else s.T for p, s in zip(changed, steps.to(changed[0].dtype), strict=True)]
            torch._foreach_add_(changed, own, alpha=-rate * ADAM_RMS * longer**0.5)

    def _adam(self, parameters: list[Tensor], rate: float, beta1: float, beta2: float) -> None:
        gradients = [_gradient(p) for p in parameters]
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state |= {"count": 0, "mean": torch.zeros_like(parameter), "square": torch.zeros_like(parameter)}
            state["count"] += 1
        states = [self.state[p] for p in parameters]
        means, squares = [s["mean"] for s in states], [s["square"] for s in states]
        torch._foreach_lerp_(means, gradients, 1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - beta2)
        scales = torch._foreach_div(squares, [1 - beta2 ** s["count"] for s in states])
        torch._foreach_sqrt_(scales)
        torch._foreach_add_(scales, ADAM_EPS)
        torch._foreach_addcdiv_(parameters, means, scales, [-rate / (1 - beta1 ** s["count"]) for s in states])


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def orthogonalize_for_muon(matrices_BMN: Tensor) -> Tensor:
    """Bring all singular values of matrices (B, M, N), M <= N, near 1 (0.7 to 1.2)."""
    a, b, c = QUINTIC
    x: Tensor = matrices_BMN / (matrices_BMN.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def muon_parameter_groups(model: nn.Module, weight_decay: float, decayed: Iterable[str]) -> list[dict[str, Any]]:
    """Group the parameters of a model: orthogonalized matrices of layers, other decayed ones, the rest.

    Args:
        model: The model.
        weight_decay: Weight decay of the first two groups.
        decayed: Names of the parameters with decay.
    """
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    decays = set(decayed)
    inner = {name for name, p in named.items() if p.ndim == 2 and (".layers." in name or ".connector." in name)}
    return [
        {"params": [named[n] for n in named if n in inner], "weight_decay": weight_decay, "orthogonal": True},
        {"params": [named[n] for n in named if n not in inner and n in decays], "weight_decay": weight_decay},
        {"params": [named[n] for n in named if n not in inner and n not in decays], "weight_decay": 0.0},
    ]
