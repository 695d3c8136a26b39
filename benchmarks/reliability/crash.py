"""Kill runs and trainings at random moments and restart them until they finish.

A chain is one run folder with its own empty cache: the command starts, is killed with SIGKILL after
a random part of the time of an uninterrupted run, and starts again until one start finishes. Every
result derived from the model must then equal that of an uninterrupted run, byte for byte. Before
every start the benchmark notes the files of finished episodes: a file that is missing or unreadable
afterwards counts as lost, a replaced file counts as redone.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prospect_core.records import EpisodeRecord
from prospect_core.util.errors import DataError
from prospect_core.util.json_io import load_json

EVAL = [sys.executable, "-c", "from prospect_eval.cli.commands import prospect_eval; prospect_eval()"]
TRAIN = [sys.executable, "-m", "prospect_core.cli", "train"]
#: files of a run folder that do not vary from run to run
SAME = ("metrics.json", "counts.json", "frames.parquet", "DONE.json")


def start(command: Sequence[str], cache: Path, threads: int = 1) -> subprocess.Popen[str]:
    """Start a command in its own session with its own cache folder."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": str(threads)}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def contents(folder: Path) -> dict[str, str]:
    """Return {file: sha256} of a run folder's records and of the files derived from them."""
    files = [folder / name for name in SAME] + sorted((folder / "episodes").glob("*.json"))
    return {
        str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() if f.is_file() else "none" for f in files
    }


def finished(folder: Path) -> dict[str, tuple[int, int]]:
    """Return {record file: (inode, modification time in ns)} of the complete episodes on disk."""
    out = {}
    for file in (folder / "episodes").glob("[!.]*.json"):
        try:
            load_json(EpisodeRecord, file.read_bytes(), str(file))
        except DataError:
            continue
        out[file.name] = (file.stat().st_ino, file.stat().st_mtime_ns)
    return out


def moment(folder: Path, began: float) -> str:
    """Name the stage in which a run was killed, by the files that it has written.

    Args:
        folder: Run folder.
        began: Start time of the run, in seconds since the epoch.
    """

    def written(name: str) -> bool:
        file = folder / name
        return file.is_file() and file.stat().st_mtime >= began

    if not (folder / "run.json").is_file():
        return "before the first frame"
    if written("DONE.json"):
        return "after the end"
    for name, what in (
        ("report.html", "end"),
        ("frames.parquet", "report"),
        ("metrics.json", "frames"),
        ("counts.json", "metrics"),
    ):
        if written(name):
            return what
    if any(written(f"episodes/{file.name}") for file in (folder / "episodes").glob("*.json")):
        return "replay, or scoring"
    return "decoding, or reading what is there"


def kill_runs(ckpt: str, data: Path, kills: int, seed: int = 0) -> dict[str, Any]:
    """Kill evaluations ``kills`` times; see the module's description.

    Args:
        ckpt: Checkpoint to evaluate.
        data: Folder of the data set.
        kills: Number of kills.
        seed: Random seed of the moments.

    Raises:
        DataError: If the uninterrupted run, or a start after a kill, fails.
    """
    rng = random.Random(seed)
    total: Counter[str] = Counter()
    moments: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        command = [*EVAL, "run", "--ckpt", ckpt, "--data", str(data), "--output"]
        begin = time.monotonic()
        whole = start([*command, str(place / "whole")], place / "cache")
        error = whole.communicate()[1]
        if whole.returncode:
            raise DataError(f"the uninterrupted run failed: {error}")
        seconds = time.monotonic() - begin
        expected = contents(place / "whole")
        identical, chain = True, 0
        while total["kills"] < kills:
            chain += 1
            folder, cache = place / f"chain{chain}", place / f"cache{chain}"
            while True:
                before, began = finished(folder), time.time()
                process = start([*command, str(folder)], cache)
                try:
                    # a wait beyond the run time lets some starts finish, so
                    # that chains end
                    wait = rng.uniform(0.02, 1.0 if total["kills"] < kills else 100) * seconds
                    _, error = process.communicate(timeout=wait)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.communicate()
                    total["kills"] += 1
                    moments[moment(folder, began)] += 1
                after = finished(folder)
                total["lost"] += len(before.keys() - after.keys())
                total["redone"] += sum(after[name] != mark for name, mark in before.items() if name in after)
                if process.returncode == 0:
                    identical &= contents(folder) == expected
                    break
                if process.returncode > 0:
                    raise DataError(f"a start after a kill failed: {error}")
    return {
        "kills": total["kills"], "episodes_lost": total["lost"], "episodes_redone": total["redone"],
        "identical": identical, "chains": chain, "moments": dict(moments.most_common()), "uninterrupted_s": round(seconds, 1),
    }  # fmt: skip


def kill_trainings(data: Path, kills: int, seed: int = 0) -> dict[str, Any]:
    """Kill a small training ``kills`` times; weights and log must equal those of an uninterrupted one.

    Args:
        data: Folder of the data set.
        kills: Number of kills.
        seed: Random seed of the moments.

    Raises:
        DataError: If the uninterrupted training, or a start after a kill, fails.
    """
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        command = [*TRAIN, f"data={data}", "train.max_steps=24", "train.minutes=null", "train.save_every=4", "train.batch_size=2",
                   "sampling.max_frames=12", "eval.thresholds=false", "model.tokens_per_frame=1", "model.vision.image_size=32",
                   "model.vision.layers=1", "model.text.layers=2", "train.log_every=1"]  # fmt: skip
        begin = time.monotonic()
        whole = start([*command, f"output={place / 'whole'}"], place / "cache")
        error = whole.communicate()[1]
        if whole.returncode:
            raise DataError(f"the uninterrupted training failed: {error[-500:]}")
        seconds = time.monotonic() - begin
        done, identical, chains = 0, True, 0
        while done < kills:
            chains += 1
            folder, cache = place / f"chain{chains}", place / f"cache{chains}"
            while True:
                process = start([*command, f"output={folder}"], cache)
                try:
                    wait = rng.uniform(0.3, 1.1) * seconds if done < kills else 100 * seconds
                    _, error = process.communicate(timeout=wait)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.communicate()
                    done += 1
                # a training killed after its last write is complete too
                if process.returncode == 0 or (folder / "config.json").is_file():
                    identical &= trained(folder) == trained(place / "whole")
                    break
                if process.returncode > 0:
                    raise DataError(f"a training after a kill failed: {error[-500:]}")
    return {"kills": done, "identical": identical, "chains": chains, "uninterrupted_s": round(seconds, 1)}


def trained(folder: Path) -> tuple[str, list[Any]]:
    """Return the digest of the weights and the losses by step."""
    rows = [json.loads(line) for line in (folder / "train_log.jsonl").read_text().splitlines()]
    losses = [[row[key] for key in ("step", "speaking", "update", "state", "response")] for row in rows]
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(), losses
