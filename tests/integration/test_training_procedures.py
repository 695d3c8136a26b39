"""`prospect train` on recordings with steps and mistakes but without dialogue."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from prospect_core.checkpoints.thresholds import NEVER
from prospect_core.data.frame_format import FrameFormat
from prospect_core.features.picture_cache import PictureCache
from prospect_core.model.checkpoint import load_model_checkpoint
from prospect_core.sequence.annotation_coverage import find_annotation_coverage
from prospect_core.sequence.builder import SequenceBuilder
from prospect_core.sequence.labels import IGNORE
from prospect_core.timeline import STEP_STATES, Event
from prospect_core.train.data.collator import DSTDataCollator
from prospect_core.train.data.frame_samplers import Every
from prospect_core.train.data.training_dataset import DSTTrainingDataset, SamplingPlan
from prospect_core.train.data.window_sampler import WindowSampler
from tests.helpers.commands import evaluate, run_cli
from tests.helpers.drawn_procedures import long_procedure, make_procedure, random_procedure, write_procedures
from tests.helpers.files import edit_json
from tests.helpers.training import SMALL, losses_of, rows_of

NO_DIALOGUE = "procedures: no dialogue: speaking and response carry no loss"


@pytest.fixture(scope="module")
def procedures(tmp_path_factory):
    root = tmp_path_factory.mktemp("procedures") / "data"
    return write_procedures(root, {s: [random_procedure(f"{s}{k}") for k in range(2)] for s in ("train", "val")})


def train(data, out, *options):
    return run_cli("train", f"data={data.root}", f"output={out}", "train.max_steps=3", *SMALL, *options)


def test_train_command_without_dialogue_teaches_no_silence(procedures, tmp_path, capsys):
    """Speaking has no loss, so the new model never speaks."""
    assert train(procedures, tmp_path / "run") == 0
    shown = capsys.readouterr()
    assert NO_DIALOGUE in shown.err + shown.out
    rows = rows_of(tmp_path / "run")
    assert all(row["speaking"] is None and row["response"] is None for row in rows)
    assert all(row["update"] > 0 and row["state"] > 0 for row in rows)
    assert "mistake" not in rows[0]
    model, _ = load_model_checkpoint(str(tmp_path / "run"))
    assert model.config.speaking_threshold == NEVER


@pytest.mark.slow
def test_train_command_without_dialogue_chooses_other_thresholds(procedures, tmp_path, capsys):
    """A new model never speaks; a continued one keeps the speaking threshold of its checkpoint."""
    options = ["eval.thresholds=true", "model.mistake_head=true"]
    assert train(procedures, tmp_path / "run", *options) == 0
    shown = capsys.readouterr()
    assert "speaking unchanged (no dialogue in the data)" in shown.err + shown.out
    edit_json(tmp_path / "run" / "config.json", speaking_threshold=0.97, mistake_threshold=0.99)
    assert train(procedures, tmp_path / "more", f"init={tmp_path / 'run'}", *options) == 0
    config = json.loads((tmp_path / "more" / "config.json").read_bytes())
    assert config["speaking_threshold"] == 0.97
    assert config["thresholds_data"].startswith("procedures/val/")
    assert 0 < config["update_threshold"] < 1
    assert 0 < config["mistake_threshold"] < 0.99


def test_train_dry_run_without_dialogue_says_so(procedures, tmp_path, capsys):
    given = ["--dry-run", f"data={procedures.root}", f"output={tmp_path / 'run'}", *SMALL, "model.mistake_head=true"]
    assert run_cli("train", *given) == 0
    shown = capsys.readouterr()
    assert (shown.err + shown.out).count(NO_DIALOGUE) == 1
    assert not (tmp_path / "run").exists()


def test_train_command_without_steps_says_so(tmp_path, capsys):
    talks = [
        replace(
            make_procedure(f"talk{k}", [], 20, steps=0),
            events=(Event("u", 3.0, "user", "Is it warm?"), Event("a", 5.0, "assistant", "Yes, it is warm.")),
        )
        for k in range(2)
    ]
    data = write_procedures(tmp_path / "data", {"train": talks})
    assert train(data, tmp_path / "run", "model.mistake_head=true", "sampling=all") == 0
    shown = capsys.readouterr()
    assert "procedures: no steps: update and state carry no loss" in shown.err + shown.out
    assert "procedures: no annotation of mistakes: mistake carries no loss" in shown.err + shown.out
    rows = rows_of(tmp_path / "run")
    assert all(row["update"] is row["state"] is row["mistake"] is None for row in rows)
    assert all(row["speaking"] > 0 for row in rows)


def test_train_command_mixed_sources_keep_own_labels(procedures, short_world, tmp_path, capsys):
    assert train(short_world, tmp_path / "run", f"data.more=[{procedures.root}]", "model.mistake_head=true") == 0
    shown = capsys.readouterr()
    assert NO_DIALOGUE in shown.err + shown.out
    assert "short: no annotation of mistakes: mistake carries no loss" in shown.err + shown.out
    model, _ = load_model_checkpoint(str(tmp_path / "run"))
    assert model.config.mistake_head
    assert model.config.speaking_threshold == 0.5


def test_training_dataset_masks_by_source(procedures, short_world, tokenizer):
    spoken, done = list(short_world.episodes("train")), list(procedures.episodes("train"))
    coverage = {
        episode.id: find_annotation_coverage(some, mistakes=True) for some in (spoken, done) for episode in some
    }
    blank = lambda episode, start, end: np.zeros((end - start, 32, 32, 3), np.uint8)  # noqa: E731
    plan = SamplingPlan(WindowSampler(8, 20), Every(), windows_per_episode=4)
    data = DSTTrainingDataset([*spoken, *done], SequenceBuilder(tokenizer, 4), blank, plan, coverage=coverage)
    seen = set()
    for index in range(len(data)):
        source = data.window(index)[0].episode.dataset
        sequence, _ = data[index]
        seen.add(source)
        if source == "procedures":
            assert set(sequence.speaking) == set(sequence.lm_labels) == {IGNORE}
            assert IGNORE not in sequence.mistakes
        else:
            assert 0 in sequence.speaking
            assert set(sequence.mistakes) == {IGNORE}
        assert 0 in sequence.update
    assert len(seen) == 2
    assert data.label_rates(("mistake",))["mistake"] > 0
    assert list(data.label_rates()) == ["speaking", "update"]


@pytest.mark.parametrize("loss", ["focal", "gradnorm", "uncertainty"])
def test_train_command_mistake_head_learns(procedures, tmp_path, loss):
    options = ["model.mistake_head=true", "sampling=all", f"loss={loss}", "loss.dynamic=true", "train.save_every=2"]
    assert train(procedures, tmp_path / "run", *options) == 0
    rows = rows_of(tmp_path / "run")
    assert all(row["mistake"] > 0 for row in rows)
    if loss != "focal":
        assert len({row["weights"]["mistake"] for row in rows}) > 1
    model, _ = load_model_checkpoint(str(tmp_path / "run"))
    assert model.mistake_head.weight.abs().sum() > 0
    assert json.loads((tmp_path / "run" / "config.json").read_bytes())["mistake_threshold"] == 0.5


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["lora", "frozen"])
def test_train_command_mistake_head_on_adapted_checkpoint(procedures, tmp_path, backbone, monkeypatch):
    """A checkpoint without the head gets one; it learns although the text model does not."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert train(procedures, tmp_path / "first") == 0
    options = ["model.mistake_head=true", f"model.backbone={backbone}", "sampling=all"]
    assert train(procedures, tmp_path / "second", f"init={tmp_path / 'first'}", *options) == 0
    assert all(row["mistake"] > 0 for row in rows_of(tmp_path / "second"))
    assert load_model_checkpoint(str(tmp_path / "second"))[0].config.mistake_head
    # without the option, a checkpoint keeps its head
    assert train(procedures, tmp_path / "third", f"init={tmp_path / 'second'}") == 0
    assert load_model_checkpoint(str(tmp_path / "third"))[0].config.mistake_head


def test_mistake_loss_reaches_labelled_frames_only(model, tokenizer):
    """The gradient of the fifth loss at the hidden states is zero except at labelled frames."""
    from prospect_core.train.objectives.losses import (
        FocalOptions,
        count_supervised_losses,
        loss_sums,
        next_token_targets,
    )

    model.add_mistake_head()
    builder = SequenceBuilder(tokenizer, 4)
    window = builder.window(random_procedure("x").window(0, 30), supervised={5, 20, 21})
    batch = DSTDataCollator(builder.special.pad, mistakes=True)([(window, np.zeros((30, 32, 32, 3), np.uint8))])
    _, output = losses_of(model, {k: v for k, v in batch.items() if k != "mistake_labels"})
    assert next_token_targets(batch["labels"])[0].sum() == 0
    sums = loss_sums(output, batch, FocalOptions(), FocalOptions(), FocalOptions(2.0, 0.75))
    assert count_supervised_losses(batch).tolist()[4] == 3
    (grad,) = torch.autograd.grad(sums[4], output.hidden_BTD)
    touched = grad[0].abs().sum(-1).nonzero().flatten().tolist()
    assert touched == [window.frame_last[frame] for frame in (5, 20, 21)]
    p = output.mistake_BF[0, [5, 20, 21]].sigmoid()
    target = torch.tensor([window.mistakes[frame] for frame in (5, 20, 21)])
    pt, alpha = torch.where(target > 0, p, 1 - p), torch.where(target > 0, 0.75, 0.25)
    torch.testing.assert_close(sums[4], -(alpha * (1 - pt) ** 2 * pt.log()).sum())


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A recording of 25 minutes with 27 steps, overlaps, repetitions and mistakes, with its video."""
    root = tmp_path_factory.mktemp("recordings") / "data"
    return write_procedures(root, {"train": [long_procedure("long")]})


def test_training_windows_of_long_recording_have_true_targets(recordings, tokenizer):
    """Windows from all over 25 minutes; their targets equal the state rule, computed from the occurrences."""
    (episode,) = recordings.episodes("train")
    pictures = PictureCache(recordings, FrameFormat(32))
    coverage = {episode.id: find_annotation_coverage([episode], mistakes=True)}
    plan = SamplingPlan(WindowSampler(), Every(), windows_per_episode=60)
    data = DSTTrainingDataset([episode], SequenceBuilder(tokenizer, 4), pictures, plan, coverage=coverage)
    starts, reopened, several = [], 0, 0
    for index in range(len(data)):
        window, _ = data.window(index)
        sequence, media = data[index]
        starts.append(window.start)
        assert len(media) == len(sequence.frames) == window.end - window.start
        assert len(sequence.markers) == 27
        reopened += any(change == "reopen" for _, _, change in window.clip.transitions())
        for frame, row in zip(sequence.frames, sequence.states, strict=True):
            expected = [state_by_rule(episode, step, frame) for step in episode.task.step_ids]
            assert [state for state in row if state != IGNORE] == [
                state for state, label in zip(expected, row, strict=True) if label != IGNORE
            ]
            several += expected.count(1) > 1
        expected = [
            int(any(f in episode.span_frames(m.span) for m in episode.mistakes if m.span)) for f in sequence.frames
        ]
        assert sequence.mistakes == expected
    assert min(starts) < 300
    assert max(starts) > 1200
    assert reopened
    assert several


def state_by_rule(episode, step, frame):
    """Return the index of a step's state after the decisions on a frame, from its occurrences alone."""
    mine = [item for item in episode.occurrences if item.step == step]
    # a transition at t seconds is decided on frame ceil(t) at 1 frame per second
    if any(-(-item.start // 1) <= frame < -(-item.end // 1) for item in mine):
        return STEP_STATES.index("in_progress")
    return STEP_STATES.index("completed" if any(item.end <= frame for item in mine) else "not_started")


def test_procedure_video_shows_steps_of_each_frame(recordings):
    """The decoded frames differ exactly where the set of steps in progress, or a mistake, changes."""
    (episode,) = recordings.episodes("train")
    frames = list(recordings.frame_source(episode, FrameFormat(64)).frames(0, 1500))
    assert len(frames) == 1500
    wrong = {frame for m in episode.mistakes if m.span for frame in episode.span_frames(m.span)}
    shown = [
        (tuple(s for s in episode.task.step_ids if state_by_rule(episode, s, f) == 1), f in wrong) for f in range(1500)
    ]
    for frame in range(1, 1500):
        moved = np.abs(frames[frame].astype(int) - frames[frame - 1]).mean()
        assert (moved > 5) == (shown[frame] != shown[frame - 1]), frame


def test_train_command_long_recording(recordings, tmp_path):
    assert train(recordings, tmp_path / "run", "model.mistake_head=true", "sampling.max_frames=32") == 0
    assert load_model_checkpoint(str(tmp_path / "run"))[0].config.trained_frames <= 32


@pytest.mark.slow
def test_trained_model_beats_never_update(tmp_path, monkeypatch):
    """A small model learns from pictures which step is in progress, and tracks the steps of its videos."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    splits = {"train": 24, "val": 4}
    data = write_procedures(
        tmp_path / "data", {split: [random_procedure(f"{split}{k}") for k in range(n)] for split, n in splits.items()}
    )
    out = tmp_path / "run"
    assert run_cli("train", f"data={data.root}", f"output={out}", *LEARNS) == 0
    scores = {}
    for name in (str(out), "baseline:never_update"):
        given = ["--ckpt", name, "--data", data.root, "--split", "train", "--limit", 8]
        folder = tmp_path / f"score{len(scores)}"
        assert evaluate("run", *given, "--output", folder) == 0
        metrics = json.loads((folder / "metrics.json").read_bytes())["metrics"]
        scores[name] = metrics["dst_jga"]["value"]
    mine, never = scores.values()
    assert mine > never + 0.1


LEARNS = [
    "model.mistake_head=true", "train.max_steps=200", "optimiser=muon", "sampling=all", "train.batch_size=6",
    "model.vision.hidden_size=48", "model.vision.intermediate_size=96", "model.vision.layers=1", "model.vision.heads=2",
    "model.text.hidden_size=128", "model.text.heads=2", "model.text.kv_heads=2", "model.text.local_heads=1",
    "model.text.layers=3", "model.text.intermediate_size=256", "model.vocab_size=400", "train.log_every=20",
]  # fmt: skip
