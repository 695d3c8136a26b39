"""Learning rates by part of the model: new parts must change more than published ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from prospect_core.model.modeling import DSTSmolVLM
from prospect_core.train.config.schema import Rates

Part = Literal["heads", "vision", "adapters", "text"]


def learning_rate_part(name: str) -> Part:
    """Return the part that a parameter of `DSTSmolVLM` belongs to."""
    if name.startswith(("speaking_head.", "update_head.", "state_head.", "mistake_head.")):
        return "heads"
    if name.startswith(("model.vision_model.", "model.connector.")):
        return "vision"
    return "adapters" if ".lora_" in name else "text"


def set_learning_rates(optimizer: torch.optim.Optimizer, model: DSTSmolVLM, rates: Rates, rows: Sequence[int]) -> None:
    """Give each part its multiple of the learning rate, before the first step.

    Args:
        optimizer: Optimizer without state. Its groups are divided by part and keep all other
            options.
        model: The whole model, not sharded.
        rates: Factors of the learning rate.
        rows: Ids of new tokens. Each step changes their rows in the embedding table and the LM head
            ``rates.rows`` times as much.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    scales = {"text": 1.0, "heads": rates.heads, "vision": rates.vision, "adapters": rates.adapters}
    groups = []
    for group in optimizer.param_groups:
        for part, scale in scales.items():
            mine = [p for p in group["params"] if learning_rate_part(names[id(p)]) == part]
            if mine:
                groups.append({**group, "params": mine, "lr": scale * group["lr"]})
    optimizer.param_groups[:] = groups
    if rates.rows != 1 and rows:
        _scale_rows(optimizer, model, rates.rows, rows)


def _scale_rows(optimizer: torch.optim.Optimizer, model: DSTSmolVLM, scale: float, rows: Sequence[int]) -> None:
    tables = [model.get_input_embeddings().weight]
    if model.lm_head is not None:
        tables.append(model.lm_head.weight)
    tables = [table for table in tables if table.requires_grad]
    before: list[Tensor] = []

    def remember(*_: Any) -> None:
        before[:] = [table.detach()[list(rows)].clone() for table in tables]

    @torch.no_grad()
    def go_further(*_: Any) -> None:
        for table, old in zip(tables, before, strict=True):
            table[list(rows)] = old + scale * (table[list(rows)] - old)

    optimizer.register_step_pre_hook(remember)
    optimizer.register_step_post_hook(go_further)
