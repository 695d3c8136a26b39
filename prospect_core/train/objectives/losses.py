"""The losses of the objectives as sums over supervised items; the trainer divides them by global counts.

A model with a mistake head has a fifth objective, ``mistake``.
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
#: objective of a mistake head, after the others
MISTAKE = "mistake"
_LABELS = {
    "speaking": "speaking_labels",
    "update": "update_labels",
    "state": "state_labels",
    "response": "labels",
    MISTAKE: "mistake_labels",
}


def list_training_objectives(mistake_head: bool) -> tuple[str, ...]:
    """Return the objectives of a model with or without a mistake head, in the order of all loss vectors."""
    return (*OBJECTIVES, MISTAKE) if mistake_head else OBJECTIVES


@dataclass(frozen=True)
class FocalOptions:
    """Parameters of a focal loss.

    Attributes:
        gamma: Focusing power, at least 0; 0 is plain cross-entropy.
        alpha: Weight of the positives, 0 to 1.
    """

    gamma: float = 2.0
    alpha: float = 0.75

    @staticmethod
    def of_rate(rate: float) -> FocalOptions:
        """Choose the parameters from the share of positives among the labels.

        alpha = 1 - rate gives both classes the same total weight. gamma = log10(1 / rate) focuses
        more on rarer positives: 2 at 1 %, the value of Lin et al. for rare foreground; 0.3 at an
        even split.

        Args:
            rate: Share of positives, limited to 0.1 % .. 50 %.
        """
        rate = min(max(rate, 1e-3), 0.5)
        return FocalOptions(gamma=-math.log10(rate), alpha=1 - rate)


def focal_loss(logits: Tensor, labels: Tensor, gamma: float, alpha: float) -> Tensor:
    """Return the sum of the binary focal losses over labels 0 and 1; `IGNORE` is skipped.

    The loss is ``-alpha_t (1 - p_t)^gamma log p_t`` (Lin et al. 2017). p_t is the probability of
    the true label; alpha_t is alpha for positives and 1 - alpha for negatives. The gradient is
    finite for every logit and every gamma >= 0: if p_t rounds to 1, the derivative of (1 -
    p_t)^gamma would otherwise be infinite for gamma < 1.

    Args:
        logits: Logits of any shape.
        labels: Labels of the same shape.
        gamma: Focusing power.
        alpha: Weight of the positives.
    """
    keep = labels != IGNORE
    logits, target = logits[keep], labels[keep].to(logits.dtype)
    log_pt = functional.logsigmoid(torch.where(target > 0, logits, -logits))
    weight = torch.where(target > 0, alpha, 1 - alpha)
    smallest = torch.finfo(log_pt.dtype).tiny
    wrong = (-torch.expm1(log_pt)).clamp_min(smallest)
    return -(weight * wrong.pow(gamma) * log_pt).sum()


def next_token_targets(labels_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Apply the causal shift; no other code does.

    Args:
        labels_BT: Labels of each token.

    Returns:
        (B, T) bool, whether the next token is supervised; (X) the ids of these next tokens.
    """
    next_BT = functional.pad(labels_BT[:, 1:], (0, 1), value=IGNORE)
    speaks_BT = next_BT != IGNORE
    return speaks_BT, next_BT[speaks_BT]


def count_supervised_losses(batch: dict[str, Tensor]) -> Tensor:
    """Return (O,) supervised items of a batch by objective, in the order of `list_training_objectives`."""
    return torch.stack(
        [
            next_token_targets(batch[key])[0].sum() if name == "response" else (batch[key] != IGNORE).sum()
            for name, key in _LABELS.items()
            if key in batch
        ]
    )


def loss_sums(
    output: DSTOutput,
    batch: dict[str, Tensor],
    speaking: FocalOptions,
    update: FocalOptions,
    mistake: FocalOptions | None = None,
) -> Tensor:
    """Return (O,) sums of each objective's loss over a batch, in the order of `list_training_objectives`.

    Args:
        output: Output of the model; ``words_XV`` must be the logits at the places of
            `next_token_targets`.
        batch: The batch.
        speaking: Focal loss of speaking.
        update: Focal loss of updates.
        mistake: Focal loss of mistakes, which the batch must label; None without a mistake head.
    """
    assert output.speaking_BF is not None
    assert output.update_BF is not None
    assert output.state_BFK3 is not None
    assert output.words_XV is not None
    _, target_X = next_token_targets(batch["labels"])
    sums = [
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
    if mistake is not None:
        assert output.mistake_BF is not None
        labels_BF = batch["mistake_labels"]
        sums.append(focal_loss(output.mistake_BF.float(), labels_BF, mistake.gamma, mistake.alpha))
    return torch.stack(sums)
