"""`prospect train`: from a command line to a checkpoint, with and without interruption."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from prospect_core.model.checkpoint import load_model_checkpoint
from prospect_core.sequence.builder import SequenceBuilder
from prospect_core.sequence.layout import Context
from prospect_core.train.config.compose import GROUPS, composable_group_options, compose_config
from prospect_core.train.objectives.losses import OBJECTIVES
from prospect_core.util.errors import UserError
from tests.helpers.commands import run_cli
from tests.helpers.files import edit_json
from tests.helpers.tiers import slow
from tests.helpers.training import SMALL, rows_of


def test_train_command_writes_checkpoint_and_configuration(short_world, tmp_path, capsys):
    out = tmp_path / "run"
    assert run_cli("train", f"data={short_world.root}", f"output={out}", "train.max_steps=12", *SMALL) == 0
    assert f"checkpoint: {out}" in capsys.readouterr().out
    model, tokenizer = load_model_checkpoint(str(out))
    assert model.config.trained_steps == 12
    assert 0 < model.config.trained_frames <= 12 < model.config.trained_tokens <= model.config.max_context
    assert len(tokenizer) == model.config.text_config.vocab_size
    rows = [json.loads(line) for line in (out / "train_log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert all(row[name] is None or np.isfinite(row[name]) for row in rows for name in OBJECTIVES)
    # windows differ between steps, so the means of several steps are compared
    for name in ("state", "response"):
        first, last = (np.mean([row[name] for row in part if row[name]]) for part in (rows[:4], rows[-4:]))
        assert first > last, name
    assert "max_steps: 12" in (out / "train_config.yaml").read_text()
    assert not (out / ".trainer").exists()
    again = tmp_path / "again"
    assert (
        run_cli("train", f"data={short_world.root}", f"output={again}", f"init={out}", "train.max_steps=2", *SMALL) == 0
    )
    assert load_model_checkpoint(str(again))[0].config.trained_steps == 14


def test_train_command_uses_every_batch(short_world, tmp_path, capsys):
    """An iterator that was zipped in the wrong order lost every second batch."""
    run_cli("train", f"data={short_world.root}", f"output={tmp_path / 'x'}", "train.max_steps=2", *SMALL)
    rows = (tmp_path / "x" / "train_log.jsonl").read_text().splitlines()
    trainer_epochs = [json.loads(row)["epoch"] for row in rows]
    assert trainer_epochs == [0.5, 1.0]


def test_train_command_same_seed_is_equal(short_world, tmp_path):
    for name in ("one", "two"):
        run_cli("train", f"data={short_world.root}", f"output={tmp_path / name}", "train.max_steps=3", *SMALL)
    one, two = ((tmp_path / n / "model.safetensors").read_bytes() for n in ("one", "two"))
    assert one == two


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.learning_rte=1", "'train.learning_rte' is not a key of `prospect train`; did you mean 'train.learning_rate'?"),
        ("loss.speaking.gama=1", "did you mean 'loss.speaking.gamma'?"),
        ("model=smolvlm2_500", "use one of smolvlm2_2.2b, smolvlm2_256m, smolvlm2_500m, tiny; did you mean"),
        ("smapling=all", "did you mean 'sampling'?"),
        ("train.minutes=abc", "train.minutes=abc: input should be a valid number"),
        ("train.minutes=-1", "train.minutes=-1: input should be greater than 0"),
        ("sampling.blank_share=1.5", "less than or equal to 1"),
        ("sampling.min_frames=2.5", "sampling.min_frames=2.5: input should be a valid integer"),
        ("sampling.min_frames=99", "sampling.min_frames=99 is above sampling.max_frames=32"),
        ("eval.patience=2", "needs evaluations; give eval.every=STEPS too"),
        ("model.backbone=qlora", "'full', 'lora' or 'frozen'"),
        ("loss.weighting=best", "'fixed', 'uncertainty' or 'gradnorm'"),
        ("nonsense", "'nonsense' is not KEY=VALUE"),
        ("a=b=c=[", ""),
    ],
)  # fmt: skip
def test_train_command_wrong_option_is_one_line(override, message, capsys, tmp_path):
    code = run_cli("train", override, f"output={tmp_path / 'x'}", "data=/nowhere")
    error = capsys.readouterr().err.strip()
    assert code == 2
    assert error.startswith("error: ")
    assert "\n" not in error
    assert message in error


def test_train_command_missing_data_exits_3(tmp_path, capsys):
    assert run_cli("train", "data=/nowhere", f"output={tmp_path / 'x'}") == 3
    assert "not a dataset" in capsys.readouterr().err


def test_train_command_existing_checkpoint_is_kept(checkpoint, short_world, capsys):
    assert run_cli("train", f"data={short_world.root}", f"output={checkpoint}") == 2
    assert "already holds a checkpoint" in capsys.readouterr().err


def test_train_command_cfg_prints_configuration(capsys):
    assert run_cli("train", "--cfg", "train.batch_size=3") == 0
    assert "batch_size: 3" in capsys.readouterr().out


def test_compose_config_any_data_path(tmp_path):
    for path in ("/data/my set", "/data/a=b", "rel/ü", '/data/quo"te', "/data/a,b"):
        assert compose_config([f"data={path}"])[0].data.path == path
    assert compose_config(["data=workbench"])[0].data.path == "workbench"


def test_compose_config_groups_and_keys():
    config, text = compose_config(["model=smolvlm2_500m", "loss=uncertainty", "sampling=balanced", "run=gpu",
                                   "optimiser=adafactor", "loss.speaking.gamma=1.5", "train.learning_rate=1e-4"])  # fmt: skip
    assert config.model.weights == "HuggingFaceTB/SmolVLM2-500M-Video-Instruct"
    assert (config.loss.weighting, config.loss.speaking.gamma, config.loss.update.gamma) == ("uncertainty", 1.5, 1.0)
    assert (config.sampling.frames.balance, config.sampling.frames.silent.rate) == (3.0, 0.1)
    assert (config.train.precision, config.train.optimiser, config.train.learning_rate) == (
        "bfloat16",
        "adafactor",
        1e-4,
    )
    assert "learning_rate: 0.0001" in text
    with pytest.raises(UserError, match=r"did you mean 'loss\.speaking\.gamma'"):
        compose_config(["loss.speaking.gama=1"])


@pytest.mark.parametrize("group", GROUPS)
def test_compose_config_every_preset(group):
    for name in composable_group_options(group):
        compose_config([f"{group}={name}"])


@pytest.mark.slow
def test_train_command_multirun_trains_every_combination(short_world, tmp_path, capfd):
    base = tmp_path / "sweep"
    command = [
        "train",
        "-m",
        f"data={short_world.root}",
        f"output={base}",
        "train.max_steps=1",
        "loss.speaking.gamma=0,2",
        *SMALL,
    ]
    assert run_cli(*command) == 0
    for number, gamma in ((0, "gamma: 0"), (1, "gamma: 2")):
        assert gamma in (base / str(number) / "train_config.yaml").read_text()
        load_model_checkpoint(str(base / str(number)))
    assert "loss.speaking.gamma=2" in capfd.readouterr().out
    assert run_cli(*command) == 0
    assert "trained before" in capfd.readouterr().out


def test_train_command_multirun_is_checked_first(tmp_path, capsys):
    assert run_cli("train", "-m", f"output={tmp_path / 's'}", *SMALL, "train.batch_size=2,0") == 2
    assert "train.batch_size=0" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


def losses_by_step(folder):
    return {row["step"]: [row[name] for name in OBJECTIVES] for row in rows_of(folder)}


@pytest.mark.slow
def test_train_command_killed_and_resumed_equals_uninterrupted(short_world, tmp_path):
    """After SIGKILL the same command resumes from the last complete checkpoint, bit for bit."""
    options = [f"data={short_world.root}", "train.max_steps=30", "train.save_every=5", "sampling=curriculum",
               "loss=gradnorm", *SMALL]  # fmt: skip
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run_cli("train", f"output={whole}", *options) == 0
    command = [sys.executable, "-m", "prospect_core.cli", "train", f"output={killed}", *options]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    log = killed / "train_log.jsonl"
    limit = time.monotonic() + 120
    while not (log.exists() and log.read_text().count("\n") >= 12):
        assert process.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "config.json").exists()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "continuing from step 10" in done.stderr or "continuing from step 15" in done.stderr
    assert losses_by_step(killed) == losses_by_step(whole)
    assert [row["step"] for row in rows_of(killed)] == list(range(1, 31))
    assert (killed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert not (killed / ".trainer").exists()


def test_train_command_resume_other_options_is_refused(short_world, tmp_path, capsys, monkeypatch):
    import prospect_core.train.run as module

    out = tmp_path / "run"
    options = [f"data={short_world.root}", f"output={out}", "train.max_steps=4", "train.save_every=2", *SMALL]
    monkeypatch.setattr(module, "publish_to_output_dir", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
    assert run_cli("train", *options) == 130
    assert "run the same command again to continue" in capsys.readouterr().err
    assert run_cli("train", *options, "loss.state.weight=7") == 2
    assert (
        "holds an unfinished training with other options (loss.state.weight: 1.0 before, 7.0 now)"
        in capsys.readouterr().err
    )
    monkeypatch.undo()
    assert run_cli("train", *options) == 0
    assert "continuing from step 4" in capsys.readouterr().err


@pytest.mark.slow
def test_train_command_early_stopping_takes_best(short_world, tmp_path, capsys, monkeypatch):
    """The metric comes from a closed-loop replay by the evaluation's own code, found by entry
    point.
    """
    import prospect_eval.analysis.training_evaluator as evaluator

    seen, scores = [], iter([0.2, 0.6, 0.5, 0.4, 0.9])

    def metric_values(records, names):
        seen.append((len(records), [record.knobs for record in records], names))
        return {names[0]: next(scores)}

    monkeypatch.setattr(evaluator, "metric_values", metric_values)
    out = tmp_path / "run"
    options = [f"data={short_world.root}", f"output={out}", "train.max_steps=50", *SMALL, "eval.every=2", "eval.patience=2",
               "eval.episodes=2", "eval.metric=dst_jga"]  # fmt: skip
    assert run_cli("train", *options) == 0
    rows = rows_of(out)
    assert [row["eval"]["dst_jga"] for row in rows if "eval" in row] == [0.2, 0.6, 0.5, 0.4]
    assert max(row["step"] for row in rows) == 8
    assert load_model_checkpoint(str(out))[0].config.trained_steps == 4
    assert all(count == 2 and names == ("dst_jga",) for count, _, names in seen)
    assert all(knobs.strategy == "none" for _, each, _ in seen for knobs in each)


def test_train_command_computes_streaming_metric(short_world, tmp_path):
    out = tmp_path / "run"
    assert run_cli("train", f"data={short_world.root}", f"output={out}", "train.max_steps=2", *SMALL, "eval.every=2",
                   "eval.episodes=1", "eval.metric=dst_head_jga") == 0  # fmt: skip
    (row,) = [row for row in rows_of(out) if "eval" in row]
    assert 0 <= row["eval"]["dst_head_jga"] <= 1


def test_train_command_unknown_metric_is_refused(short_world, tmp_path, capsys):
    options = [f"data={short_world.root}", f"output={tmp_path / 'x'}", "train.max_steps=2", *SMALL, "eval.every=1"]
    assert run_cli("train", *options, "eval.metric=speaking_event_f1@3s") == 2
    assert "did you mean 'speaking_event_f1@" in capsys.readouterr().err
    assert run_cli("train", *options, "eval.evaluator=prospect_evel") == 2
    assert "did you mean 'prospect_eval'" in capsys.readouterr().err


@pytest.mark.slow
def test_train_command_stores_thresholds_with_digest(world, tmp_path, capsys):
    out = tmp_path / "run"
    options = [o for o in SMALL if not o.startswith("eval.")]
    assert (
        run_cli("train", f"data={world.root}", f"output={out}", "train.max_steps=3", *options, "eval.episodes=1") == 0
    )
    config = load_model_checkpoint(str(out))[0].config
    assert config.thresholds_data == f"workbench/val/{world.digest[:16]}"
    assert "thresholds, round 1: speaking" in capsys.readouterr().err


def test_train_command_no_val_keeps_thresholds(short_world, tmp_path, capsys):
    from prospect_core.data.dataset import write_dataset

    root = tmp_path / "set"
    shutil.copytree(short_world.root / "videos", root / "videos")
    write_dataset(root, "only-train", "1", 2, {"train": list(short_world.episodes("train"))})
    options = [o for o in SMALL if not o.startswith("eval.")]
    assert run_cli("train", f"data={root}", f"output={tmp_path / 'x'}", "train.max_steps=1", *options) == 0
    assert "has no split 'val'; the thresholds stay 0.5" in capsys.readouterr().err
    assert load_model_checkpoint(str(tmp_path / "x"))[0].config.thresholds_data == ""


def test_train_command_tensorboard_has_four_losses(short_world, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "run"
    assert (
        run_cli(
            "train", f"data={short_world.root}", f"output={out}", "train.max_steps=2", "train.tensorboard=true", *SMALL
        )
        == 0
    )
    events = EventAccumulator(str(out / "tensorboard"))
    events.Reload()
    assert {f"train/loss_{name}" for name in ("speaking", "update", "state")} <= set(events.Tags()["scalars"])


def test_train_command_log_has_losses_throughput_memory(short_world, tmp_path):
    out = tmp_path / "run"
    run_cli("train", f"data={short_world.root}", f"output={out}", "train.max_steps=2", *SMALL)
    for row in rows_of(out):
        assert row["tokens_per_s"] > 0
        assert row["frames_per_s"] > 0
        assert row["memory_mb"] > 50


def test_training_data_has_blank_windows(short_world, tokenizer):
    builder = SequenceBuilder(tokenizer, 4)
    window = next(short_world.episodes("train")).window(40, 44)
    blank = builder.window(window, Context())
    assert len(blank.ids) < len(builder.window(window).ids)


@pytest.mark.slow
def test_train_command_workers_change_no_loss(short_world, tmp_path):
    losses = []
    for workers in (0, 2):
        out = tmp_path / str(workers)
        options = [f"data={short_world.root}", f"output={out}", "train.max_steps=5", f"data.workers={workers}", *SMALL]
        assert run_cli("train", *options) == 0
        losses.append(losses_by_step(out))
    assert losses[0] == losses[1]


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["full", "lora", "frozen"])
def test_train_command_mixed_precision_with_accumulation(short_world, tmp_path, backbone, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = tmp_path / "run"
    options = [f"data={short_world.root}", f"output={out}", "train.max_steps=3", *SMALL, "train.accumulation=2",
               "train.precision=bfloat16", "train.gradient_checkpointing=true", f"model.backbone={backbone}",
               "loss=gradnorm", "sampling.frames.complexity={rate: 0.2, floor: 0.1}"]  # fmt: skip
    assert run_cli("train", *options) == 0
    model, _ = load_model_checkpoint(str(out))
    assert all(p.dtype == torch.float32 and torch.isfinite(p).all() for p in model.parameters())
    assert all(np.isfinite(value) for row in losses_by_step(out).values() for value in row if value is not None)


def test_validation_thresholds_start_silent(short_world, model, tokenizer):
    """From one half, a model that still talks on every frame made the choice take longer than the
    training.
    """
    from prospect_core.features.picture_cache import PictureCache
    from prospect_core.train.validation import SILENT, Validation

    with torch.no_grad():
        model.speaking_head.bias.fill_(60.0)
    replays = []

    class Evaluator:
        @staticmethod
        def choose_thresholds(records):
            replays.append(records)
            return type("Choice", (), {"speaking": 1.01, "update": 0.5})()

    episodes = list(short_world.episodes("val"))[:1]
    media = PictureCache(short_world, model.config.frame_format)
    validation = Validation(short_world, "val", episodes, tokenizer, Evaluator, (), media)
    assert validation.thresholds == SILENT
    validation.calibrate(model, lambda line: None)
    assert max(replays[0][0].speaking_prob) == 1.0
    assert replays[0][0].utterances == ()
    assert len(replays) == 1


def test_train_command_finished_training_does_nothing(short_world, tmp_path, capsys):
    given = [f"data={short_world.root}", f"output={tmp_path / 'run'}", "train.max_steps=2", *SMALL]
    assert run_cli("train", *given) == 0
    before = (tmp_path / "run" / "model.safetensors").stat().st_mtime_ns
    capsys.readouterr()
    assert run_cli("train", *given) == 0
    assert "already holds the checkpoint of this training; delete the folder to train again" in capsys.readouterr().err
    assert (tmp_path / "run" / "model.safetensors").stat().st_mtime_ns == before
    assert run_cli("train", *given, "loss.state.weight=7") == 2


def test_train_command_short_training_summary(short_world, tmp_path, capsys):
    given = [f"data={short_world.root}", f"output={tmp_path / 'run'}", "train.max_steps=2", "train.log_every=1", *SMALL]
    assert run_cli("train", *given) == 0
    rows = rows_of(tmp_path / "run")
    assert f"state: loss {rows[0]['state']:.4f} -> {rows[1]['state']:.4f}" in capsys.readouterr().out


def test_train_command_init_thresholds_are_not_kept(short_world, tmp_path):
    """They belong to other weights: a training without a choice writes the neutral 0.5."""
    first, second = tmp_path / "first", tmp_path / "second"
    options = ["train", f"data={short_world.root}", *SMALL, "train.max_steps=1"]
    assert run_cli(*options, f"output={first}") == 0
    edit_json(first / "config.json", speaking_threshold=0.88, update_threshold=0.44, thresholds_data="x/val/1")
    assert run_cli(*options, f"output={second}", f"init={first}") == 0
    config = json.loads((second / "config.json").read_text())
    assert (config["speaking_threshold"], config["update_threshold"], config["thresholds_data"]) == (0.5, 0.5, "")


@pytest.mark.parametrize("dtype", [slow("float32"), slow("float16"), "bfloat16"])
def test_train_command_feature_store_needs_no_video(short_world, checkpoint, tmp_path, dtype):
    """Validation reads the same store; it decoded the videos after the last step before."""
    root, out, store = tmp_path / "set", tmp_path / "out", tmp_path / "store"
    shutil.copytree(short_world.root, root)
    assert run_cli("data", "features", root, "--ckpt", checkpoint, "--output", store, "--dtype", dtype) == 0
    (kept,) = store.iterdir()
    assert kept.name.endswith(f"-{dtype}") == (dtype != "float32")
    shutil.rmtree(root / "videos")
    options = [
        f"data={root}",
        f"data.store={store}",
        f"init={checkpoint}",
        f"output={out}",
        "model.vision_tower=frozen",
    ]
    assert run_cli("train", *options, *SMALL, "train.max_steps=2", "eval.thresholds=true", "eval.episodes=1") == 0
    assert json.loads((out / "config.json").read_text())["thresholds_data"].startswith("short/val/")


def test_train_command_missing_val_video_is_refused(short_world, tmp_path, capsys):
    root, out = tmp_path / "set", tmp_path / "out"
    shutil.copytree(short_world.root, root)
    video = next(short_world.episodes("val")).video
    (root / video).unlink()
    options = [f"data={root}", f"output={out}", *SMALL, "train.max_steps=2", "eval.thresholds=true"]
    assert run_cli("train", *options) == 3
    assert f"{video}: no such file" in capsys.readouterr().err
    assert not (out / "train_log.jsonl").exists()
