"""Muon: momentum whose matrices are made orthogonal, for the layers' weights; AdamW for all other parameters.

    prospect train optimiser=muon

Jordan et al. 2024 (kellerjordan.github.io/posts/muon), with the step scaled to AdamW's (Liu et al. 2025, arXiv 2502.16982),
so that one learning rate serves both. It finds what a line of the prompt has to do with an answer in less than half of
AdamW's steps. torch.optim.Muon does the same in bfloat16, which a CPU without bfloat16 arithmetic takes twenty times as
long for; this one is in float32, equal shapes at once, and a model of many small parameters is stepped by a few calls.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

MOMENTUM, ADAM_EPS = 0.95, 1e-8
#: coefficients of the Newton-Schulz iteration, and how often it is made
QUINTIC, ITERATIONS = (3.4445, -4.7750, 2.0315), 5
#: root mean square of an AdamW step over its learning rate
ADAM_RMS = 0.2


class Muon(Optimizer):
    """Each group is ``orthogonal`` (two-dimensional parameters only) or not."""

    def __init__(
        self, params: Iterable[Any], lr: float, betas: tuple[float, float] = (0.9, 0.98), weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "orthogonal": False})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; parameters without a gradient stay as they are."""
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
    """Matrices (B, M, N), M <= N, with all their singular values brought near 1 (0.7 to 1.2)."""
    a, b, c = QUINTIC
    x: Tensor = matrices_BMN / (matrices_BMN.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def muon_parameter_groups(model: nn.Module, weight_decay: float, decayed: Iterable[str]) -> list[dict[str, Any]]:
    """The weights of the layers, which are made orthogonal; other ``decayed`` parameters; the rest, without decay."""
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    decays = set(decayed)
    inner = {name for name, p in named.items() if p.ndim == 2 and (".layers." in name or ".connector." in name)}
    return [
        {"params": [named[n] for n in named if n in inner], "weight_decay": weight_decay, "orthogonal": True},
        {"params": [named[n] for n in named if n not in inner and n in decays], "weight_decay": weight_decay},
        {"params": [named[n] for n in named if n not in inner and n not in decays], "weight_decay": 0.0},
    ]
