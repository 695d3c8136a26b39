"""The four losses, as sums over what they supervise; the trainer divides by the global counts.

python -c "import torch; from prospect_core.train.losses import focal; print(focal(torch.zeros(2), torch.tensor([1, 0]), 2.0, 0.5))"
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from prospect_core.model.modeling import DSTOutput, DSTSmolVLM
from prospect_core.sequence import IGNORE

OBJECTIVES = ("speaking", "update", "state", "response")
_LABELS = {
    "speaking": "speaking_labels",
    "update": "update_labels",
    "state": "state_labels",
    "response": "labels",
}


@dataclass(frozen=True)
class FocalOptions:
    """Focusing power ``gamma`` >= 0 (0: plain cross-entropy) and weight ``alpha`` in 0..1 of the positives."""

    gamma: float = 2.0
    alpha: float = 0.75


def focal(logits: Tensor, labels: Tensor, gamma: float, alpha: float) -> Tensor:
    """Sum of the binary focal losses over labels 0 and 1 (`IGNORE` is left out).

    ``-alpha_t (1 - p_t)^gamma log p_t`` (Lin et al. 2017), with p_t the probability of the true label and alpha_t
    alpha for positives, 1 - alpha for negatives.
    """
    keep = labels != IGNORE
    logits, target = logits[keep], labels[keep].to(logits.dtype)
    log_pt = functional.logsigmoid(torch.where(target > 0, logits, -logits))
    weight = torch.where(target > 0, alpha, 1 - alpha)
    return -(weight * (1 - log_pt.exp()).pow(gamma) * log_pt).sum()


def supervised_counts(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """How many items each objective supervises in a batch (the first token of a sequence is nobody's next token)."""
    return {
        name: ((batch[key][:, 1:] if name == "response" else batch[key]) != IGNORE).sum()
        for name, key in _LABELS.items()
    }


def loss_sums(
    model: DSTSmolVLM,
    output: DSTOutput,
    batch: dict[str, Tensor],
    speaking: FocalOptions,
    update: FocalOptions,
) -> dict[str, Tensor]:
    """Sum of each objective's loss over the batch. The causal shift of the response is here and nowhere else."""
    assert output.hidden_BTD is not None
    assert output.speaking_BF is not None
    assert output.update_BF is not None
    assert output.state_BFK3 is not None
    next_BT = batch["labels"][:, 1:]
    keep = next_BT != IGNORE
    logits_XV = model.lm_logits(output.hidden_BTD[:, :-1][keep])
    return {
        "speaking": focal(output.speaking_BF.float(), batch["speaking_labels"], speaking.gamma, speaking.alpha),
        "update": focal(output.update_BF.float(), batch["update_labels"], update.gamma, update.alpha),
        "state": functional.cross_entropy(
            output.state_BFK3.float().flatten(0, 2),
            batch["state_labels"].flatten(),
            ignore_index=IGNORE,
            reduction="sum",
        ),
        "response": functional.cross_entropy(logits_XV.float(), next_BT[keep], reduction="sum"),
    }
