"""Baselines of procedures in the tables of a suite that lists them, and runs of them by name."""

from __future__ import annotations

import json

import pytest

from prospect_core.data.dataset import Dataset, write_dataset
from prospect_core.util.errors import DataError
from prospect_eval.metrics import all_metrics
from prospect_eval.models.base import PredictorOptions
from prospect_eval.models.baselines.procedure_baselines import PROCEDURE_BASELINES, require_procedure_baselines
from prospect_eval.models.baselines.trivial import BASELINES
from prospect_eval.models.registry import open_registered_predictor
from prospect_eval.runs.metric_tables import metric_table_trivial_baselines
from prospect_eval.scoring.baseline_scores import AdditionalBaselines, score_baselines
from prospect_eval.suites.suite import SUITES, suite_additional_baselines
from prospect_eval.suites.training_data import NO_TRAINING, TrainingEpisodes
from tests.helpers.commands import evaluate, one_line
from tests.helpers.predictions import TOOLS
from tests.helpers.tea_recordings import TEA, record_steps, tea_recordings

SUITE = "metrics: [dst_jga, transition_f1@1s]\nbaselines: [mean_schedule, recent_observer_10s, always_mistake]\n"
TEST = [record_steps(f"test{k}", TEA, [("S1", 15, 45), ("S2", 45, 65 + k), ("S3", 75, 85)]) for k in range(2)]


@pytest.fixture
def folder(tmp_path):
    """A dataset whose videos are empty files, because baselines open none."""
    splits = {"train": tea_recordings(), "test": TEST}
    folder = tmp_path / "tea"
    folder.mkdir()
    for episode in (*splits["train"], *splits["test"]):
        (folder / episode.video).write_bytes(b"")
    write_dataset(folder, "tea", "1", 1, splits)
    return folder


def predicted(ckpt, folder, split):
    data = Dataset.open(folder)
    rows = data.rows(split)
    predictor = open_registered_predictor(ckpt, data, rows, PredictorOptions())
    return [record for _, (record, _) in predictor.predict(rows)]


def test_procedure_baseline_by_name_learns_from_train_split(folder):
    first, _ = predicted("baseline:mean_schedule", folder, "test")
    assert [(item.frame, item.step) for item in first.transitions] == [
        (15, "S1"), (45, "S1"), (45, "S2"), (65, "S2"), (75, "S3"), (85, "S3"),
    ]  # fmt: skip


def test_procedure_baseline_on_train_split_leaves_own_video_out(folder):
    first, second = predicted("baseline:mean_schedule", folder, "train")
    assert first.transitions[0].frame == 20
    assert second.transitions[0].frame == 10


@pytest.mark.parametrize("name", PROCEDURE_BASELINES)
def test_procedure_baseline_runs_by_name(name, folder):
    for record in predicted(f"baseline:{name}", folder, "test"):
        assert record.model == f"baseline:{name}"
        assert record.problems() == []


@pytest.mark.integration
def test_run_of_suite_shows_its_baselines(folder, tmp_path):
    suite = tmp_path / "tea.yaml"
    suite.write_text(SUITE)
    out = tmp_path / "run"
    given = ["--ckpt", "baseline:never_update", "--data", folder, "--suite", suite, "--output", out]
    assert evaluate("run", *given) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    added = ["mean_schedule", "recent_observer_10s", "always_mistake"]
    assert list(metrics["baselines"]) == [*BASELINES, *added]
    assert metrics["baselines"]["mean_schedule"]["transition_f1@1s"]["value"] == 1
    about = metrics["baseline_info"]
    assert [about[name]["learnt_from"] for name in added] == ["2 episodes of the train split", "", *["2 episodes of the train split"]]  # fmt: skip
    assert about["recent_observer_10s"]["sees"] == "recent steps"
    trivial = metric_table_trivial_baselines(metrics)
    assert "mean_schedule" in trivial
    assert "recent_observer_10s" not in trivial
    assert "sees recent steps of the reference" in (out / "report.html").read_text()


@pytest.mark.integration
def test_run_without_suite_shows_usual_baselines_only(folder, tmp_path):
    out = tmp_path / "run"
    assert evaluate("run", "--ckpt", "baseline:mean_schedule", "--data", folder, "--output", out) == 0
    assert list(json.loads((out / "metrics.json").read_text())["baselines"]) == [*BASELINES]


def test_run_of_suite_with_unknown_baseline_is_one_line(folder, tmp_path, capsys):
    suite = tmp_path / "tea.yaml"
    suite.write_text("baselines: [mean_schedul]\n")
    out = tmp_path / "run"
    assert evaluate("run", "--ckpt", "baseline:silent", "--data", folder, "--suite", suite, "--output", out) == 2
    line = one_line(capsys)
    assert "tea.yaml: baseline 'mean_schedul' is unknown" in line
    assert "did you mean 'mean_schedule'" in line


def test_suite_additional_baselines_of_built_in_suites_are_known():
    for name in SUITES:
        require_procedure_baselines(suite_additional_baselines(name), name)
    assert suite_additional_baselines("workbench") == ()
    assert suite_additional_baselines("") == ()
    assert suite_additional_baselines("removed.yaml") == ()


def test_score_baselines_cache_depends_on_additional_baselines(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    metrics = [metric for metric in all_metrics(TOOLS) if metric.name == "transition_f1@1s"]

    def scores(additional):
        return score_baselines(["d"], lambda: TEST, TOOLS, metrics, NO_TRAINING, additional).tables

    taught = AdditionalBaselines(("mean_schedule",), TrainingEpisodes("train", "1", tea_recordings))
    assert set(scores(AdditionalBaselines())) == set(BASELINES)
    assert scores(taught)["mean_schedule"]["transition_f1@1s"]["value"] == 1
    other = AdditionalBaselines(("mean_schedule",), TrainingEpisodes("train", "2", lambda: tea_recordings()[:1]))
    assert scores(other)["mean_schedule"]["transition_f1@1s"]["value"] < 1


def test_score_baselines_unreadable_training_leaves_own_video_out(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def unreadable():
        raise DataError("damaged")

    metrics = [metric for metric in all_metrics(TOOLS) if metric.name == "transition_f1@1s"]
    additional = AdditionalBaselines(("mean_schedule",), TrainingEpisodes("train", "1", unreadable))
    found = score_baselines(["d"], lambda: TEST, TOOLS, metrics, NO_TRAINING, additional)
    assert found.info["mean_schedule"]["learnt_from"].endswith("(leave-one-video-out)")
