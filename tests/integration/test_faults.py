"""Crashes, concurrent processes and interrupts: finished work is kept and not repeated, and
messages report it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import psutil
import pytest

from prospect_core.records import EpisodeTiming, Knobs
from prospect_core.util.atomic import atomic_folder
from prospect_core.util.errors import DataError, UserError
from prospect_core.util.folder_lock import LOCK, OWNER, lock_folder
from prospect_core.util.signals import defer_interrupt, stop_requested
from prospect_eval.models.base import Predictor
from prospect_eval.models.baselines.trivial import make_trivial_baseline
from prospect_eval.runs.executor import execute_run
from prospect_eval.runs.folder import RunConfig, hold_run_folder, list_run_folder_record_files, read_run_folder_records
from tests.helpers.commands import evaluate, one_line


@contextmanager
def running(code, *args):
    """A Python process that prints a line at its marked point and is killed at the end."""
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, args)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline().strip() == "here"
        yield process
    finally:
        process.kill()
        process.wait()


HOLDS = """
import sys, time
from pathlib import Path
from prospect_core.util.folder_lock import lock_folder
with lock_folder(Path(sys.argv[1]), "x"):
    print("here", flush=True)
    time.sleep(60)
"""


def test_run_folder_lock_reports_holder(short_world, tmp_path, capsys):
    out = tmp_path / "run"
    args = ["run", "--ckpt", "baseline:oracle", "--data", short_world.root, "--output", out]
    with running(HOLDS, out) as owner:
        assert evaluate(*args) == 3
        line = one_line(capsys)
        assert f"{out}: in use by another process (process {owner.pid} on " in line
        assert ", for 0 min); wait for it or choose another folder" in line
        # the lock of a killed process has no owner; its leftover file has no effect
        owner.kill()
        owner.wait()
        assert (out / OWNER).is_file()
        assert evaluate(*args) == 0
    assert not (out / OWNER).exists()
    with running(HOLDS, out):
        assert evaluate("score", out) == 3
    assert evaluate("score", out) == 0


def test_folder_lock_damaged_note_still_refuses(tmp_path):
    for note in ("", "{", "[1]", json.dumps({"pid": 1, "host": "h", "since": time.time() + 1e6})):
        with running(HOLDS, tmp_path / "a"):
            (tmp_path / "a" / OWNER).write_text(note)
            told = pytest.raises(DataError, match=r"in use by another process( \(process 1 on h, for 0 min\))?; wait")
            with told, lock_folder(tmp_path / "a", "a"):
                pass


def test_run_folder_lock_is_held_until_last_exit(tmp_path):
    check = "import sys; from pathlib import Path; from prospect_core.util.folder_lock import lock_folder\nwith lock_folder(Path(sys.argv[1]), ''): print('free')"
    with hold_run_folder(tmp_path / "run"):
        with hold_run_folder(tmp_path / "run"):
            assert (tmp_path / "run" / OWNER).is_file()
            (tmp_path / "run" / "kept").touch()
        assert (tmp_path / "run" / OWNER).is_file()
        done = subprocess.run([sys.executable, "-c", check, tmp_path / "run"], capture_output=True, text=True)
        assert "in use by another process" in done.stderr
    assert {f.name for f in (tmp_path / "run").iterdir()} == {LOCK, "kept"}
    done = subprocess.run([sys.executable, "-c", check, tmp_path / "run"], capture_output=True, text=True)
    assert done.stdout == "free\n"
    with hold_run_folder(tmp_path / "new"):
        pass
    assert not (tmp_path / "new").exists()


def interrupting(episodes, at, times=1):
    """The oracle, which sends Ctrl-C to its own process in an episode."""
    oracle = make_trivial_baseline("oracle", episodes)

    def predict(some):
        for k, episode in enumerate(some):
            if stop_requested():
                return
            if k == at:
                for _ in range(times):
                    os.kill(os.getpid(), signal.SIGINT)
            yield episode, (oracle(episode), EpisodeTiming(episode.id, 0.1, {}))

    return Predictor("m", "d", Knobs(), predict)


def config():
    return RunConfig("m", "d", "data", "d", "test", None, Knobs(), "code")


def test_interrupt_once_finishes_episodes_and_run_resumes(world, tmp_path, capsys):
    episodes = list(world.episodes("test"))
    assert len(episodes) > 3
    with pytest.raises(KeyboardInterrupt):
        execute_run(tmp_path / "run", config(), interrupting(episodes, 1), episodes)
    assert (
        "interrupted: waiting for the running episodes, which are saved; press Ctrl-C again to stop immediately"
        in capsys.readouterr().err
    )
    assert len(list_run_folder_record_files(tmp_path / "run")) == 2
    before = {file: file.stat().st_mtime_ns for file in list_run_folder_record_files(tmp_path / "run")}
    outcome = execute_run(tmp_path / "run", config(), interrupting(episodes, -1), episodes)
    assert (outcome.new, outcome.reused, outcome.failed) == (len(episodes) - 2, 2, 0)
    assert all(file.stat().st_mtime_ns == when for file, when in before.items())
    assert [r.episode for r in read_run_folder_records(tmp_path / "run")[1]] == sorted(episodes, key=lambda e: e.id)


def test_interrupt_twice_stops_and_restores_handlers(world, tmp_path):
    episodes = list(world.episodes("test"))
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt):
        execute_run(tmp_path / "run", config(), interrupting(episodes, 1, times=2), episodes)
    assert len(list_run_folder_record_files(tmp_path / "run")) == 1
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert not stop_requested()
    with defer_interrupt("they"):
        pass


@pytest.mark.slow
def test_run_command_interrupt_exits_130_and_keeps_records(checkpoint, short_world, tmp_path):
    """A real interrupt in a separate process: running streams finish, the others do not start."""
    out = tmp_path / "run"
    command = [sys.executable, "-c", "from prospect_eval.cli.commands import prospect_eval; prospect_eval()", "run", "--ckpt", checkpoint, "--data", short_world.root,
               "--streams", "1", "--output", out]  # fmt: skip
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not list((out / "episodes").glob("*.json")) and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "interrupted; run the same command again to continue" in error
    assert 1 <= len(list_run_folder_record_files(out)) < len(list(short_world.episodes("test")))
    assert not (out / "DONE.json").exists()
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0
    assert " reused, 0 failed" in done.stdout
    assert ", 0 reused" not in done.stdout
    assert (out / "DONE.json").is_file()


POOL = """
import time
from prospect_core.parallel.process_pool import open_process_pool
if __name__ == "__main__":
    with open_process_pool(2) as workers:
        list(workers.map(abs, range(2)))
        waiting = [workers.submit(time.sleep, 60) for _ in range(4)]
        print("here", flush=True)
        time.sleep(60)
"""


def test_worker_processes_end_with_killed_parent(tmp_path):
    """A killed `prospect data` left two processes that continued to generate videos."""
    script = tmp_path / "script.py"
    script.write_text(POOL)
    with running("import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')", script) as parent:
        workers = [c for c in psutil.Process(parent.pid).children(recursive=True)]
        assert len(workers) >= 2
        parent.kill()
        parent.wait()
        assert psutil.wait_procs(workers, timeout=10)[1] == []


def test_atomic_folder_is_complete_or_absent(tmp_path):
    root = tmp_path / "set"
    with pytest.raises(TypeError), atomic_folder(root) as scratch:
        (scratch / "half").write_text(None)
    assert list(tmp_path.iterdir()) == []
    # leftovers of a killed process do not matter and are not in the result
    (tmp_path / ".set.part").mkdir()
    (tmp_path / ".set.part" / "old").write_text("x")
    with atomic_folder(root) as scratch:
        (scratch / "new").write_text("x")
        assert not root.exists()
    assert [f.name for f in tmp_path.iterdir()] == ["set"]
    assert [f.name for f in root.iterdir()] == ["new"]
    with (
        pytest.raises(UserError, match="already exists; choose another folder or delete it first"),
        atomic_folder(root),
    ):
        pass


MAKES = """
import sys, time
from pathlib import Path
from prospect_core.util.atomic import atomic_folder
with atomic_folder(Path(sys.argv[1])) as scratch:
    print("here", flush=True)
    time.sleep(1)
    (scratch / "theirs").touch()
print("made", flush=True)
"""


def test_atomic_folder_two_writers_wait(tmp_path):
    root = tmp_path / "set"
    with running(MAKES, root) as other:
        with pytest.raises(UserError, match="already exists"), atomic_folder(root):
            pass
        assert other.wait(10) == 0
    assert [f.name for f in root.iterdir()] == ["theirs"]


@pytest.mark.slow
def test_replay_threads_batches_order_change_nothing(checkpoint, short_world, tmp_path, monkeypatch):
    """Every replay encodes its videos again, with other batch sizes, numbers of threads and order."""
    import torch

    from prospect_core.features import feature_cache
    from prospect_core.records import digest_records
    from prospect_eval.models.base import PredictorOptions
    from prospect_eval.models.registry import open_registered_predictor

    # of two videos
    episodes = list(short_world.episodes("test"))[1:5]
    digests, threads = set(), torch.get_num_threads()
    for number, (count, streams, batch, order) in enumerate(
        [(1, 1, 64, 1), (2, 1, 64, 1), (1, 4, 7, 1), (2, 3, 16, -1)]
    ):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"cache{number}"))
        monkeypatch.setattr(feature_cache, "ENCODE_BATCH", batch)
        torch.set_num_threads(count)
        try:
            predictor = open_registered_predictor(
                str(checkpoint), short_world, episodes, PredictorOptions(streams=streams)
            )
            records = [result[0] for _, result in predictor.predict(episodes[::order])]
        finally:
            torch.set_num_threads(threads)
        assert any(record.utterances for record in records)
        digests.add(digest_records(records))
    assert len(digests) == 1


def test_run_folder_partial_files_are_removed(world, tmp_path):
    episodes, out = list(world.episodes("test")), tmp_path / "run"
    execute_run(out, config(), interrupting(episodes, -1), episodes)
    (out / ".metrics.json.abc123").write_text("{")
    (out / "episodes" / ".e.json.abc123").write_text("{")
    whole = list_run_folder_record_files(out)
    execute_run(out, config(), interrupting(episodes, -1), episodes)
    assert [f.name for f in out.rglob(".*")] == [LOCK]
    assert list_run_folder_record_files(out) == whole


def test_run_folder_interrupted_scoring_is_not_done(short_world, tmp_path, monkeypatch):
    """A folder was treated as finished if scoring was killed between two derived files."""
    out = tmp_path / "run"
    assert evaluate("run", "--ckpt", "baseline:oracle", "--data", short_world.root, "--output", out) == 0

    def killed(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("prospect_eval.report.pages.run_page.write_run_page", killed)
    assert evaluate("score", out) == 130
    assert not (out / "DONE.json").exists()
    monkeypatch.undo()
    assert evaluate("score", out) == 0
    assert (out / "DONE.json").is_file()
