"""The four losses, as sums over what they supervise; the trainer divides by the global counts.

python -c "import torch; from prospect_core.train.objectives.losses import focal_loss; print(focal_loss(torch.zeros(2), torch.tensor([1, 0]), 2.0, 0.5))"
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from prospect_core.model.modeling import DSTOutput
from prospect_core.sequence.labels import IGNORE

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

    @staticmethod
    def of_rate(rate: float) -> FocalOptions:
        """From the share of positives among the labels (0..1), kept within 0.1 % and 50 %.

        alpha = 1 - rate gives both classes the same total weight; gamma = log10(1 / rate) focuses the more the rarer
        the positives are (2 at 1 %, the value of Lin et al. for rare foreground; 0.3 at an even split).
        """
        rate = min(max(rate, 1e-3), 0.5)
        return FocalOptions(gamma=-math.log10(rate), alpha=1 - rate)


def focal_loss(logits: Tensor, labels: Tensor, gamma: float, alpha: float) -> Tensor:
    """Sum of the binary focal losses over labels 0 and 1 (`IGNORE` is left out).

    ``-alpha_t (1 - p_t)^gamma log p_t`` (Lin et al. 2017), with p_t the probability of the true label and alpha_t
    alpha for positives, 1 - alpha for negatives. The gradient is finite for every logit and every gamma >= 0: where p_t
    rounds to 1 the derivative of (1 - p_t)^gamma would be infinite for gamma < 1.
    """
    keep = labels != IGNORE
    logits, target = logits[keep], labels[keep].to(logits.dtype)
    log_pt = functional.logsigmoid(torch.where(target > 0, logits, -logits))
    weight = torch.where(target > 0, alpha, 1 - alpha)
    smallest = torch.finfo(log_pt.dtype).tiny
    wrong = (-torch.expm1(log_pt)).clamp_min(smallest)
    return -(weight * wrong.pow(gamma) * log_pt).sum()


def next_token_targets(labels_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Where a supervised token comes next (B, T, bool) and which one (X): the causal shift, here and nowhere else."""
    next_BT = functional.pad(labels_BT[:, 1:], (0, 1), value=IGNORE)
    speaks_BT = next_BT != IGNORE
    return speaks_BT, next_BT[speaks_BT]


def count_supervised_losses(batch: dict[str, Tensor]) -> Tensor:
    """(4,) how many items each objective supervises in a batch, in the order of `OBJECTIVES`."""
    return torch.stack(
        [
            next_token_targets(batch[key])[0].sum() if name == "response" else (batch[key] != IGNORE).sum()
            for name, key in _LABELS.items()
        ]
    )


def loss_sums(output: DSTOutput, batch: dict[str, Tensor], speaking: FocalOptions, update: FocalOptions) -> Tensor:
    """(4,) sum of each objective's loss over the batch, in the order of `OBJECTIVES`.

    ``output.words_XV`` must be the logits at the places that `next_token_targets` of the batch's labels names.
    """
    assert output.speaking_BF is not None
    assert output.update_BF is not None
    assert output.state_BFK3 is not None
    assert output.words_XV is not None
    _, target_X = next_token_targets(batch["labels"])
    return torch.stack(
        [
            focal_loss(output.speaking_BF.float(), batch["speaking_labels"], speaking.gamma, speaking.alpha),
            focal_loss(output.update_BF.float(), batch["update_labels"], update.gamma, update.alpha),
            functional.cross_entropy(
                output.state_BFK3.float().flatten(0, 2),
                batch["state_labels"].flatten(),
                ignore_index=IGNORE,
                reduction="sum",
            ),
            functional.cross_entropy(output.words_XV.float(), target_X, reduction="sum"),
        ]
    )
