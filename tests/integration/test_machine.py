"""Faults of the machine: full disk, read-only folder, deleted file, clock that jumps."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from contextlib import contextmanager

import pytest

from prospect_core.features import feature_cache
from prospect_core.records import Knobs
from prospect_core.util.errors import DataError
from prospect_eval.models import any_stream
from prospect_eval.runs.folder import list_run_folder_record_files
from tests.helpers.commands import evaluate, one_line


@contextmanager
def small_disk(folder, size):
    """A file system of the given number of bytes, if this process may mount one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() or not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        yield lambda options: subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def scores(folder):
    return (folder / "metrics.json").read_bytes()


@pytest.mark.slow
def test_run_command_full_disk_is_one_line_and_resumes(checkpoint, short_world, tmp_path, capsys):
    args = ["run", "--ckpt", checkpoint, "--data", short_world.root, "--output"]
    assert evaluate(*args, tmp_path / "whole") == 0
    whole = sorted(f.name for f in list_run_folder_record_files(tmp_path / "whole"))
    room = sum(f.stat().st_size for f in list_run_folder_record_files(tmp_path / "whole")[: len(whole) // 2])
    with small_disk(tmp_path / "disk", room + (48 << 10)) as remount:
        out = tmp_path / "disk" / "run"
        capsys.readouterr()
        assert evaluate(*args, out) == 3
        line = one_line(capsys)
        assert line.startswith(f"error: {out}")
        assert line.endswith("No space left on device")
        kept = {f: f.stat().st_mtime_ns for f in list_run_folder_record_files(out)}
        assert 0 < len(kept) < len(whole)
        # no partial file uses space
        assert [f.name for f in out.rglob(".*")] == [".lock"]
        remount("size=64m")
        assert evaluate(*args, out) == 0
        assert f"{len(kept)} reused" in capsys.readouterr().out
        assert all(f.stat().st_mtime_ns == when for f, when in kept.items())
        assert sorted(f.name for f in list_run_folder_record_files(out)) == whole
        assert scores(out) == scores(tmp_path / "whole")


def test_run_command_read_only_folder_is_one_line(short_world, tmp_path, capsys):
    args = ["run", "--ckpt", "baseline:oracle", "--data", short_world.root, "--output"]
    with small_disk(tmp_path / "disk", 64 << 20) as remount:
        assert evaluate(*args, tmp_path / "disk" / "run") == 0
        remount("ro")
        capsys.readouterr()
        for command in ([*args, tmp_path / "disk" / "run"], [*args, tmp_path / "disk" / "new"],
                        ["score", tmp_path / "disk" / "run"], ["report", tmp_path / "disk" / "run"],
                        ["ls", tmp_path, "--html", tmp_path / "disk" / "index.html"]):  # fmt: skip
            assert evaluate(*command) == 3
            line = one_line(capsys)
            assert "Read-only file system" in line
            assert str(tmp_path / "disk") in line


def test_ls_command_page_in_missing_folder_is_one_line(short_world, tmp_path, capsys):
    assert evaluate("ls", tmp_path, "--html", tmp_path / "none" / "index.html") == 3
    assert str(tmp_path / "none") in one_line(capsys)


@pytest.mark.slow
@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_run_command_deleted_video_is_named(short_world, tmp_path, monkeypatch, capsys, on_error, checkpoint):
    """The second video is deleted while the first one is read."""
    root, out = tmp_path / "set", tmp_path / "run"
    shutil.copytree(short_world.root, root)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    gone = sorted({e.video for e in short_world.episodes("test")})[1]
    look = feature_cache.open_video_frames

    def look_and_remove(*args):
        found = look(*args)
        (root / gone).unlink(missing_ok=True)
        return found

    monkeypatch.setattr(feature_cache, "open_video_frames", look_and_remove)
    args = ["run", "--ckpt", checkpoint, "--data", root, "--output", out, "--streams", 1, "--on-error", on_error]
    assert evaluate(*args) == (3 if on_error == "fail" else 0)
    told = capsys.readouterr()
    assert f"{gone}: no such file" in (told.err if on_error == "fail" else (out / "report.html").read_text())
    if on_error == "skip":
        assert ", 3 failed" in told.out
    # the episodes of the other video are kept
    assert len(list_run_folder_record_files(out)) == (3 if on_error == "fail" else 6)


@pytest.mark.slow
def test_run_command_clock_jump_changes_nothing(checkpoint, short_world, tmp_path, monkeypatch):
    args = ["run", "--ckpt", checkpoint, "--data", short_world.root, "--limit", 2, "--output"]
    assert evaluate(*args, tmp_path / "a") == 0
    now, calls = time.time, []

    def jumping():
        calls.append(1)
        return now() + (-(10**8) if len(calls) % 2 else 10**8)

    monkeypatch.setattr(time, "time", jumping)
    assert evaluate(*args, tmp_path / "b") == 0
    assert scores(tmp_path / "a") == scores(tmp_path / "b")
    assert evaluate("ls", tmp_path) == 0


def test_any_stream_error_fails_one_episode(short_world):
    class Broken:
        def reset(self, *args, **kwargs):
            raise DataError("gone")

    made = any_stream.make_any_stream_predictor("m", "d", Broken, short_world, 32, Knobs())
    assert [str(result) for _, result in made.predict(list(short_world.episodes("test")))] == ["gone"] * 6
