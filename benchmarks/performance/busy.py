"""Measure how much longer a replay takes while other processes keep every core busy.

    python -m benchmarks.performance.busy --episodes 16

Each round runs `prospect-eval run` twice over stored features: on an idle machine, and next to one
busy process per core. Under fair sharing the second run gets half of the machine, so the expected
ratio is 2. Seconds are medians over the rounds. The last line of output is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prospect_core.util.processes import count_cores


@contextmanager
def busy_processes(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run ``count`` processes that each keep one core busy; end them on exit."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def busy_ratio(episodes: int, rounds: int) -> dict[str, Any]:
    """Measure replay seconds on a busy machine relative to an idle one.

    Args:
        episodes: Number of episodes that each replay covers.
        rounds: Number of idle and busy replays.

    Returns:
        ``busy_ratio`` (median busy seconds / median idle seconds) and the seconds of every round.
    """
    idle, busy = [], []
    with tempfile.TemporaryDirectory() as folder:
        _replay(Path(folder) / "first", episodes)
        for number in range(rounds):
            idle.append(_replay(Path(folder) / f"idle{number}", episodes))
            with busy_processes(count_cores()):
                busy.append(_replay(Path(folder) / f"busy{number}", episodes))
            print(f"busy, round {number + 1}: {busy[-1]:.1f} s against {idle[-1]:.1f} s", flush=True)
    seconds = {"idle": [round(s, 1) for s in idle], "busy": [round(s, 1) for s in busy], "episodes": episodes}
    return {"busy_ratio": round(statistics.median(busy) / statistics.median(idle), 2), "busy": seconds}


def _replay(output: Path, episodes: int) -> float:
    """Return the wall seconds of one `prospect-eval run` command."""
    command = [str(Path(sys.executable).with_name("prospect-eval")), "run", "--ckpt", "workbench-tiny", "--suite", "workbench",
               "--limit", str(episodes), "--output", str(output)]  # fmt: skip
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begin


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    print(json.dumps(busy_ratio(options.episodes, options.rounds)))


if __name__ == "__main__":
    main()
