"""The Python API compared with the command line over the same data."""

from __future__ import annotations

import shutil

import pytest

from prospect_core.util.atomic import write_atomic
from prospect_core.util.errors import UserError
from prospect_core.util.json_io import dump_json, read_json
from prospect_eval.api import EvaluationOptions, compare, evaluate, gate, load_run, prepare_checked, score_run
from tests.helpers.commands import evaluate as run_command

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def runs(short_world, tmp_path_factory):
    """Run folders of two baselines, made by the API."""
    root = tmp_path_factory.mktemp("runs")
    options = {
        name: EvaluationOptions(f"baseline:{name}", short_world.root, limit=2, output=root / name)
        for name in ("oracle", "silent")
    }
    return {name: evaluate(one) for name, one in options.items()}


def test_evaluate_equals_run_command(runs, short_world, tmp_path):
    given = ("run", "--ckpt", "baseline:oracle", "--data", short_world.root, "--limit", 2, "--output", tmp_path / "run")
    assert run_command(*given) == 0
    done = runs["oracle"]
    assert (done.folder / "metrics.json").read_bytes() == (tmp_path / "run" / "metrics.json").read_bytes()
    assert (done.outcome.new, done.outcome.reused, done.outcome.failed) == (2, 0, 0)
    assert done.report.is_file()


def test_load_run_returns_config_and_records(runs):
    config, records = load_run(runs["silent"].folder)
    assert config.model == "baseline:silent"
    assert [len(record.utterances) for record in records] == [0, 0]


def test_compare_returns_one_comparison_per_run(runs):
    (found,) = compare(runs["oracle"].folder, runs["silent"].folder)
    row = next(one for one in found.differences if one.name == "speaking_event_f1@2s")
    assert (row.first, row.second, row.difference) == (1.0, 0.0, -1.0)


def test_score_run_and_gate_repeat_evaluate(runs, tmp_path):
    done = runs["oracle"]
    metrics, _ = score_run(done.folder)
    assert metrics["metrics"] == read_json(done.folder / "metrics.json")["metrics"]
    rules = tmp_path / "rules.yaml"
    rules.write_text("exact: [schema]\n")
    baseline = tmp_path / "baseline.json"
    assert run_command("gate", done.folder, "--baseline", baseline, "--rules", rules, "--update") == 0
    assert gate(done.folder, baseline).passes


def test_prepare_checked_writes_nothing(short_world, tmp_path):
    evaluation = prepare_checked(EvaluationOptions("baseline:oracle", short_world.root, output=tmp_path / "run"))
    assert evaluation.folder == tmp_path / "run"
    assert not evaluation.folder.exists()


def test_prepare_checked_unsupported_pass_raises(short_world):
    with pytest.raises(UserError, match="--teacher-forced"):
        prepare_checked(EvaluationOptions("baseline:oracle", short_world.root, teacher_forced=True))


@pytest.mark.parametrize(("name", "noted"), [("kitchen", True), ("workbench", False)])
def test_prepare_checked_notes_a_workbench_checkpoint_on_other_data(short_world, tmp_path, capsys, name, noted):
    root = tmp_path / "data"
    shutil.copytree(short_world.root, root)
    write_atomic(root / "dataset.json", dump_json({**read_json(root / "dataset.json"), "name": name}))
    prepare_checked(EvaluationOptions("workbench-tiny", root, limit=1, output=tmp_path / "run"))
    note = "note: checkpoint workbench-tiny was trained for the generated workbench videos only"
    assert (note in capsys.readouterr().err) == noted
