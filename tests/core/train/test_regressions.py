"""Regression tests for failures of the origin, one test each.

Further ones are next to the code that they test: eos without loss and the causal shift in
test_losses, shared embeddings in test_modeling, pictures of other frames in test_training_dataset,
checkpoints that did not load in test_model_factory and test_modeling, resume in test_training.
"""

from __future__ import annotations

import json
import random
import re

import numpy as np
import pytest
import torch

from prospect_core.data.formats.proassist import read_proassist_episodes
from prospect_core.sequence.builder import SequenceBuilder
from prospect_core.sequence.labels import IGNORE
from prospect_core.sequence.layout import Context
from prospect_core.timeline import frame_ceil, frame_floor
from prospect_core.train.config.compose import composable_config_keys, compose_config, report_idle_compose_options
from prospect_core.train.data.collator import DSTDataCollator
from prospect_core.train.data.sampling_plan import make_sampling_plan, sampling_plan_frame_sampler
from prospect_core.train.data.window_sampler import TrainingWindow, WindowSampler
from prospect_core.train.objectives.losses import focal_loss
from prospect_core.train.setup.trainer_arguments import make_trainer_arguments
from tests.helpers.commands import run_cli
from tests.helpers.paths import ROOT
from tests.helpers.training import SMALL, pictures

pytestmark = pytest.mark.integration


@pytest.fixture
def builder(tokenizer):
    return SequenceBuilder(tokenizer, 4)


def test_labels_are_on_own_event_frame(short_world, builder):
    """In the origin each label was at the previous event's time: a step that started at 97 s was
    labeled on frame 0.
    """
    for episode in short_world.episodes("train"):
        sequence = builder.window(episode)
        spoken = {f for f, label in zip(sequence.frames, sequence.speaking, strict=True) if label == 1}
        updated = {f for f, label in zip(sequence.frames, sequence.update, strict=True) if label == 1}
        for event in episode.events:
            if event.kind == "assistant":
                at = frame_floor(event.time, episode.fps)
                assert {at, at + 1} & spoken
            elif event.kind == "transition":
                assert min(frame_ceil(event.time, episode.fps), episode.end_frame - 1) in updated


def test_labels_of_real_clip_are_on_own_frames(shared_data, builder):
    """In the origin's published sample S1->start at 97.2 s belongs to frame 195 of the video, not
    to its first.
    """
    path = shared_data / "origin" / "prospect_dst_clip.json"
    (episode,) = read_proassist_episodes(path)
    sequence = builder.window(episode)
    row = json.loads(path.read_text())
    turns = [turn for turn in row["conversation"] if turn["role"] == "DST_UPDATE"]
    assert turns
    updated = {f for f, label in zip(sequence.frames, sequence.update, strict=True) if label == 1}
    assert {frame for frame, _, _ in episode.transitions()} == updated
    for turn in turns:
        assert min(abs(frame / episode.fps - turn["time"]) for frame in updated) <= 1.0


def test_sequence_has_assistant_update_and_user_text(short_world, builder):
    """The origin was trained on frames only, and user turns never entered."""
    for episode in short_world.episodes("train"):
        text = builder.tokenizer.decode(builder.window(episode).ids)
        for event in episode.events:
            assert (event.text or f"{event.step}->{event.change}") in text


def test_window_prompt_has_state_at_start(short_world, builder):
    """In the origin the prompt of a clip had the state at its end, which leaked the answers."""
    episode = max(short_world.episodes("train"), key=lambda e: len(e.transitions()))
    for start in range(episode.start_frame + 1, episode.end_frame - 20, 7):
        window = WindowSampler(20, 20, 0.0, 0.0, 0.0, 0.0, progress_share=0)
        drawn = window.draw(random.Random(start), episode, builder, 4000)
        assert drawn.context.state == episode.state_at(drawn.start - 1)


def test_decision_token_has_no_own_label(short_world, builder):
    """In the origin [ASST] was labeled at its own position, without shift. Here the head decides,
    and the LM has no label.
    """
    sequence = builder.window(next(short_world.episodes("train")))
    special = builder.special
    learnt = [i for i, label in zip(sequence.ids, sequence.lm_labels, strict=True) if label != IGNORE]
    assert special.eos in learnt
    assert not {special.asst, special.dst, special.user, special.image, special.pad} & set(learnt)


def test_speaking_and_update_probabilities_are_independent(model, builder, short_world):
    """In the origin both were outputs of one softmax, so neither exceeded one half on frames with
    both.
    """
    episode = next(e for e in short_world.episodes("train") if any(u.frame in {f for f, _, _ in e.transitions()} for u in e.utterances()))  # fmt: skip
    sequence = builder.window(episode)
    assert any(s == u == 1 for s, u in zip(sequence.speaking, sequence.update, strict=True))
    with torch.no_grad():
        for head in (model.speaking_head, model.update_head):
            head.weight.zero_()
            head.bias.fill_(5.0)
        speaking, update, _ = model.decide(torch.randn(1, 3, 48), torch.randn(1, 2, 48))
    assert float(speaking.sigmoid().min()) > 0.9
    assert float(update.sigmoid().min()) > 0.9


def test_focal_loss_takes_logits():
    """In the origin probabilities were the input of a loss on logits, so that it could not fall
    below half of log 2.
    """
    sure = torch.tensor([8.0, -8.0])
    assert float(focal_loss(sure, torch.tensor([1, 0]), 0.0, 0.5)) < 1e-3
    assert float(focal_loss(sure.sigmoid(), torch.tensor([1, 0]), 0.0, 0.5)) > 0.3


def test_sampling_ignores_global_generators(short_world, builder):
    """In the origin negatives were drawn from an unseeded global generator."""
    from prospect_core.train.data.training_dataset import DSTTrainingDataset

    config, _ = compose_config(["sampling=balanced"])
    data = DSTTrainingDataset(list(short_world.episodes("train")), builder, pictures, make_sampling_plan(config, 2048))
    random.seed(1)
    np.random.seed(1)
    before = random.getstate(), np.random.get_state()[1].tolist()
    first = data[0][0]
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before
    random.seed(2)
    assert data[0][0] == first


def test_long_windows_are_truncated_by_frames(short_world, builder):
    """In the origin a collator cut the sequence at the limit, through an answer or an image's
    tokens.
    """
    from prospect_core.train.data.training_dataset import DSTTrainingDataset, SamplingPlan

    draws = SamplingPlan(WindowSampler(90, 90), max_tokens=480)
    data = DSTTrainingDataset(list(short_world.episodes("train")), builder, pictures, draws)
    for k in range(len(data)):
        sequence, media = data[k]
        assert len(sequence.ids) <= 480
        assert sequence.ids.count(builder.special.image) == 4 * len(media) == 4 * len(sequence.frames)
        starts = sum(
            sequence.ids.count(mark) for mark in (builder.special.asst, builder.special.dst, builder.special.sum)
        )
        assert sequence.ids.count(builder.special.eos) == starts


def test_config_every_key_is_read():
    """In the origin sub-modules read options one level too deep and silently used defaults."""
    code = "\n".join(
        file.read_text() for file in (ROOT / "prospect_core").rglob("*.py") if file.name != "config.py"
    )  # fmt: skip
    unread = [key for key in composable_config_keys() if not re.search(rf"\b{key.split('.')[-1]}\b", code)]
    assert unread == []


@pytest.mark.parametrize(
    ("override", "name", "value"),
    [
        ("train.learning_rate=0.5", "learning_rate", 0.5), ("train.weight_decay=0.3", "weight_decay", 0.3),
        ("train.beta1=0.5", "adam_beta1", 0.5), ("train.beta2=0.5", "adam_beta2", 0.5),
        ("train.grad_clip=7", "max_grad_norm", 7.0), ("train.batch_size=3", "per_device_train_batch_size", 3),
        ("train.accumulation=4", "gradient_accumulation_steps", 4), ("train.max_steps=9", "max_steps", 9),
        ("train.seed=5", "seed", 5), ("train.log_every=6", "logging_steps", 6), ("train.save_every=8", "save_steps", 8),
        ("eval.every=7", "eval_steps", 7), ("eval.every=7", "save_steps", 7), ("data.workers=2", "dataloader_num_workers", 2),
        ("train.optimiser=adafactor", "optim", "adafactor"), ("train.precision=bfloat16", "bf16", True),
    ],
)  # fmt: skip
def test_trainer_arguments_use_loop_options(override, name, value, tmp_path):
    arguments = make_trainer_arguments(compose_config([override])[0], tmp_path, tmp_path)
    assert getattr(arguments, name) == value


def test_sampling_plan_uses_options(builder):
    config, _ = compose_config(["sampling.frames.silent.rate=0.25", "sampling.frames.transitions.before_s=3",
                                "sampling.frames.regular=null", "sampling.blank_share=0.2", "sampling.max_tokens=500",
                                "data.dialogues_per_video=2", "data.windows_per_episode=3", "sampling=curriculum"])  # fmt: skip
    draws = make_sampling_plan(config, 2048)
    parts = {type(part).__name__: part for part in draws.frames.parts}
    assert set(parts) == {"Transitions", "Speaking", "KeyFrames", "Silent"}
    assert (parts["Silent"].rate, parts["Transitions"].before_s) == (0.25, 3)
    assert (draws.windows.blank_share, draws.max_tokens) == (0.2, 500)
    assert (draws.dialogues_per_video, draws.windows_per_episode, draws.curriculum.start) == (2, 3, 0.3)
    balanced, _ = compose_config(["sampling=balanced"])
    assert sampling_plan_frame_sampler(balanced.sampling.frames).ratio == 3.0


@pytest.mark.parametrize(
    ("overrides", "warned"),
    [
        (["train.minutes=1", "train.max_steps=9"], "train.max_steps"),
        (["data.features=true"], "data.features"),
        (["model.lora.rank=4"], "model.lora.rank"),
        (["model.backbone=frozen", "loss.response.weight=2"], "loss.response.weight"),
        (["init=x", "model.text.layers=3"], "model.text.layers"),
        (["loss=dynamic", "loss.update.alpha=0.1"], "loss.update.alpha"),
        (["sampling.frames.every=true", "sampling.frames.silent.rate=0.3"], "sampling.frames.silent.rate"),
        (["eval.metric=dst_jga"], "eval.metric"),
        (["model.tower=x", "model.vision.layers=7"], "model.vision.layers"),
        (["sampling.patch_captions=true", "sampling.context_noise.missed=1"], "sampling.context_noise.missed"),
        (["model.ablated_inputs=[past]", "sampling.max_frames=200"], "sampling.max_frames"),
        (["model.vision_tower=frozen", "data.features=true"], None),
        (["model.backbone=lora", "model.lora.rank=4"], None),
    ],
)  # fmt: skip
def test_config_option_without_effect_warns(overrides, warned):
    lines = report_idle_compose_options(compose_config(overrides)[0], overrides)
    assert [line.split(" has no effect: ")[0] for line in lines] == ([] if warned is None else [warned])


def test_gradnorm_frozen_backbone_balances_heads(short_world, tmp_path):
    """Norms are computed at the shared hidden states; frozen ones had no gradient, which stopped
    the first step.
    """
    out = tmp_path / "run"
    options = [f"data={short_world.root}", f"output={out}", "train.max_steps=3", *SMALL]
    assert run_cli("train", *options, "loss=gradnorm", "model.backbone=frozen") == 0
    rows = [json.loads(line) for line in (out / "train_log.jsonl").read_text().splitlines()]
    first, last = rows[0]["weights"], [row for row in rows if "weights" in row][-1]["weights"]
    assert sum(last.values()) == pytest.approx(sum(first.values()))
    assert last != first


def test_train_command_prints_warning(short_world, tmp_path, capsys):
    run_cli(
        "train",
        f"data={short_world.root}",
        f"output={tmp_path / 'x'}",
        "train.max_steps=1",
        "eval.metric=dst_jga",
        *SMALL,
    )
    assert "warning: eval.metric has no effect: eval.every is null" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.fsdp=full_shard", "Using fsdp only works in distributed training"),
        ("train.optimiser=adamx", "adamx is not a valid OptimizerNames"),
    ],
)
def test_train_command_library_error_is_one_line(override, message, short_world, tmp_path, capsys):
    code = run_cli(
        "train", f"data={short_world.root}", f"output={tmp_path / 'x'}", "train.max_steps=1", *SMALL, override
    )
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert code == 2
    assert len(error) == 1
    assert message in error[0]
    assert not (tmp_path / "x" / "config.json").exists()


def test_collator_mask_uses_lengths_not_pad(short_world, builder):
    """In the origin the mask was `ids != pad` with pad = eos, which removed every eos from
    attention and loss.
    """
    episode = next(short_world.episodes("train"))
    items = [(builder.window(e), pictures(e, 0, e.num_frames)) for e in (episode.window(0, 12), episode.window(0, 5))]
    batch = DSTDataCollator(builder.special.pad)(items)
    eos = batch["input_ids"] == builder.special.eos
    assert builder.special.pad != builder.special.eos
    assert int(eos.sum()) == sum(item.ids.count(builder.special.eos) for item, _ in items) > 0
    assert bool(batch["attention_mask"][eos].all())
    assert batch["attention_mask"].sum(1).tolist() == [len(item.ids) for item, _ in items]


def test_blank_context_has_no_unknowable_labels(short_world, builder):
    """In the origin a split dialogue restarted from an empty state, while the labels had the
    reference state.
    """
    episode = max(short_world.episodes("train"), key=lambda e: len(e.transitions()))
    window = TrainingWindow(episode, episode.end_frame - 10, episode.end_frame, Context())
    sequence = window.tokens(builder)
    changed = {step for _, step, _ in window.clip.transitions()}
    for row in sequence.states[:1]:
        for step, label in zip(episode.task.step_ids, row, strict=True):
            assert label == IGNORE or step in changed
