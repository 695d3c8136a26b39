"""Measure how evaluation and data loading scale with workers, episodes, hours and bytes.

    make bench-scale
    python -m benchmarks.performance.scale --episodes 200 --rows 100000 --gigabytes 20 --output reports/scale/scale.json

* ``ray_speedup``: two workers of a local Ray cluster compared with one process with one thread,
  over the same episodes. Each run starts without stored features and includes its start-up time.
* ``cores_speedup``: speed-up of two independent processes on this machine, the upper bound for any
  division of the work.
* ``kill_identical``: whether a run whose worker is killed with SIGKILL halfway gives the same
  predictions.
* ``index_open_s``, ``index_mb``: seconds and memory to open a split of ``--rows`` episodes.
* ``stream_rss_mb``: peak memory while ``--gigabytes`` of stored features are read.
* ``strong``, ``weak``: strong and weak scaling on this machine's cores.

The last line of output is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from benchmarks.performance.cost import Profile, page, profile
from benchmarks.performance.scale_data import open_many, stream_much
from prospect_core.data.dataset import Dataset
from prospect_core.workbench.generate import generate_workbench
from prospect_eval.runs.environment import collect_run_environment

#: bytes of a frame of the released checkpoint: 4 tokens of 192 numbers, 4 bytes each
FEATURE_BYTES = 4 * 4 * 192


class Runs:
    """Replays of one data set, each in separate processes with its own feature store.

    Args:
        folder: Parent of the run folders and caches.
        ckpt: Checkpoint to replay.
        data: Folder of the data set.
    """

    def __init__(self, folder: Path, ckpt: str, data: Path) -> None:
        self.folder, self.ckpt, self.data = folder, ckpt, data

    def run(self, name: str, limit: int, *given: str, kill_after: float | None = None) -> dict[str, Any]:
        """Replay ``limit`` episodes in a new process.

        Args:
            name: Name of the run folder.
            limit: Number of episodes.
            *given: Further options of `scale_replay`.
            kill_after: Share of the episodes after which one worker is killed, 0 to 1.

        Returns:
            Wall seconds, number of killed workers and the figures that `scale_replay` prints.

        Raises:
            SystemExit: If the replay fails.
        """
        out = self.folder / name
        env = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(self.folder / f"{name}-cache")}
        command = [
            sys.executable,
            "-m",
            "benchmarks.performance.scale_replay",
            self.ckpt,
            str(self.data),
            str(limit),
            str(out),
            *given,
        ]
        begin = time.monotonic()
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
        killed = self._kill(process.pid, out, round(limit * kill_after)) if kill_after else 0
        told = process.communicate()[0]
        if process.returncode:
            raise SystemExit(f"{' '.join(command)}: exit {process.returncode}")
        return {"seconds": round(time.monotonic() - begin, 2), "killed": killed, **json.loads(told.splitlines()[-1])}

    def _kill(self, driver: int, out: Path, after: int) -> int:
        while len(list((out / "episodes").glob("*.json"))) < after:
            time.sleep(0.05)
        # only Ray's actors hold a model
        actors = [p for p in psutil.Process(driver).children(recursive=True) if "Actor" in " ".join(_command(p))]
        os.kill(actors[0].pid, signal.SIGKILL)
        return 1


def _command(process: psutil.Process) -> list[str]:
    try:
        command: list[str] = process.cmdline()
    except psutil.Error:
        return []
    return command


def scaling(folder: Path, ckpt: str, data: Path, episodes: int) -> dict[str, Any]:
    """Make every run that the scaling figures need.

    Runs never overlap, except for the pair that measures ``cores_speedup``.
    """
    runs = Runs(folder, ckpt, data)
    half = episodes // 2
    alone = runs.run("alone", episodes)
    alone_half = runs.run("alone-half", half)
    ray, one = ("--backend", "ray"), ("--backend", "ray", "--workers", "1")
    ray_two = runs.run("ray-2", episodes, *ray, "--workers", "2")
    ray_one = runs.run("ray-1", half, *one)
    local_two = runs.run("local-2", episodes, "--workers", "2")
    with ThreadPoolExecutor(2) as pool:
        both = [run["seconds"] for run in pool.map(lambda name: runs.run(name, half), ("side-a", "side-b"))]
    killed = runs.run("killed", episodes, *ray, "--workers", "2", kill_after=0.4)
    digests = {run["digest"] for run in (alone, ray_two, local_two, killed)}
    return {
        "ray_speedup": round(alone["seconds"] / ray_two["seconds"], 3),
        "process_speedup": round(alone["seconds"] / local_two["seconds"], 3),
        "cores_speedup": round(2 * alone_half["seconds"] / max(both), 3),
        "kill_identical": len(digests) == 1 and killed["episodes"] == episodes and killed["killed"] == 1,
        # strong: the same work on more workers; weak: the same work per worker
        "strong": {"1": alone["seconds"], "2": ray_two["seconds"]},
        "weak": {"1": ray_one["seconds"], "2": ray_two["seconds"]},
        "by_episodes": {str(half): alone_half["seconds"], str(episodes): alone["seconds"]},
        "episodes": episodes,
        "cost": asdict(profile(folder / "alone", FEATURE_BYTES)),
        "runs": {"alone": alone, "ray-2": ray_two, "local-2": local_two, "killed": killed, "ray-1": ray_one},
    }


def main() -> None:
    """Run the selected parts, write the results to ``--output`` and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ckpt", default="workbench-tiny")
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--gigabytes", type=float, default=20)
    parser.add_argument("--data", type=Path, help="Test videos; without it they are generated with `--seed 21`.")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.rows:
            result |= open_many(folder / "many", options.rows)
            print(result, file=sys.stderr, flush=True)
        if options.gigabytes:
            result |= stream_much(folder / "much", options.gigabytes)
            print(result, file=sys.stderr, flush=True)
        if options.episodes:
            # the workbench makes three dialogues per video
            root = options.data or generate_workbench(folder / "world", 21, {"test": -(-options.episodes // 3)}).root
            result |= scaling(folder, options.ckpt, Dataset.open(root).root, options.episodes)
    if options.output:
        from benchmarks.performance.scale_figure import draw

        options.output.parent.mkdir(parents=True, exist_ok=True)
        command = " ".join(["python -m benchmarks.performance.scale", *sys.argv[1:]])
        body: dict[str, Any] = {**result, "command": command, "environment": collect_run_environment()}
        options.output.write_text(json.dumps(body, indent=1) + "\n")
        if options.episodes:
            draw(result, options.output.parents[1] / "assets" / "scaling.png")
            text = page(Profile(**result["cost"]), f"`{command}`, {body['environment']['processor']}, one thread")
            options.output.with_name("cost.md").write_text(text)
    print(json.dumps({key: value for key, value in result.items() if key != "runs"}))


if __name__ == "__main__":
    main()
