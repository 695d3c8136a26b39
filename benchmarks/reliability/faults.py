"""The drill: kills, damaged files, long streams. The last line is one JSON object.

    make bench-faults
    python -m benchmarks.reliability.faults --kills 50 --inputs 200000 --hours 12 --episodes 1000 --output reports/faults.json

``kills`` of evaluations at random moments, each started again: ``episodes_lost`` and ``episodes_redone`` of those that were
finished, and whether all that a chain of starts ended with is ``identical``, to the byte, to an uninterrupted run's
(`benchmarks.reliability.crash`; trainings likewise, in ``training``). ``fuzzed`` inputs through every reader, of which ``tracebacks`` were
no one-line error and ``hangs`` took seconds (`benchmarks.reliability.fuzz`). Memory and files over hours of stream and a thousand
episodes (`benchmarks.reliability.soak`).
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

#: of a run that is killed: enough episodes that some are finished and some are not
VIDEOS, FRAMES = 4, 60


def small(folder: Path) -> Dataset:
    """A few short episodes to replay and to train on."""
    made = generate_workbench(folder / "made", 5, {"train": 2, "test": VIDEOS})
    splits = {
        split: [replace(e.window(e.start_frame, e.start_frame + FRAMES), id=e.id) for e in made.episodes(split)]
        for split in made.splits
    }
    return write_dataset(made.root, "drill", "1", 2, splits)


def main() -> None:
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
