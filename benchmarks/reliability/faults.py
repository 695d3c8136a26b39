"""Run the fault drill: kills, corrupt files, long streams.

    make bench-faults
    python -m benchmarks.reliability.faults --kills 50 --inputs 200000 --hours 12 --episodes 1000 --output reports/faults.json

* ``kills``: evaluations killed at random moments and restarted (`benchmarks.reliability.crash`).
  ``episodes_lost`` and ``episodes_redone`` count finished episodes that a kill affected.
  ``identical`` is whether every chain of starts ends with the bytes of an uninterrupted run.
  ``training`` holds the same for trainings.
* ``fuzzed``: inputs given to every reader (`benchmarks.reliability.fuzz`). ``tracebacks`` counts
  inputs that raise anything other than a one-line error; ``hangs`` counts inputs that take seconds.
* ``soak``: memory and files over hours of stream and a thousand episodes
  (`benchmarks.reliability.soak`).

The last line of output is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.reliability.crash import kill_runs, kill_trainings
from benchmarks.reliability.fuzz import fuzz
from benchmarks.reliability.soak import soak
from prospect_core.data.dataset import Dataset, write_dataset
from prospect_core.workbench.generate import generate_workbench
from prospect_eval.runs.environment import collect_run_environment
from prospect_eval.suites.suite import open_suite_data

#: size of a killed run: enough episodes that a kill finds some finished and some not
VIDEOS, FRAMES = 4, 60


def small(folder: Path) -> Dataset:
    """Write a few short episodes for replay and training."""
    made = generate_workbench(folder / "made", 5, {"train": 2, "test": VIDEOS})
    splits = {
        split: [replace(e.window(e.start_frame, e.start_frame + FRAMES), id=e.id) for e in made.episodes(split)]
        for split in made.splits
    }
    return write_dataset(made.root, "drill", "1", 2, splits)


def main() -> None:
    """Run the drill and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ckpt", default="workbench-tiny")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--training-kills", type=int, default=8)
    parser.add_argument("--inputs", type=int, default=200_000)
    parser.add_argument("--hours", type=float, default=12)
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--budget", type=int, default=800)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        data = small(Path(name))
        if options.kills:
            result |= kill_runs(options.ckpt, data.root, options.kills)
            print(result, file=sys.stderr, flush=True)
        if options.training_kills:
            result["training"] = kill_trainings(data.root, options.training_kills)
            print(result["training"], file=sys.stderr, flush=True)
    if options.inputs:
        result |= fuzz(options.inputs)
    if options.hours:
        workbench = open_suite_data("suite:workbench", "test")
        result["soak"] = soak(options.ckpt, workbench, options.hours, options.episodes, options.budget)
    if options.output:
        body = {
            **result,
            "command": " ".join(["python -m benchmarks.reliability.faults", *sys.argv[1:]]),
            "environment": collect_run_environment(),
        }
        options.output.write_text(json.dumps(body, indent=1) + "\n")
    print(json.dumps({key: value for key, value in result.items() if key != "targets"}))


if __name__ == "__main__":
    main()
