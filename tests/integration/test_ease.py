"""Ease of use: JSON output, dry runs, plain output without a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import click
import pytest

from prospect_core.cli.commands import prospect
from prospect_core.util.console import format_count, format_duration
from prospect_eval.cli.commands import prospect_eval
from tests.helpers.commands import call, evaluate, one_line
from tests.helpers.training import SMALL


@pytest.fixture(scope="module")
def runs(short_world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name in ("oracle", "silent"):
        assert evaluate("run", "--ckpt", f"baseline:{name}", "--data", short_world.root, "--output", folder / name) == 0
    return folder


def told(capsys, command, *args, code=0):
    capsys.readouterr()
    assert call(command, *args) == code
    return json.loads(capsys.readouterr().out)


def test_commands_with_json_print_only_json(runs, short_world, capsys):
    oracle, silent = runs / "oracle", runs / "silent"
    assert told(capsys, prospect_eval, "show", oracle, "--json")["metrics"]["speaking_event_f1@2s"]["value"] == 1
    assert len(told(capsys, prospect_eval, "ls", runs, "--json")) == 2
    again = ("run", "--ckpt", "baseline:oracle", "--data", short_world.root, "--output", oracle, "--json")
    assert told(capsys, prospect_eval, *again)["episodes"]
    (one,) = told(capsys, prospect_eval, "compare", oracle, silent, "--json")["comparisons"]
    assert one["first"].endswith("oracle")
    assert told(capsys, prospect_eval, "noise-floor", oracle, oracle, "--json")["dst_jga"] == 0
    assert told(capsys, prospect_eval, "score", silent, "--json")["report"].endswith("report.html")
    assert {check["name"] for check in told(capsys, prospect_eval, "doctor", "--json")} >= {"packages", "device"}
    assert {row["strategy"] for row in told(capsys, prospect, "strategies", "--json")} >= {"none", "dst_refresh"}
    assert told(capsys, prospect, "data", "stats", short_world.root, "--json")["test"]
    assert told(capsys, prospect, "data", "validate", short_world.root, "--json") == {"problems": []}


def test_show_command_json_file_and_table(runs, tmp_path, capsys):
    assert evaluate("show", runs / "oracle", "--json", tmp_path / "x.json") == 0
    assert "speaking_event_f1@2s" in capsys.readouterr().out
    assert json.loads((tmp_path / "x.json").read_text())["schema"] == 1
    assert evaluate("show", runs / "oracle", "--json", tmp_path / "new" / "x.json") == 0
    assert json.loads((tmp_path / "new" / "x.json").read_text())["schema"] == 1
    capsys.readouterr()
    assert evaluate("show", runs / "oracle", "--json", tmp_path / "x.json" / "y.json") == 2
    told = capsys.readouterr()
    assert (told.out, "y.json: cannot be written" in told.err) == ("", True)
    assert evaluate("show", runs / "oracle", "--json", tmp_path) == 2
    assert "cannot be written" in one_line(capsys)


def test_commands_with_results_have_json_option():
    without = {"calibrate", "report", "sweep", "train", "watch", "new", "import", "export", "preview", "check", "features",
               "frames", "proassist", "practice", "captions", "workbench"}  # fmt: skip

    def walk(command):
        for name, child in command.commands.items():
            if isinstance(child, click.Group):
                yield from walk(child)
            else:
                yield name, {option for p in child.params for option in p.opts}

    for main in (prospect, prospect_eval):
        for name, options in walk(main):
            assert ("--json" in options) != (name in without), name


def test_run_command_dry_run_writes_nothing(checkpoint, short_world, tmp_path, capsys):
    out = tmp_path / "run"
    assert evaluate("run", "--ckpt", checkpoint, "--data", short_world.root, "--output", out, "--dry-run") == 0
    text = capsys.readouterr().out
    assert "6 episodes of 2 videos: 6 to replay (0.05 h of video), 0 done" in text
    assert f"output: {out}" in text
    assert "estimated time: " in text
    assert not out.exists()


def test_commands_without_terminal_print_plain_text(runs):
    code = "from prospect_eval.cli.commands import prospect_eval; prospect_eval()"
    for extra in ({}, {"NO_COLOR": "1"}):
        done = subprocess.run(
            [sys.executable, "-c", code, "ls", runs], capture_output=True, text=True, env={**os.environ, **extra}
        )
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("program", ["prospect", "prospect-eval"])
def test_completion_command_prints_shell_script(program, shell):
    variable = f"_{program.upper().replace('-', '_')}_COMPLETE"
    module, name = {
        "prospect": ("prospect_core.cli.commands", "prospect"),
        "prospect-eval": ("prospect_eval.cli.commands", "prospect_eval"),
    }[program]
    code = f"import sys; sys.argv = ['{program}']; from {module} import {name}; {name}()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, variable: f"{shell}_source"}
    )
    assert variable in done.stdout, done.stderr


def test_help_imports_no_heavy_module():
    """No heavy module is imported before a command is chosen."""
    code = "import sys; from prospect_eval.cli.commands import prospect_eval; print(sorted({'torch', 'transformers', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_sweep_command_dry_run_counts_runs(checkpoint, short_world, tmp_path, capsys):
    out = tmp_path / "sweep"
    given = (
        "--strategies",
        "none,drop_all",
        "--budgets",
        "1/2,700",
        "--speaking",
        ".3,.5",
        "--output",
        out,
        "--dry-run",
    )
    assert evaluate("sweep", "--ckpt", checkpoint, "--data", short_world.root, "--split", "test", *given) == 0
    text = capsys.readouterr().out
    assert "9 runs of 6 episodes" in text
    assert "none, drop_all at 0.5 of the peak, drop_all at 700" in text
    assert "each also at speaking thresholds 0.3, 0.5" in text
    assert "estimated time: " in text
    assert not out.exists()


def test_features_command_dry_run_counts_videos(short_world, tmp_path, capsys):
    given = ("frames", short_world.root, "--size", 64, "--split", "test", "--output", tmp_path / "store")
    assert call(prospect, "data", *given, "--dry-run") == 0
    assert "2 videos: 2 to compute, 0 done" in capsys.readouterr().out
    assert not (tmp_path / "store").exists()
    assert call(prospect, "data", *given) == 0
    capsys.readouterr()
    assert call(prospect, "data", *given, "--dry-run") == 0
    assert "2 videos: 0 to compute, 2 done" in capsys.readouterr().out


def test_train_command_dry_run_leaves_nothing(world, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = tmp_path / "run"
    given = [f"data={world.root}", f"output={out}", *SMALL[:-1], "model.vision_tower=frozen"]
    assert call(prospect, "train", "--dry-run", *given, "train.max_steps=1000", "eval.thresholds=true") == 0
    text = capsys.readouterr().out
    assert "encoding the features of 2 videos first: about " in text
    assert "1,000 steps of " in text
    assert "replays of validation episodes to choose thresholds" in text
    assert not out.exists()
    assert not list((tmp_path / "cache").rglob("*.npy"))
    assert call(prospect, "train", "--dry-run", *given, "train.minutes=3") == 0
    assert "training time: 3 min, as given (train.minutes); about " in capsys.readouterr().out
    assert call(prospect, "train", "--dry-run", *given, "data.split=nowhere") == 3


def test_run_command_one_video_reports_no_interval(short_world, tmp_path, capsys):
    given = ("run", "--ckpt", "baseline:oracle", "--data", short_world.root)
    assert evaluate(*given, "--limit", 1, "--output", tmp_path / "one") == 0
    told = capsys.readouterr().out
    assert "1 episode replayed" in told
    assert "no intervals: they need at least two videos, and the run has one" in told
    assert evaluate(*given, "--output", tmp_path / "all") == 0
    assert "no intervals" not in capsys.readouterr().out


def test_format_count_agrees_with_noun():
    assert [format_count(n, "video") for n in (0, 1, 2, 1200)] == ["0 videos", "1 video", "2 videos", "1,200 videos"]
    assert [format_duration(s) for s in (3.4, 119, 120, 7100, 7200)] == ["3 s", "119 s", "2 min", "118 min", "2.0 h"]
