"""Sweeps: combined settings, resume, and results."""

from __future__ import annotations

import json
from functools import partial

import click
import pytest

from prospect_core.records import EpisodeRecord, Knobs, PredictedUtterance
from prospect_core.util.errors import UserError
from prospect_eval.analysis.clock_agreement import compute_clock_agreement
from prospect_eval.analysis.sweep import Grid, SweepSetting, describe_sweep_knob, run_sweep
from prospect_eval.cli.commands import prospect_eval
from prospect_eval.cli.options import Budgets
from prospect_eval.runs.folder import read_run_folder_records
from prospect_eval.runs.schemas import COUNTS_SCHEMA
from tests.helpers.run_folders import numbered_episode


def evaluate(*args):
    with pytest.raises(SystemExit) as stop:
        prospect_eval([str(a) for a in args])
    return stop.value.code or 0


def fake_run(peaks, quality):
    """A run that writes given scores, {folder name: quality}, and the bytes of its budget."""

    def run(setting, folder):
        folder.mkdir(parents=True, exist_ok=True)
        peak = peaks[setting.ckpt] if setting.budget is None else setting.budget
        entry = {"ci95": None, "reason": "", "signature": "s"}
        table = {"cache_peak_tokens": peak, "cache_peak_bytes": peak * 10.0, "dst_head_jga": quality(setting)}
        (folder / "metrics.json").write_text(
            json.dumps({"metrics": {name: {**entry, "value": value} for name, value in table.items()}})
        )
        counts = {"schema": COUNTS_SCHEMA, "clusters": {"e": "v"}, "failed": [], "counts": {}}
        (folder / "counts.json").write_text(json.dumps(counts))
        knobs = {"strategy": setting.strategy, "budget": setting.budget}
        config = {"data_digest": "d", "split": "test", "limit": None, "model": setting.ckpt, "knobs": knobs}
        (folder / "run.json").write_text(json.dumps({"config": config}))

    return run


def test_run_sweep_budgets_are_shares_above_minimum(tmp_path):
    grid = Grid(("a",), ("drop_middle", "none"), (0.5, 0.25, 0.125, 300))
    result = run_sweep(tmp_path, grid, fake_run({"a": 800}, lambda s: 0.9), lambda ckpt, strategy: 180)
    found = [(run["strategy"], run.get("budget"), run["at_the_floor"]) for run in result["runs"]]
    assert found == [
        ("none", None, False),
        ("drop_middle", 300, False),
        ("drop_middle", 400, False),
        ("drop_middle", 200, False),
        ("drop_middle", 180, True),
    ]
    assert (tmp_path / "a" / "drop_middle-180" / "metrics.json").is_file()


@pytest.mark.parametrize(
    ("threshold", "name"),
    [(0.3, "speaking-0.30"), (0.301, "speaking-0.301"), (0.304, "speaking-0.304"), (1.0, "speaking-1.00"),
     (0.0001, "speaking-0.0001")],
)  # fmt: skip
def test_sweep_setting_folder_keeps_all_digits(threshold, name):
    assert SweepSetting("a", knob="speaking", threshold=threshold).folder() == f"none/{name}"


def test_run_sweep_dominated_points_are_off_front(tmp_path):
    def quality(setting):
        return {None: 0.9, 400: 0.9, 200: 0.5}[setting.budget] - (setting.strategy == "drop_all") * 0.2

    grid = Grid(("a",), ("none", "drop_middle", "drop_all"), (0.5, 0.25))
    result = run_sweep(tmp_path, grid, fake_run({"a": 800}, quality), lambda ckpt, strategy: 10)
    front = {point["run"]: point["on_front"] for point in result["pareto_front"]["points"]}
    assert front == {
        "a/none": False,
        "a/drop_middle-400": True,
        "a/drop_middle-200": True,
        "a/drop_all-400": False,
        "a/drop_all-200": False,
    }


def test_run_sweep_thresholds_move_one_at_a_time(tmp_path):
    grid = Grid(("a", "b"), thresholds={"speaking": (0.7, 0.3), "update": (0.5,)})
    result = run_sweep(tmp_path, grid, fake_run({"a": 8, "b": 9}, lambda s: 0.5), lambda ckpt, strategy: 1)
    folders = [run["folder"] for run in result["runs"]]
    each = ["none", "none/speaking-0.30", "none/speaking-0.70", "none/update-0.50"]
    assert folders == [f"{ckpt}/{place}" for ckpt in "ab" for place in each]
    assert [p["threshold"] for p in result["curves"]["a/none"]["speaking"]] == [0.3, 0.7]
    assert len(result["pareto_front"]["points"]) == 2


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (Grid(("a",), ("drop_all",), (0.5,)), "add `none` to --strategies"),
        (Grid(("a",), ("none", "drop_all")), "need --budgets"),
        (Grid(("x/a", "y/a")), "two are called a"),
    ],
)
def test_grid_invalid_is_one_line(grid, message):
    with pytest.raises(UserError, match=message):
        grid.check()


def test_budgets_parameter_parses_tokens_and_shares():
    def read(text):
        return Budgets().convert(text, None, None)

    assert read("1/2,600,0.25,50%,1") == [0.5, 600, 0.25, 0.5, 1]
    for wrong in ("x", "0", "1/0", "-3", "2.5", "600,,2", "nan"):
        with pytest.raises(click.UsageError):
            read(wrong)


def test_sweep_setting_folder_names_differences():
    assert SweepSetting("c").folder() == "none"
    assert SweepSetting("c", "dst_refresh", 600, "update", 0.5).folder() == "dst_refresh-600/update-0.50"


@pytest.mark.slow
def test_sweep_command_replays_each_setting_and_resumes(checkpoint, short_world, tmp_path, capsys):
    out = tmp_path / "sweep"
    given = ("sweep", "--ckpt", checkpoint, "--data", short_world.root, "--split", "val", "--limit", 1, "--output", out,
             "--speaking", "1", "--strategies", "none,drop_middle", "--budgets", "1/8")  # fmt: skip
    assert evaluate(*given) == 0
    stored = json.loads((out / "sweep.json").read_text())
    assert (stored["loop"], stored["split"]) == ("closed", "val")
    name = checkpoint.name
    assert [p["threshold"] for p in stored["curves"][f"{name}/none"]["speaking"]] == [1.0]
    # at 1 the model never speaks: the replay has changed, not only the decision
    own, silent = (read_run_folder_records(out / name / "none" / place)[1][0] for place in ("", "speaking-1.00"))
    assert own.utterances
    assert silent.utterances == ()
    assert own.speaking_prob != silent.speaking_prob
    limited = next(run for run in stored["runs"] if run["strategy"] == "drop_middle")
    assert limited["at_the_floor"]
    record = read_run_folder_records(out / limited["folder"])[1][0]
    assert max(record.cache_tokens) <= record.knobs.budget == limited["budget"]
    files = sorted(p for p in out.rglob("*.json") if p.name != "sweep.json")
    assert sum(p.name == "DONE.json" for p in files) == 4
    before = [(p, p.stat().st_mtime_ns) for p in files]
    # one run is deleted: only this one is repeated
    gone = out / name / "none" / "speaking-1.00"
    next((gone / "episodes").iterdir()).unlink()
    capsys.readouterr()
    assert evaluate(*given) == 0
    assert [(p, t) for p, t in before if p.stat().st_mtime_ns != t and gone not in p.parents] == []
    assert (gone / "DONE.json").is_file()
    assert json.loads((out / "sweep.json").read_text()) == stored
    assert evaluate(*given, "--closed-loop", out) == 2


def test_sweep_setting_latency_names_folder_and_curve():
    setting = SweepSetting("ckpt", knob="latency", threshold=1000.0)
    assert setting.folder() == "none/latency-1000.00"
    assert describe_sweep_knob("latency") == "latency in ms per frame"
    assert describe_sweep_knob("update") == "update threshold"


def test_clock_agreement_counts_common_decisions():
    """Of three different decisions one is common; frames of decision count, not those of speech."""
    episode = numbered_episode(1)
    make = partial(EpisodeRecord, 1, "x", Knobs(), episode)
    early = make(utterances=(PredictedUtterance(1, "Go on."), PredictedUtterance(3, "Stop.")))
    late = make(utterances=(PredictedUtterance(2, "Go on.", decided=1), PredictedUtterance(4, "Stop.")))
    assert compute_clock_agreement([early], [late]) == pytest.approx(1 / 3)
    assert compute_clock_agreement([early], [early]) == 1.0
    assert compute_clock_agreement([make()], [make()]) == 1.0
