"""`prospect-eval`: whole runs, resume, refusals, exit codes."""

from __future__ import annotations

import json
import shutil

import pytest

from prospect_core.cli.commands import prospect
from prospect_core.records import EpisodeRecord
from prospect_core.util.json_io import load_json
from tests.helpers.commands import call, evaluate, one_line
from tests.helpers.files import edit_json
from tests.helpers.proassist_rows import PREPARED
from tests.helpers.tiers import slow


def test_run_command_checkpoint_is_replayed_and_reported(checkpoint, short_world, tmp_path, monkeypatch, capsys):
    # a new cache without features of other tests, because this test measures decoding
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = tmp_path / "run"
    assert evaluate("run", "--ckpt", checkpoint, "--data", short_world.root, "--limit", 2, "--output", out) == 0
    assert capsys.readouterr().out.rstrip().endswith(str(out / "report.html"))
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["schema"] == 1
    entry = metrics["metrics"]["speaking_event_f1@2s"]
    assert set(entry) == {
        "value",
        "ci95",
        "n_videos",
        "n_scored",
        "n_undefined",
        "status",
        "reason",
        "signature",
        "family",
        "headline",
        "better",
        "definition",
        "failure_mode",
    }
    assert metrics["baselines"]["oracle"]["speaking_event_f1@2s"]["value"] == 1.0
    assert metrics["metrics"]["cache_peak_bytes"]["value"] > 0
    records = [load_json(EpisodeRecord, p.read_bytes(), str(p)) for p in sorted((out / "episodes").iterdir())]
    assert len(records) == 2
    assert all(len(r.speaking_prob) == r.episode.num_frames for r in records)
    config = json.loads((out / "run.json").read_text())
    assert config["config"]["data_digest"] == short_world.digest
    assert config["environment"]["versions"]["torch"]
    timings = json.loads((out / "timings.json").read_text())["episodes"]
    assert set(timings) == {r.episode.id for r in records}
    # the stages add up to the total; the vision time of batches was missing before
    for timing in timings.values():
        assert sum(timing["stages"].values()) == pytest.approx(timing["seconds"], rel=1e-6)
    assert {"decode", "vision", "language model", "rest"} <= {stage for t in timings.values() for stage in t["stages"]}
    assert (out / "DONE.json").is_file()


@pytest.mark.parametrize("strategy", [slow("drop_all"), slow("dst_refresh")])
def test_run_command_strategies_stay_within_budget(checkpoint, world, tmp_path, strategy):
    out = tmp_path / "run"
    args = ["--strategy", strategy, "--budget", 920, "--limit", 1, "--output", out]
    assert evaluate("run", "--ckpt", checkpoint, "--data", world.root, *args) == 0
    (path,) = (out / "episodes").iterdir()
    record = load_json(EpisodeRecord, path.read_bytes(), "x")
    assert max(record.cache_tokens) <= 920
    assert record.compressions


def test_run_command_resume_is_byte_identical(checkpoint, short_world, tmp_path, capsys):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    args = ["run", "--ckpt", checkpoint, "--data", short_world.root, "--limit", 3, "--output"]
    assert evaluate(*args, whole) == 0
    shutil.copytree(whole, cut)
    files = sorted((cut / "episodes").iterdir())
    files[0].unlink()
    files[1].write_text(files[1].read_text()[:500])
    kept = files[2].stat().st_mtime_ns
    for name in ("DONE.json", "metrics.json", "report.html"):
        (cut / name).unlink()
    capsys.readouterr()
    assert evaluate(*args, cut) == 0
    assert "2 episodes replayed" in (out := capsys.readouterr().out)
    assert "1 reused" in out
    assert files[2].stat().st_mtime_ns == kept
    for name in ("metrics.json", *(f"episodes/{f.name}" for f in files)):
        assert (cut / name).read_bytes() == (whole / name).read_bytes(), name


def test_run_command_other_configuration_is_refused(checkpoint, short_world, tmp_path, capsys):
    out = tmp_path / "run"
    args = ["run", "--data", short_world.root, "--limit", 1, "--output", out]
    assert evaluate(*args, "--ckpt", "baseline:oracle") == 0
    capsys.readouterr()
    assert evaluate(*args, "--ckpt", "baseline:silent") == 2
    line = one_line(capsys)
    assert "model: baseline:oracle before, baseline:silent now" in line
    assert (out / "metrics.json").is_file()


def test_run_command_refused_run_keeps_finished_one(short_world, tmp_path, capsys):
    out = tmp_path / "run"
    args = ["run", "--data", short_world.root, "--limit", 1, "--output", out]
    assert evaluate(*args, "--ckpt", "baseline:oracle") == 0
    assert evaluate(*args, "--ckpt", "baseline:silent") == 2
    assert (out / "DONE.json").is_file()


def test_run_command_other_folder_is_refused(short_world, tmp_path, capsys):
    (tmp_path / "precious.txt").write_text("x")
    assert evaluate("run", "--ckpt", "baseline:silent", "--data", short_world.root, "--output", tmp_path) == 2
    assert "is not a run folder" in one_line(capsys)
    assert [p.name for p in tmp_path.iterdir()] == ["precious.txt"]


def test_run_command_row_without_frames_names_file(checkpoint, tmp_path, capsys):
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps(PREPARED) + "\n")
    assert call(prospect, "data", "import", rows, "--output", tmp_path / "in") == 0
    capsys.readouterr()
    assert evaluate("run", "--ckpt", checkpoint, "--data", tmp_path / "in", "--output", tmp_path / "run") == 3
    assert str(tmp_path / "in" / "frames" / "v1.arrow") in (line := one_line(capsys))
    assert "no such file" in line
    assert not (tmp_path / "run" / "DONE.json").exists()


def test_run_command_origin_row_without_frames_names_file(checkpoint, shared_data, tmp_path, capsys):
    rows = shared_data / "origin" / "proassist_prepared.jsonl"
    assert call(prospect, "data", "import", rows, "--output", tmp_path / "in") == 0
    capsys.readouterr()
    assert evaluate("run", "--ckpt", checkpoint, "--data", tmp_path / "in", "--output", tmp_path / "run") == 3
    assert "_mono10bit.arrow: no such file" in one_line(capsys)


def test_run_command_skipped_episodes_are_reported(checkpoint, short_world, tmp_path, capsys):
    data = tmp_path / "data"
    shutil.copytree(short_world.root, data)
    videos = sorted({e.video for e in short_world.episodes("test")})
    (data / videos[0]).write_bytes(b"broken")
    out = tmp_path / "run"
    args = ["run", "--ckpt", checkpoint, "--data", data, "--output", out]
    assert evaluate(*args) == 3
    capsys.readouterr()
    assert evaluate(*args, "--on-error", "skip") == 0
    assert "3 failed" in capsys.readouterr().out
    metrics = json.loads((out / "metrics.json").read_text())
    assert (metrics["episodes"]["scored"], len(metrics["episodes"]["failed_ids"])) == (3, 3)
    page = (out / "report.html").read_text()
    assert "3 episodes failed or missing." in page
    assert "not a readable video" in page


def test_run_command_all_failed_is_error(checkpoint, short_world, tmp_path, capsys):
    data = tmp_path / "data"
    shutil.copytree(short_world.root, data)
    for video in {e.video for e in short_world.episodes("test")}:
        (data / video).unlink()
    out = tmp_path / "run"
    assert evaluate("run", "--ckpt", checkpoint, "--data", data, "--output", out, "--on-error", "skip") == 3
    assert "none of 6 episodes could be predicted" in capsys.readouterr().err
    assert not (out / "DONE.json").exists()


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["--ckpt", "baseline:orcle"], 2, "did you mean 'oracle'"),
        (["--ckpt", "nowhere"], 2, "neither a folder nor a released checkpoint"),
        (["--ckpt", "baseline:silent", "--split", "tset"], 3, "did you mean 'test'"),
        (
            ["--ckpt", "baseline:silent", "--strategy", "drop_all", "--budget", "9"],
            2,
            "a baseline has no context",
        ),
        (["--ckpt", "CKPT", "--strategy", "drop_al", "--budget", "99"], 2, "did you mean 'drop_all'"),
        (["--ckpt", "CKPT", "--strategy", "drop_all"], 2, "needs a budget"),
        (["--ckpt", "CKPT", "--budget", "99"], 2, "remove --budget"),
        (["--ckpt", "CKPT", "--strategy", "drop_all", "--budget", "99"], 2, "tokens are needed"),
    ],
)
def test_run_command_wrong_use_is_one_line(args, code, message, checkpoint, short_world, tmp_path, capsys):
    args = [str(checkpoint) if a == "CKPT" else a for a in args]
    assert evaluate("run", "--data", short_world.root, "--output", tmp_path / "run", *args) == code
    line = one_line(capsys)
    assert message in line


@pytest.mark.parametrize("command", ["run", "sweep"])
@pytest.mark.parametrize("names", ["metrics: [dst_jag]", "gate: {metrics: {dst_jag: {margin: 0.1}}}"])
def test_run_command_unknown_suite_metrics_are_refused(command, names, tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(f"data: workbench\n{names}\n")
    out = ("--output", tmp_path / "out")
    assert evaluate(command, "--ckpt", "baseline:silent", "--suite", tmp_path / "mine.yaml", *out) == 2
    assert "unknown metric 'dst_jag'; did you mean 'dst_jga'?" in one_line(capsys)
    assert not (tmp_path / "out").exists()


def test_run_command_needs_data_or_suite(capsys):
    assert evaluate("run", "--ckpt", "baseline:silent") == 2
    assert "give either --data FOLDER or --suite NAME" in one_line(capsys)
    assert evaluate("run", "--ckpt", "baseline:silent", "--suite", "workbnch") == 2
    assert "did you mean 'workbench'" in one_line(capsys)


def test_run_command_untrained_checkpoint_is_refused(checkpoint, short_world, tmp_path, capsys):
    edit_json(checkpoint / "config.json", trained_steps=0)
    args = ["run", "--ckpt", checkpoint, "--data", short_world.root, "--output", tmp_path / "run"]
    assert evaluate(*args) == 3
    assert "was never trained" in one_line(capsys)
    edit_json(checkpoint / "config.json", trained_steps=5, state_head_size=32)
    assert evaluate(*args) == 3
    assert "does not fit the model" in one_line(capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("left", [None, "broken"])
def test_run_command_missing_timings_is_accepted(short_world, tmp_path, left):
    """No score depends on them; missing latencies were read from a missing file."""
    args = ("run", "--ckpt", "baseline:silent", "--data", short_world.root, "--output", tmp_path / "run")
    assert evaluate(*args) == 0
    timings = tmp_path / "run" / "timings.json"
    timings.unlink() if left is None else timings.write_text(left)
    assert evaluate(*args) == 0
    assert json.loads(timings.read_text())["metrics"]["ms_per_frame_p50"]["status"] == "undefined"


def test_score_command_again_changes_nothing(checkpoint, short_world, tmp_path, capsys):
    out = tmp_path / "run"
    assert evaluate("run", "--ckpt", checkpoint, "--data", short_world.root, "--limit", 2, "--output", out) == 0
    before = (out / "metrics.json").read_bytes()
    shutil.rmtree(checkpoint)
    assert evaluate("score", out) == 0
    assert (out / "metrics.json").read_bytes() == before
    assert evaluate("report", out) == 0
    assert evaluate("score", tmp_path / "nowhere") == 3


def test_doctor_command_reports_parts(capsys, tmp_path, monkeypatch):
    assert evaluate("doctor") == 0
    out = capsys.readouterr().out
    for word in ("H.264", "METEOR", "similarity", "device"):
        assert word in out


def test_run_command_refused_run_leaves_no_folder(checkpoint, short_world, tmp_path, capsys):
    out = tmp_path / "run"
    given = ("run", "--ckpt", checkpoint, "--data", short_world.root, "--output", out)
    assert evaluate(*given, "--strategy", "drop_all", "--budget", 10) == 2
    assert "too small" in one_line(capsys)
    assert not out.exists()
    # no earlier record is reused
    (out / "episodes").mkdir(parents=True)
    assert evaluate(*given, "--limit", 1) == 2
    assert (out / "episodes").is_dir()


def test_run_command_baseline_device_is_refused(short_world, tmp_path, capsys):
    given = ("run", "--ckpt", "baseline:silent", "--data", short_world.root, "--output", tmp_path / "x")
    assert evaluate(*given, "--device", "cuda") == 2
    assert "so --device would have no effect" in one_line(capsys)
