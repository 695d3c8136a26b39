"""Losses, collator, sampler, trainer, and `prospect train` itself."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
import torch
from torch.nn import functional

from prospect_core.cli import main
from prospect_core.errors import UserError
from prospect_core.model.checkpoint import load_checkpoint
from prospect_core.model.modeling import DSTOutput
from prospect_core.sequence import IGNORE, Context, SequenceBuilder, TokenSequence
from prospect_core.timeline import Episode, Event, Task
from prospect_core.train.collator import DSTDataCollator
from prospect_core.train.dataset import DSTTrainingDataset
from prospect_core.train.losses import OBJECTIVES, FocalOptions, focal, loss_sums, supervised_counts
from prospect_core.train.run import compose_config
from prospect_core.train.sampling import WindowSampler, said_before

PLAIN = FocalOptions(0.0, 0.5)


def sequence(ids, labels, frames=0):
    return TokenSequence(
        ids, [], labels, list(range(frames)), list(range(frames)), [0] * frames, [0] * frames, [[]] * frames
    )


def test_focal_by_hand():
    logits, labels = torch.tensor([2.0, -1.0, 0.3, 5.0]), torch.tensor([1, 0, 1, IGNORE])
    p = torch.sigmoid(logits[:3]).numpy()
    pt, at = np.array([p[0], 1 - p[1], p[2]]), np.array([0.75, 0.25, 0.75])
    assert float(focal(logits, labels, 2.0, 0.75)) == pytest.approx(
        float(-(at * (1 - pt) ** 2 * np.log(pt)).sum()), rel=1e-6
    )


def test_focal_without_focus_is_half_the_cross_entropy():
    logits, labels = torch.randn(50) * 5, torch.randint(0, 2, (50,))
    expected = functional.binary_cross_entropy_with_logits(logits, labels.float(), reduction="sum") / 2
    torch.testing.assert_close(focal(logits, labels, 0.0, 0.5), expected)


def test_focal_is_finite_for_certain_mistakes():
    logits = torch.tensor([-200.0, 200.0], requires_grad=True)
    focal(logits, torch.tensor([1, 0]), 2.0, 0.75).backward()
    assert torch.isfinite(logits.grad).all()


def test_the_causal_shift_is_applied_once(model):
    """A model whose hidden state at a token spells the next one has a response loss of zero, and only that one."""
    vocab = model.config.text_config.vocab_size
    ids = torch.tensor([[10, 11, 12, 13]])
    spell = torch.eye(vocab) * 50
    model.lm_logits = lambda hidden: hidden
    batch = {"labels": torch.tensor([[IGNORE, IGNORE, 12, 13]]), "speaking_labels": torch.tensor([[0]]),
             "update_labels": torch.tensor([[0]]), "state_labels": torch.zeros(1, 1, 0, dtype=torch.long)}  # fmt: skip
    for shift, right in ((1, True), (0, False), (2, False)):
        says = torch.roll(ids, -shift, 1)
        output = DSTOutput(spell[says], torch.zeros(1, 1), torch.zeros(1, 1), torch.zeros(1, 1, 0, 3))
        assert (float(loss_sums(model, output, batch, PLAIN, PLAIN)["response"]) < 1e-3) is right


def test_eos_gets_gradient_and_padding_gets_none(model, tokenizer, world):
    """With pad taken for eos the origin's attention mask removed every eos from the loss."""
    builder = SequenceBuilder(tokenizer, 4)
    episode = next(world.episodes("train")).window(0, 12)
    short = episode.window(0, 5)
    frames = np.zeros((17, 32, 32, 3), np.uint8)
    collator = DSTDataCollator(builder.special.pad)
    batch = collator([(builder.window(episode), frames[:12]), (builder.window(short), frames[:5])])
    eos = builder.special.eos
    assert (batch["labels"] == eos).sum() == len(episode.utterances()) + len(short.utterances())
    assert batch["attention_mask"].sum(1).tolist() == [len(builder.window(e).ids) for e in (episode, short)]
    output = model(**{k: v for k, v in batch.items() if "labels" not in k})
    sums = loss_sums(model, output, batch, PLAIN, PLAIN)
    hidden = output.hidden_BTD
    grad = torch.autograd.grad(sums["response"], hidden)[0]
    positions = (batch["labels"][:, 1:] != IGNORE).nonzero()
    assert all(grad[b, t].abs().sum() > 0 for b, t in positions.tolist())
    assert grad[batch["attention_mask"] == 0].abs().sum() == 0


def test_a_padded_batch_gives_each_window_its_own_losses(model, tokenizer, world):
    builder = SequenceBuilder(tokenizer, 4)
    episodes = [e.window(a, a + n) for e, a, n in zip(world.episodes("train"), (0, 9, 3), (20, 6, 13), strict=False)]
    frames = [
        np.random.default_rng(k).integers(0, 255, (e.num_frames, 32, 32, 3), dtype=np.uint8)
        for k, e in enumerate(episodes)
    ]
    collator = DSTDataCollator(builder.special.pad)
    items = [(builder.window(e), f) for e, f in zip(episodes, frames, strict=True)]

    def sums(batch):
        output = model(**{k: v for k, v in batch.items() if "labels" not in k})
        return loss_sums(model, output, batch, FocalOptions(), FocalOptions())

    together = sums(collator(items))
    alone = [sums(collator([item])) for item in items]
    for name in OBJECTIVES:
        torch.testing.assert_close(together[name], sum(each[name] for each in alone), atol=1e-3, rtol=1e-4)


def test_counts_leave_out_what_nobody_predicts():
    batch = DSTDataCollator(0)([(sequence([5, 6, 7], [5, IGNORE, 7], 1), np.zeros((1, 8, 8, 3), np.uint8))])
    assert {k: int(v) for k, v in supervised_counts(batch).items()} == {
        "speaking": 1, "update": 1, "state": 0, "response": 1,
    }  # fmt: skip


def test_windows_are_redrawn_each_epoch_and_seeded(world, tokenizer):
    builder = SequenceBuilder(tokenizer, 4)
    sampler = WindowSampler(4, 9)
    dataset = DSTTrainingDataset(world, "train", builder, sampler, 32, seed=3)
    twin = DSTTrainingDataset(world, "train", builder, sampler, 32, seed=3)
    first = [dataset[k][0].ids for k in range(len(dataset))]
    assert first == [twin[k][0].ids for k in range(len(twin))]
    dataset.set_epoch(1)
    assert first != [dataset[k][0].ids for k in range(len(dataset))]
    for k in range(len(dataset)):
        tokens, frames = dataset[k]
        assert 4 <= len(tokens.frames) <= 9
        assert frames.shape == (len(tokens.frames), 32, 32, 3)


def test_the_sampler_keeps_its_shares(world):
    episode = max(world.episodes("train"), key=lambda e: len(e.events))
    rng = random.Random(0)
    sampler = WindowSampler(3, 3, event_share=1.0, blank_share=0.5, recent_share=0.5, missed_share=0.4)
    drawn = [sampler.draw(rng, episode) for _ in range(400)]
    decided = {d.frame for d in episode.decisions() if d.event.kind != "user"}
    assert all(decided & set(range(w.start_frame, w.end_frame)) for w, _, _ in drawn)
    assert 0.35 < np.mean([c.state is None for w, c, _ in drawn if w.start_frame]) < 0.65
    assert 0.3 < np.mean([bool(c.recent) for w, c, _ in drawn if w.start_frame > 20]) < 0.7
    assert 0.3 < np.mean([bool(missed) for w, _, missed in drawn if w.transitions()]) < 0.55
    assert all(missed <= {f for f, _, _ in w.transitions()} for w, _, missed in drawn)


def test_an_update_missed_by_the_stream_is_not_written_but_its_labels_stay(world, tokenizer):
    """Shown every update in its place, a model took the written for the true and never recovered from a miss."""
    builder = SequenceBuilder(tokenizer, 4)
    episode = next(e for e in world.episodes("train") if len(e.transitions()) > 2)
    frame = episode.transitions()[0][0]
    whole, without = builder.window(episode), builder.window(episode, None, frozenset({frame}))
    written = builder.update([(s, c) for f, s, c in episode.transitions() if f == frame])
    assert len(whole.ids) - len(without.ids) == len(written)
    assert (whole.states, whole.update, whole.speaking) == (without.states, without.update, without.speaking)


def test_recent_utterances_are_those_before_the_window():
    events = (
        Event("a", 1.0, "assistant", "one"),
        Event("u", 2.0, "user", "two"),
        Event("b", 4.0, "assistant", "three"),
    )
    episode = Episode("e", "v", 2, 0, 20, Task("x"), events)
    assert said_before(episode, 8, 2) == (("Assistant", "one"), ("User", "two"))
    assert said_before(episode, 9, 1) == (("Assistant", "three"),)
    assert said_before(episode, 9, 0) == ()


def run_cli(*args):
    with pytest.raises(SystemExit) as stop:
        main(list(args))
    return stop.value.code


SMALL = [
    "model.vision.image_size=32", "model.vision.hidden_size=32", "model.vision.layers=1", "model.vision.heads=2",
    "model.text.hidden_size=48", "model.text.intermediate_size=64", "model.text.layers=2", "model.text.heads=4", "model.text.kv_heads=2",
    "model.vocab_size=400", "sampling.min_frames=2", "sampling.max_frames=6", "train.batch_size=3", "train.log_every=1",
]  # fmt: skip


def test_train_writes_a_checkpoint_that_loads_and_its_configuration(world, tmp_path, capsys):
    out = tmp_path / "run"
    assert run_cli("train", f"data={world.root}", f"output={out}", "train.max_steps=12", *SMALL) == 0
    assert f"checkpoint: {out}" in capsys.readouterr().out
    model, tokenizer = load_checkpoint(str(out))
    assert model.config.trained_steps == 12
    assert len(tokenizer) == model.config.text_config.vocab_size
    rows = [json.loads(line) for line in (out / "train_log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert all(row[name] is None or np.isfinite(row[name]) for row in rows for name in OBJECTIVES)
    assert rows[0]["state"] > rows[-1]["state"]
    assert "max_steps: 12" in (out / "train_config.yaml").read_text()
    assert not (out / ".trainer").exists()
    again = tmp_path / "again"
    assert run_cli("train", f"data={world.root}", f"output={again}", f"init={out}", "train.max_steps=2", *SMALL) == 0
    assert load_checkpoint(str(again))[0].config.trained_steps == 14


def test_no_batch_of_an_epoch_is_dropped(world, tmp_path, capsys):
    """An iterator zipped in the wrong order once cost every second batch."""
    run_cli("train", f"data={world.root}", f"output={tmp_path / 'x'}", "train.max_steps=2", *SMALL)
    rows = (tmp_path / "x" / "train_log.jsonl").read_text().splitlines()
    trainer_epochs = [json.loads(row)["epoch"] for row in rows]
    assert trainer_epochs == [0.5, 1.0]


def test_two_trainings_of_one_seed_are_equal(world, tmp_path):
    for name in ("one", "two"):
        run_cli("train", f"data={world.root}", f"output={tmp_path / name}", "train.max_steps=3", *SMALL)
    one, two = ((tmp_path / n / "model.safetensors").read_bytes() for n in ("one", "two"))
    assert one == two


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.learning_rte=1", "learning_rte"),
        ("model=huge", "huge"),
        ("train.minutes=abc", ""),
        ("nonsense", "nonsense"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_2(override, message, capsys, tmp_path):
    code = run_cli("train", override, f"output={tmp_path / 'x'}", "data=/nowhere")
    error = capsys.readouterr().err.strip()
    assert code in (2, 3)
    assert error.startswith("error: ")
    assert "\n" not in error
    assert message in error


def test_training_never_overwrites_a_checkpoint(checkpoint, world, capsys):
    assert run_cli("train", f"data={world.root}", f"output={checkpoint}") == 2
    assert "holds a checkpoint already" in capsys.readouterr().err


def test_cfg_prints_the_resolved_configuration(capsys):
    assert run_cli("train", "--cfg", "train.batch_size=3") == 0
    assert "batch_size: 3" in capsys.readouterr().out


def test_compose_refuses_what_it_does_not_know():
    with pytest.raises(UserError, match="--cfg"):
        compose_config(["loss.speaking.gama=1"])
    assert compose_config(["loss.speaking.gamma=1.5"])["loss"]["speaking"]["gamma"] == 1.5


def test_blank_windows_are_in_the_data(world, tokenizer):
    builder = SequenceBuilder(tokenizer, 4)
    window = next(world.episodes("train")).window(40, 44)
    blank = builder.window(window, Context())
    assert len(blank.ids) < len(builder.window(window).ids)
