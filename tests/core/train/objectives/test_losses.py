"""The four losses, their counts and their weights."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch.nn import functional

from prospect_core.model.modeling import DSTOutput
from prospect_core.sequence.builder import SequenceBuilder, TokenSequence
from prospect_core.sequence.labels import IGNORE
from prospect_core.train.data.collator import DSTDataCollator
from prospect_core.train.objectives.loss_weighting import (
    KINDS,
    GradNormWeights,
    UncertaintyWeights,
    make_loss_weighting,
)
from prospect_core.train.objectives.losses import (
    OBJECTIVES,
    FocalOptions,
    count_supervised_losses,
    focal_loss,
    loss_sums,
    next_token_targets,
)
from prospect_core.util.errors import UserError
from tests.helpers.training import PLAIN, RESPONSE, losses_of

pytestmark = pytest.mark.integration


@given(
    logit=st.floats(-200, 200, width=32),
    label=st.sampled_from([0, 1]),
    gamma=st.one_of(st.floats(0, 5), st.sampled_from([0.0, 0.5, 0.69, 1.0])),
)
@example(logit=20.0, label=1, gamma=0.69)
@example(logit=-20.0, label=0, gamma=0.5)
def test_focal_loss_gradient_is_finite(logit, label, gamma):
    logits = torch.tensor([logit], requires_grad=True)
    loss = focal_loss(logits, torch.tensor([label]), gamma, 0.75)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def sequence(ids, labels, frames=0):
    return TokenSequence(
        ids, [], labels, list(range(frames)), list(range(frames)), [0] * frames, [0] * frames, [[]] * frames
    )


def test_focal_loss_by_hand():
    logits, labels = torch.tensor([2.0, -1.0, 0.3, 5.0]), torch.tensor([1, 0, 1, IGNORE])
    p = torch.sigmoid(logits[:3]).numpy()
    pt, at = np.array([p[0], 1 - p[1], p[2]]), np.array([0.75, 0.25, 0.75])
    assert float(focal_loss(logits, labels, 2.0, 0.75)) == pytest.approx(
        float(-(at * (1 - pt) ** 2 * np.log(pt)).sum()), rel=1e-6
    )


def test_focal_loss_without_focus_is_half_cross_entropy():
    logits, labels = torch.randn(50) * 5, torch.randint(0, 2, (50,))
    expected = functional.binary_cross_entropy_with_logits(logits, labels.float(), reduction="sum") / 2
    torch.testing.assert_close(focal_loss(logits, labels, 0.0, 0.5), expected)


def test_focal_loss_certain_mistake_is_finite():
    logits = torch.tensor([-200.0, 200.0], requires_grad=True)
    focal_loss(logits, torch.tensor([1, 0]), 2.0, 0.75).backward()
    assert torch.isfinite(logits.grad).all()


def test_response_loss_applies_causal_shift_once():
    """The response loss is zero exactly if the logits at a token predict the next one."""
    ids = torch.tensor([[10, 11, 12, 13]])
    spell = torch.eye(20) * 50
    batch = {"labels": torch.tensor([[IGNORE, IGNORE, 12, 13]]), "speaking_labels": torch.tensor([[0]]),
             "update_labels": torch.tensor([[0]]), "state_labels": torch.zeros(1, 1, 0, dtype=torch.long)}  # fmt: skip
    speaks, target = next_token_targets(batch["labels"])
    assert speaks.tolist() == [[False, True, True, False]]
    assert target.tolist() == [12, 13]
    for shift, right in ((1, True), (0, False), (2, False)):
        words = spell[torch.roll(ids, -shift, 1)][speaks]
        output = DSTOutput(None, torch.zeros(1, 1), torch.zeros(1, 1), torch.zeros(1, 1, 0, 3), words)
        assert (float(loss_sums(output, batch, PLAIN, PLAIN)[RESPONSE]) < 1e-3) is right


def test_response_loss_covers_eos_not_padding(model, tokenizer, short_world):
    """In the origin pad equaled eos, so that its attention mask removed every eos from the loss."""
    builder = SequenceBuilder(tokenizer, 4)
    episode = next(short_world.episodes("train")).window(0, 12)
    short = episode.window(0, 5)
    frames = np.zeros((17, 32, 32, 3), np.uint8)
    collator = DSTDataCollator(builder.special.pad)
    batch = collator([(builder.window(episode), frames[:12]), (builder.window(short), frames[:5])])
    eos = builder.special.eos
    assert (batch["labels"] == eos).sum() == len(episode.utterances()) + len(short.utterances())
    assert batch["attention_mask"].sum(1).tolist() == [len(builder.window(e).ids) for e in (episode, short)]
    sums, output = losses_of(model, batch)
    grad = torch.autograd.grad(sums[RESPONSE], output.hidden_BTD)[0]
    positions = (batch["labels"][:, 1:] != IGNORE).nonzero()
    assert all(grad[b, t].abs().sum() > 0 for b, t in positions.tolist())
    assert grad[batch["attention_mask"] == 0].abs().sum() == 0


def test_losses_padded_batch_equals_single_windows(model, tokenizer, short_world):
    builder = SequenceBuilder(tokenizer, 4)
    episodes = [
        e.window(a, a + n) for e, a, n in zip(short_world.episodes("train"), (0, 9, 3), (20, 6, 13), strict=False)
    ]
    frames = [
        np.random.default_rng(k).integers(0, 255, (e.num_frames, 32, 32, 3), dtype=np.uint8)
        for k, e in enumerate(episodes)
    ]
    collator = DSTDataCollator(builder.special.pad)
    items = [(builder.window(e), f) for e, f in zip(episodes, frames, strict=True)]
    together = losses_of(model, collator(items), FocalOptions(), FocalOptions())[0]
    alone = [losses_of(model, collator([item]), FocalOptions(), FocalOptions())[0] for item in items]
    torch.testing.assert_close(together, sum(alone), atol=1e-3, rtol=1e-4)


def test_count_supervised_losses_ignores_masked():
    batch = DSTDataCollator(0)([(sequence([5, 6, 7], [5, IGNORE, 7], 1), np.zeros((1, 8, 8, 3), np.uint8))])
    assert dict(zip(OBJECTIVES, count_supervised_losses(batch).tolist(), strict=True)) == {
        "speaking": 1, "update": 1, "state": 0, "response": 1,
    }  # fmt: skip


def test_focal_options_depend_on_label_rate():
    """Both classes have the same total weight, and rarer positives get a larger focus."""
    for rate in (0.01, 0.05, 0.3):
        options = FocalOptions.of_rate(rate)
        assert options.alpha * rate == pytest.approx((1 - options.alpha) * (1 - rate))
        assert options.gamma == pytest.approx(-np.log10(rate))
    assert FocalOptions.of_rate(0.0) == FocalOptions.of_rate(1e-3)
    assert FocalOptions.of_rate(1.0).alpha == 0.5


def test_uncertainty_weights_rest_at_one_half():
    """d/ds (exp(-s) L + s/2) = 0 at exp(-s) = 1 / (2 L)."""
    weighting = make_loss_weighting("uncertainty", {"speaking": 10.0, "update": 1.0, "state": 1.0})
    np.testing.assert_allclose(weighting.weights(), [10, 1, 1, 0])
    losses = np.array([0.05, 0.2, 2.0, 3.0])
    for _ in range(4000):
        weighting.observe(losses, np.ones(4))
    np.testing.assert_allclose(weighting.weights()[:3], 1 / (2 * losses[:3]), rtol=0.02)
    assert weighting.weights()[3] == 0


def test_gradnorm_balances_norms_and_keeps_sum():
    weighting = GradNormWeights(np.array([1.0, 1.0, 1.0, 1.0]), alpha=0.0)
    norms = np.array([4.0, 1.0, 0.5, 2.0])
    for _ in range(600):
        weighting.observe(np.ones(4), norms)
    weighted = weighting.weights() * norms
    np.testing.assert_allclose(weighted, weighted.mean(), rtol=1e-3)
    assert weighting.weights().sum() == pytest.approx(4)


def test_gradnorm_slow_loss_weighs_more():
    weighting = GradNormWeights(np.ones(4), alpha=1.0)
    weighting.observe(np.ones(4), np.ones(4))
    for _ in range(200):
        weighting.observe(np.array([1.0, 0.5, 0.5, 0.5]), np.ones(4))
    assert weighting.weights()[0] == max(weighting.weights()) > 1


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_loss_weighting_unlabeled_loss_changes_nothing(kind):
    weighting = make_loss_weighting(kind, dict.fromkeys(OBJECTIVES, 1.0))
    weighting.observe(np.array([1.0, 2.0, 3.0, 4.0]), np.ones(4))
    before = weighting.weights().copy()
    weighting.observe(np.full(4, np.nan), np.zeros(4))
    np.testing.assert_array_equal(weighting.weights(), before)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_loss_weighting_state_round_trips(kind):
    rng = np.random.default_rng(0)
    seen = [(rng.uniform(0.1, 2, 4), rng.uniform(0.1, 2, 4)) for _ in range(20)]
    one, two = (make_loss_weighting(kind, {"speaking": 10.0, "state": 1.0, "response": 1.0}) for _ in range(2))
    for losses, norms in seen[:10]:
        one.observe(losses, norms)
    two.load(json.loads(json.dumps(one.state())))
    for losses, norms in seen[10:]:
        one.observe(losses, norms)
        two.observe(losses, norms)
    np.testing.assert_array_equal(one.weights(), two.weights())


def test_uncertainty_weights_stay_within_bounds():
    weighting = UncertaintyWeights(np.ones(4), rate=1.0)
    for _ in range(200):
        weighting.observe(np.full(4, 1e-12), np.ones(4))
    assert weighting.weights().max() <= 1001


def test_loss_weighting_unknown_raises():
    with pytest.raises(UserError, match="did you mean 'gradnorm'"):
        make_loss_weighting("gradnrm", {})
