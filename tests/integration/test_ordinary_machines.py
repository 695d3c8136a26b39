"""Real machines: umasks, read-only homes, caches of two users, output paths that are not files."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import pytest

from prospect_core.checkpoints.folders import find_checkpoint_folder, require_one_checkpoint_weight_set
from prospect_core.live.sources import WatchLog
from prospect_core.model.published import load_published_model
from prospect_core.util import cache_dir as cache_dir_module
from prospect_core.util.atomic import write_atomic
from prospect_core.util.cache_dir import cache_dir
from prospect_core.util.errors import DataError
from prospect_core.util.json_io import dump_json, read_json
from prospect_eval.text.embeddings import open_embedding_similarity
from tests.helpers.commands import evaluate
from tests.helpers.paths import ROOT

pytestmark = pytest.mark.integration


@pytest.fixture
def umask_002():
    before = os.umask(0o002)
    yield
    os.umask(before)


@pytest.fixture
def locked_home(tmp_path, monkeypatch):
    """A home without write access, also for a superuser: a file is in the place of the folder."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".cache").write_text("no folder", "utf-8")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("PROSPECT_TEMPORARY_CACHE", raising=False)
    cache_dir_module._temporary.cache_clear()
    yield home
    cache_dir_module._temporary.cache_clear()
    os.environ.pop("PROSPECT_TEMPORARY_CACHE", None)


def mode(path):
    return stat.S_IMODE(Path(path).stat().st_mode)


def test_write_atomic_uses_umask(tmp_path, umask_002):
    write_atomic(tmp_path / "a.json", "{}")
    assert mode(tmp_path / "a.json") == 0o664
    os.umask(0o027)
    write_atomic(tmp_path / "b.json", "{}")
    assert mode(tmp_path / "b.json") == 0o640


def test_cache_dir_read_only_falls_back_to_temporary(locked_home, capsys):
    folder = cache_dir()
    assert folder == cache_dir()
    assert "prospect-cache-" in str(folder)
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "set XDG_CACHE_HOME" in line


def test_cache_dir_without_home_is_temporary(locked_home, monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    assert "prospect-cache-" in str(cache_dir())


def test_cache_dir_without_place_names_variable(locked_home, monkeypatch):
    monkeypatch.setattr("tempfile.mkdtemp", lambda **_: (_ for _ in ()).throw(FileNotFoundError("no temporary folder")))
    with pytest.raises(DataError, match="set XDG_CACHE_HOME"):
        cache_dir()


def test_run_command_without_cache_scores_equally(locked_home, short_world, tmp_path, monkeypatch, capsys):
    given = ("run", "--ckpt", "baseline:oracle", "--data", short_world.root, "--limit", 1)
    assert evaluate(*given, "--output", tmp_path / "a") == 0
    assert "set XDG_CACHE_HOME" in capsys.readouterr().err.splitlines()[0]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert evaluate(*given, "--output", tmp_path / "b") == 0
    assert (tmp_path / "a" / "metrics.json").read_bytes() == (tmp_path / "b" / "metrics.json").read_bytes()


def test_write_atomic_keeps_link(tmp_path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / "there" / "target.json")
    for text in ("first", "second"):
        write_atomic(link, text)
        assert link.is_symlink()
        assert (tmp_path / "there" / "target.json").read_text("utf-8") == text


def test_write_atomic_keeps_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_atomic(pipe, "told")
    reader.join(10)
    assert read == [b"told"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.fixture
def device():
    """The path of a character device in a folder without write access, so that a defect cannot
    replace it.
    """
    ours, theirs = os.openpty()
    reader = threading.Thread(target=_drain, args=(ours,), daemon=True)
    reader.start()
    yield Path(os.ttyname(theirs))
    os.close(theirs)
    reader.join(10)
    os.close(ours)


def _drain(handle):
    """Read a terminal's output until it is closed."""
    with suppress(OSError):
        while os.read(handle, 1 << 16):
            pass


def test_write_atomic_keeps_device(device, tmp_path):
    link = tmp_path / "device"
    link.symlink_to(device)
    for path in (device, link):
        before = path.stat()
        write_atomic(path, "nothing")
        assert (path.stat().st_ino, path.stat().st_rdev) == (before.st_ino, before.st_rdev)
    assert link.is_symlink()
    log = WatchLog(link)
    log.write(frame=1)
    log.close()


@pytest.mark.parametrize("kind", ["device", "link to standard output", "standard output"])
def test_show_command_json_to_device(kind, device, short_world, tmp_path):
    # /dev/stdout is such a link
    link = tmp_path / "stdout"
    link.symlink_to("/proc/self/fd/1")
    path = {"device": str(device), "link to standard output": str(link), "standard output": "/dev/fd/1"}[kind]
    assert evaluate("run", "--ckpt", "baseline:oracle", "--data", short_world.root, "--output", tmp_path / "r") == 0
    out = tmp_path / "out.txt"
    command = f"from prospect_eval.cli.commands import prospect_eval; prospect_eval(['show', {str(tmp_path / 'r')!r}, '--json', {path!r}])"
    with out.open("wb") as file:
        where = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", command], stdout=file, stderr=subprocess.PIPE, env=where, timeout=120
        )
    assert (done.returncode, done.stderr) == (0, b"")
    assert stat.S_ISCHR(device.stat().st_mode)
    assert link.is_symlink()
    text = out.read_text("utf-8")
    # the results, followed by the table
    assert ("predictions_digest" in text) == (kind != "device")
    assert "proactive_event_f1@1s" in text.split("predictions_digest")[-1]


def test_page_commands_keep_link_or_device(device, short_world, tmp_path):
    assert evaluate("run", "--ckpt", "baseline:oracle", "--data", short_world.root, "--output", tmp_path / "r") == 0
    (tmp_path / "page.html").symlink_to(tmp_path / "target.html")
    (tmp_path / "terminal").symlink_to(device)
    for name in ("page.html", "terminal"):
        assert evaluate("ls", tmp_path, "--html", tmp_path / name) == 0
        assert (tmp_path / name).is_symlink()
    assert "<html" in (tmp_path / "target.html").read_text("utf-8")
    assert read_json(tmp_path / "r" / "metrics.json")


def test_run_command_resume_other_versions_are_noted(short_world, tmp_path, capsys):
    given = ("run", "--ckpt", "baseline:oracle", "--data", short_world.root, "--output", tmp_path / "r")
    assert evaluate(*given) == 0
    assert "resumed" not in read_json(tmp_path / "r" / "run.json")
    edited = read_json(tmp_path / "r" / "run.json")
    edited["environment"]["versions"] |= {"torch": "2.6.0", "av": "17.0.0"}
    write_atomic(tmp_path / "r" / "run.json", dump_json(edited))
    capsys.readouterr()
    for _ in range(2):
        next((tmp_path / "r" / "episodes").iterdir()).unlink()
        assert evaluate(*given) == 0
    told = capsys.readouterr().err
    assert told.count("note: ") == 1
    assert re.search(r"was started with other versions: .*torch 2\.6\.0 before, \S+ now.*av 17\.0\.0 before", told)
    body = read_json(tmp_path / "r" / "run.json")
    assert body["environment"]["versions"]["torch"] == "2.6.0"
    assert [one["versions"]["av"] for one in body["resumed"]] == [version("av")]


@pytest.mark.parametrize(
    ("names", "sets"),
    [
        (("model.safetensors", "model-00001-of-00002.safetensors"), "model.safetensors, shards of 2"),
        (("model-00001-of-00002.safetensors", "model-00001-of-00003.safetensors"), "shards of 2, shards of 3"),
    ],
)
def test_checkpoint_folder_two_weight_sets_raise(names, sets, tmp_path):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=f"holds two sets of weights .{sets}.; remove one of them"):
        require_one_checkpoint_weight_set(tmp_path)


@pytest.mark.parametrize(
    "names", [("model.safetensors",), ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")]
)
def test_checkpoint_folder_one_weight_set_is_accepted(names, tmp_path):
    for name in (*names, "consolidated.safetensors", "model.safetensors.index.json"):
        (tmp_path / name).touch()
    require_one_checkpoint_weight_set(tmp_path)


def test_loaders_two_weight_sets_raise(tmp_path, short_world, capsys):
    folder = tmp_path / "ckpt"
    shutil.copytree(find_checkpoint_folder("workbench-tiny"), folder)
    (folder / "SHA256SUMS").unlink(missing_ok=True)
    (folder / "model-00001-of-00001.safetensors").touch()
    for ckpt in (folder, f"hf:{folder}"):
        assert evaluate("run", "--ckpt", ckpt, "--data", short_world.root, "--output", tmp_path / "r") == 3
        assert "holds two sets of weights" in capsys.readouterr().err
    with pytest.raises(DataError, match="two sets of weights"):
        load_published_model(str(folder), 4)
    with pytest.raises(DataError, match="two sets of weights"):
        open_embedding_similarity(str(folder))
