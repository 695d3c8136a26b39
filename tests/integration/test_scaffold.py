"""`prospect new`: the written packages work and are found after installation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from prospect_core.cli.commands import prospect
from prospect_core.cli.scaffold import KINDS
from tests.helpers.commands import call, one_line
from tests.helpers.media import write_grey

EVAL = "from prospect_eval.cli.commands import prospect_eval; prospect_eval()"
CORE = "from prospect_core.cli.commands import prospect; prospect()"


def written(kind, folder, capsys, name="mine"):
    assert call(prospect, "new", kind, name, "--output", folder) == 0
    assert "test it: " in capsys.readouterr().out
    return folder


def install(folder):
    """Install without pip: the module with its entry points."""
    info = folder / "mine-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 0.1.0\n")
    text = (folder / "pyproject.toml").read_text()
    group = text.split('[project.entry-points."')[1].split('"]')[0]
    line = text.split(f'"{group}"]\n')[1].splitlines()[0].replace('"', "")
    (info / "entry_points.txt").write_text(f"[{group}]\n{line}\n")


def python(folder, *args):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), os.getcwd()]), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *map(str, args)], capture_output=True, text=True, timeout=300, env=env)


@pytest.mark.slow
def test_new_command_package_passes_own_tests(tmp_path, capsys):
    """All kinds in one process, which imports torch once; each has at least one test."""
    folders = [written(kind, tmp_path / f"my_{kind}", capsys, f"my_{kind}") for kind in KINDS]
    report = tmp_path / "report.xml"
    done = python(
        os.pathsep.join(map(str, folders)),
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--junit-xml={report}",
        *folders,
    )
    assert done.returncode == 0, done.stdout
    passed = {case.get("classname").split(".")[0] for case in ElementTree.parse(report).iter("testcase")}
    assert passed == {f"test_my_{kind}" for kind in KINDS}


@pytest.mark.slow
def test_installed_metric_is_in_report(short_world, tmp_path, capsys):
    folder = written("metric", tmp_path / "mine", capsys)
    install(folder)
    out = tmp_path / "run"
    command = ["run", "--ckpt", "baseline:oracle", "--data", short_world.root, "--output", out]
    done = python(folder, "-c", EVAL, *command)
    assert done.returncode == 0, done.stderr
    entry = json.loads((out / "metrics.json").read_text())["metrics"]["mine"]
    assert entry["status"] == "ok"
    assert "metric:mine|v:1|unit:words" in entry["signature"]
    assert "mine" in (out / "report.html").read_text()


@pytest.mark.slow
def test_installed_strategy_and_adapter_are_found(checkpoint, short_world, tmp_path, capsys):
    folder = written("strategy", tmp_path / "mine", capsys)
    install(folder)
    given = ["run", "--data", short_world.root, "--limit", 1, "--output", tmp_path / "run", "--ckpt"]
    done = python(folder, "-c", EVAL, *given, checkpoint, "--strategy", "mine", "--budget", 900)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "run.json").read_text())["config"]["knobs"]["strategy"] == "mine"
    other = written("adapter", tmp_path / "other", capsys)
    install(other)
    done = python(other, "-c", EVAL, *given, "mine:nowhere/at-all")
    assert done.returncode == 3
    assert done.stderr.startswith("error: --ckpt mine:nowhere/at-all: ")


@pytest.mark.slow
def test_new_benchmark_installed_is_scored_run_and_checked(tmp_path, capsys):
    folder = written("benchmark", tmp_path / "mine", capsys)
    install(folder)
    data = tmp_path / "data"
    data.mkdir()
    write_grey(data / "a.mp4", range(6), [60, 90, 120, 150, 180, 210], size=(32, 32))
    question = {"id": "1", "video": "a.mp4", "time": 2, "question": "Is the lid open?", "answer": "yes"}
    (data / "questions.json").write_text(json.dumps([question, {**question, "id": "2", "answer": "perhaps"}]))
    (tmp_path / "model.json").write_text(json.dumps([{"id": "1", "response": "Yes."}]))

    def official(*args):
        done = python(folder, "-c", EVAL, *args, "--suite", "mine", "--data", data, "--output", tmp_path / args[0])
        assert done.returncode == 0, done.stderr
        return json.loads((tmp_path / args[0] / "official.json").read_text())

    published = official("score", tmp_path / "model.json")
    assert published["values"]["accuracy"]["value"] == pytest.approx(1 / 2)
    assert published["counts"] == {"scored": 1, "missing": 1, "failed": 0}
    replayed = official("run", "--ckpt", "baseline:oracle")
    assert replayed["values"]["accuracy"]["value"] == 1
    assert replayed["protocol"] == "polled"
    checked = python(folder, "-c", CORE, "data", "validate", data, "--benchmark", "mine")
    assert checked.returncode == 3, checked.stderr
    assert "the answer is neither yes nor no" in checked.stdout


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            ("metrics", "x"),
            "kind 'metrics' is unknown: use one of adapter, benchmark, metric, strategy, suite; did you mean 'metric'?",
        ),
        (("metric", "My-Metric"), "name 'My-Metric': use lower-case letters, digits and _, such as my_metric"),
        (("metric", "class"), "name 'class'"),
    ],
)
def test_new_command_invalid_kind_or_name_is_refused(given, line, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call(prospect, "new", *given) == 2
    assert line in one_line(capsys)
    assert not list(tmp_path.iterdir())


def test_new_command_existing_folder_is_refused(tmp_path, capsys):
    folder = written("suite", tmp_path / "mine", capsys)
    before = (folder / "mine.yaml").read_text()
    assert call(prospect, "new", "metric", "mine", "--output", folder) == 2
    assert (folder / "mine.yaml").read_text() == before


def test_new_command_name_of_module_is_refused(tmp_path, capsys):
    assert call(prospect, "new", "metric", "numpy", "--output", tmp_path / "numpy") == 2
    assert "an installed module has this name" in one_line(capsys)
    assert not (tmp_path / "numpy").exists()
