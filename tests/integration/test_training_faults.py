"""Training with faults: kills at critical times, damaged files, diverging losses, odd command
lines.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

import prospect_core.train.run as module
from prospect_core.model.checkpoint import load_model_checkpoint
from prospect_core.train.callbacks.training_log import TrainingLog
from prospect_core.train.config.compose import compose_config, compose_sweep_commands
from prospect_core.util.errors import UserError
from tests.helpers.commands import run_cli
from tests.helpers.tiers import slow
from tests.helpers.training import SMALL, rows_of

QUICK = [*SMALL, "train.max_steps=4", "train.save_every=2"]


def interrupt(*args):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "extra", [[], slow(["eval.every=2", "eval.episodes=1", "eval.patience=1", "eval.metric=dst_jga"])]
)
def test_train_killed_while_publishing_trains_no_step(short_world, tmp_path, monkeypatch, extra):
    """If the kill interrupted only the writing of the checkpoint, one step too many was trained."""
    out = tmp_path / "run"
    command = ["train", f"data={short_world.root}", f"output={out}", *QUICK, *extra]
    monkeypatch.setattr(module, "publish_to_output_dir", interrupt)
    assert run_cli(*command) == 130
    before = rows_of(out)
    monkeypatch.undo()
    assert run_cli(*command) == 0
    assert rows_of(out) == before
    assert load_model_checkpoint(str(out))[0].config.trained_steps in (2, 4)


@pytest.mark.slow
def test_train_resume_keeps_thresholds_and_patience(short_world, tmp_path, monkeypatch):
    """An evaluation starts from the previous thresholds, after a resume as without interruption."""
    options = [
        f"data={short_world.root}",
        *SMALL,
        "train.max_steps=3",
        "eval.every=1",
        "eval.episodes=1",
        "eval.patience=9",
    ]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert run_cli("train", *options, f"output={whole}") == 0
    calls = []
    real = module._train_or_resume

    def stop_in_the_middle(trainer, found, tell):
        evaluate = trainer.validation.evaluate

        def counted(model):
            calls.append(1)
            return evaluate(model) if len(calls) < 2 else interrupt()

        trainer.validation.evaluate = counted
        real(trainer, found, tell)

    monkeypatch.setattr(module, "_train_or_resume", stop_in_the_middle)
    assert run_cli("train", *options, f"output={cut}") == 130
    monkeypatch.undo()
    assert run_cli("train", *options, f"output={cut}") == 0
    scores = [[row["eval"] for row in rows_of(folder) if "eval" in row] for folder in (whole, cut)]
    assert scores[0] == scores[1]
    assert (whole / "model.safetensors").read_bytes() == (cut / "model.safetensors").read_bytes()


def test_train_resume_changed_null_option_is_refused(short_world, tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    command = ["train", f"data={short_world.root}", f"output={out}", *QUICK]
    monkeypatch.setattr(module, "publish_to_output_dir", interrupt)
    assert run_cli(*command, "sampling=curriculum") == 130
    capsys.readouterr()
    assert run_cli(*command) == 2
    assert "sampling.curriculum.start: 0.3 before, None now" in capsys.readouterr().err
    assert run_cli(*command, "sampling=curriculum", "sampling.frames.silent=null") == 2
    assert "sampling.frames.silent.rate: 0.1 before, None now" in capsys.readouterr().err
    (out / ".trainer" / "training.json").write_text("[]")
    assert run_cli(*command) == 3
    assert "training.json: is damaged" in capsys.readouterr().err


def test_train_two_on_one_output_is_refused(short_world, tmp_path, capsys):
    out = tmp_path / "run"
    hold = (
        "import sys; from pathlib import Path; from prospect_core.util.folder_lock import lock_folder\n"
        "with lock_folder(Path(sys.argv[1]), 'here'): print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", hold, str(out / ".trainer")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        other.stdout.readline()
        assert run_cli("train", f"data={short_world.root}", f"output={out}", *QUICK) == 3
        line = capsys.readouterr().err
        other.stdin.close()
    assert f"error: output={out}: in use by another process (process {other.pid} on " in line
    assert run_cli("train", f"data={short_world.root}", f"output={out}", *QUICK) == 0


@pytest.mark.parametrize(
    "tail",
    [slow(b'{"step": 3, "weights": {"a": 1}'), b'{"step": 3, "x": "\xc3', slow(b'{"no": 1}\n'), slow(b"[]\n")],
)
def test_train_truncated_log_is_read(short_world, tmp_path, monkeypatch, tail):
    out = tmp_path / "run"
    command = ["train", f"data={short_world.root}", f"output={out}", *QUICK]
    monkeypatch.setattr(module, "publish_to_output_dir", interrupt)
    assert run_cli(*command) == 130
    monkeypatch.undo()
    log = out / "train_log.jsonl"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:2]) + tail)
    for folder in out.glob(".trainer/checkpoint-4"):
        (folder / "optimizer.pt").unlink()
    assert run_cli(*command) == 0
    assert [row["step"] for row in rows_of(out)] == [1, 2, 3, 4]


@pytest.mark.parametrize("saves", [[], ["train.log_every=100"]])
def test_train_diverging_ends_without_checkpoint(short_world, tmp_path, capsys, saves):
    out = tmp_path / "run"
    code = run_cli("train", f"data={short_world.root}", f"output={out}", *QUICK, "train.learning_rate=1e18", *saves)
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert code == 3
    assert len(error) == 1
    assert "diverged" in error[0]
    assert not (out / "config.json").exists()


@pytest.mark.slow
def test_train_multirun_used_output_is_refused(short_world, tmp_path, capfd):
    base = [f"data={short_world.root}", f"output={tmp_path / 's'}", *SMALL, "train.max_steps=1"]
    assert run_cli("train", "-m", *base, "loss=focal,plain") == 0
    assert run_cli("train", "-m", *base, "loss=uncertainty,gradnorm") == 2
    assert "already holds a checkpoint" in capfd.readouterr().err


def test_train_worker_process_error_is_one_line(short_world, tmp_path, capsys):
    command = ["train", f"data={short_world.root}", f"output={tmp_path / 'x'}", *QUICK, "sampling.max_tokens=20"]
    for workers, code in ((0, 2), (1, 2)):
        assert run_cli(*command, f"data.workers={workers}") == code
        error = capsys.readouterr().err.split("error: ")[1].strip()
        assert "\n" not in error
        assert error.startswith("sampling.max_tokens=20: frame")


@pytest.mark.slow
def test_train_silent_model_metric_is_undefined(short_world, tmp_path, monkeypatch):
    import prospect_eval.analysis.training_evaluator as evaluator

    values = iter([None, 0.3])
    monkeypatch.setattr(evaluator, "metric_values", lambda records, names: {names[0]: next(values)})
    out = tmp_path / "run"
    options = [
        *SMALL,
        "train.max_steps=2",
        "eval.every=1",
        "eval.episodes=1",
        "eval.patience=5",
        "eval.metric=similarity",
    ]
    assert run_cli("train", f"data={short_world.root}", f"output={out}", *options) == 0
    assert [row["eval"]["similarity"] for row in rows_of(out) if "eval" in row] == [None, 0.3]
    assert load_model_checkpoint(str(out))[0].config.trained_steps == 2


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data=/d", "sampling.curriculum.start=0.5"], "sampling.curriculum"),
        (["~sampling.curriculum"], "give KEY=VALUE; KEY=null switches"),
        (["+x=1"], "give KEY=VALUE; KEY=null switches"),
        (["++output=/tmp/x"], "give KEY=VALUE; KEY=null switches"),
        (["hydra.run.dir=x"], "give KEY=VALUE; KEY=null switches"),
        (["train.warmup=1"], "less than 1"),
        (["train.beta1=1"], "less than 1"),
        (["train.seed=99999999999"], "less than 4294967296"),
        (["loss=null"], "loss=null: use one of"),
        (
            ["sampling.frames.complexity={rate:0.2,floors:0.1}"],
            "sampling.frames.complexity.floors=0.1: unexpected keyword",
        ),
        (
            ["sampling=all", "sampling.frames.every=false", "sampling.frames.key_frames={share: 0}"],
            "no sampler is on",
        ),
    ],
)
def test_compose_config_odd_command_line_is_one_line(overrides, message):
    with pytest.raises(UserError) as error:
        compose_config(overrides)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 350


@pytest.mark.parametrize("override", ["train.learning_rate=interval(0,1)", "+x=1,2", "~loss=focal,plain", "loss=a,b,"])
def test_compose_sweep_odd_values_are_one_line(override):
    with pytest.raises(UserError, match=r"^[^\n]+$"):
        list(map(compose_config, compose_sweep_commands([override])))


@pytest.mark.parametrize("path", ["/a b", "/ü", "/it's", "/a(b)", "/a=b", "/a,b", '/q"x', "~/x", "/{x}", "/$x"])
def test_compose_config_any_path(path):
    config, _ = compose_config([f"output={path}", f"init={path}", f"data.path={path}", f"model.weights={path}"])
    assert (config.output, config.init, config.data.path, config.model.weights) == (path,) * 4


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.text.heads=5", "model.text.heads=5 does not divide"),
        ("model.text.kv_heads=3", "model.text.kv_heads=3 does not divide"),
        ("model.vision.heads=3", "model.vision.heads=3 does not divide"),
        ("model.attention=bogus", "model: "),
        ("model.attention=flash_attention_2", "model: "),
        ("train.optimiser=adamw_bnb_8bit", "train: "),
        ("init=/nope", "init '/nope' is neither"),
        ("output=", "give a folder"),
    ],
)
def test_train_impossible_model_is_one_line(override, message, short_world, tmp_path, capsys):
    code = run_cli("train", f"data={short_world.root}", f"output={tmp_path / 'x'}", *QUICK, override)
    error = [line for line in capsys.readouterr().err.splitlines() if not line.startswith(("warning: ", "0.1"))]
    assert code == 2
    assert len(error) == 1
    assert error[0].startswith("error: ")
    assert message in error[0]


def test_train_output_file_is_refused(tmp_path, capsys):
    file = tmp_path / "x"
    file.write_text("")
    assert run_cli("train", "data=/nowhere", f"output={file}") == 2
    assert "is a file, not a folder; give a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["data=/nope"], "does not change training windows"),
        (["--epoch", "-5"], "--epoch"),
        (["--html", "/nope/x.html"], "--html /nope/x.html: give a file name in an existing folder"),
        (["--html", "/tmp"], "--html /tmp: give a file"),
    ],
)
def test_preview_command_other_options_are_refused(args, message, short_world, capsys):
    assert run_cli("data", "preview", short_world.root, *args) == 2
    assert message in capsys.readouterr().err


def test_train_interrupted_once_keeps_step_and_resumes(short_world, tmp_path, monkeypatch, capsys):
    """Before, Ctrl-C lost all steps since the last checkpoint."""
    command = ["train", f"data={short_world.root}", *SMALL, "train.max_steps=6", "train.save_every=200"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert run_cli(*command, f"output={whole}") == 0
    say = TrainingLog.on_log

    def interrupting(log, args, state, control, **given):
        say(log, args, state, control, **given)
        if state.global_step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(TrainingLog, "on_log", interrupting)
    assert run_cli(*command, f"output={cut}") == 130
    told = capsys.readouterr().err
    assert "interrupted: waiting for the current step and a checkpoint" in told
    last = len(rows_of(cut))
    assert last in (3, 4)
    assert f"interrupted at step {last}; last checkpoint: step {last}" in told
    monkeypatch.undo()
    assert run_cli(*command, f"output={cut}") == 0
    assert f"continuing from step {last}" in capsys.readouterr().err
    assert (cut / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
