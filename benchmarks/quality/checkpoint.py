"""Measure the released checkpoint, models with ablated inputs, and context strategies.

    make bench-checkpoint
    python -m benchmarks.quality.checkpoint --models runs/workbench --output reports/checkpoint/checkpoint.json

Every number comes from a run folder of `prospect-eval run`, so an interrupted benchmark resumes.
``--models`` is a folder with checkpoints named ``without-pictures``, ``without-steps`` and so on:
each is the last stage of `ABLATED=pictures benchmarks/recipes/workbench_tiny/train.sh FOLDER`.
Missing ones are skipped. The last line of output is one JSON object with metrics by model, and
strategies by ``NAME@BUDGET``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prospect_core.util.atomic import write_atomic
from prospect_core.util.json_io import dump_json, read_json
from prospect_eval.analysis.compare import compare_runs
from prospect_eval.metrics import all_metrics
from prospect_eval.metrics.resources import make_scoring_resources
from prospect_eval.runs.environment import collect_run_environment

SHIPPED = "workbench-tiny"
WITHOUT = ("pictures", "steps", "state", "past")
SHOWN = ("speaking_event_f1@2s", "proactive_event_f1@1s", "matched_f1", "content_accuracy", "dst_jga", "dst_head_jga",
         "transition_f1@2s", "answer_accuracy@present", "answer_accuracy@past", "answer_accuracy@remainder",
         "cache_peak_tokens", "compressions")  # fmt: skip
STRATEGIES = ("drop_all", "summarize_and_drop", "summarize_with_dst", "dst_refresh", "drop_middle", "uniform", "keydiff",
              "value_norm", "tar")  # fmt: skip
SHARES = (1, 0.5, 0.25, 0.125)
PARTS = ("models", "strategies", "long")
FRESH_SEED = 20261125
#: metrics by which a strategy is compared with ``none``
KEPT = (
    "dst_head_jga",
    "answer_accuracy@past",
    "answer_accuracy@remainder",
    "content_accuracy",
    "matched_f1",
    "dst_jga",
)


class Bench:
    """Run folders below one folder.

    Args:
        runs: Parent of the run folders.
        limit: Maximum number of episodes per run; all if None.
    """

    def __init__(self, runs: Path, limit: int | None) -> None:
        self.runs, self.limit = runs, limit

    @property
    def limited(self) -> list[str]:
        """The command-line option that limits the number of episodes."""
        return ["--limit", str(self.limit)] if self.limit else []

    def run(self, name: str, ckpt: str, *options: str) -> Path:
        """Return the scored run folder of a model; make or resume the run if it is not finished.

        Args:
            name: Name of the run folder.
            ckpt: Checkpoint.
            *options: Further options of `prospect-eval run`.
        """
        folder = self.runs / name
        if not (folder / "DONE.json").is_file():
            command = [tool("prospect-eval"), "run", "--ckpt", ckpt, "--output", str(folder)]
            subprocess.run([*command, *options, *self.limited], check=True, stdout=sys.stderr)
        return folder

    def shown(self, folder: Path) -> dict[str, Any]:
        """Return the main metrics of a run with their intervals."""
        table = read_json(folder / "metrics.json")["metrics"]
        return {name: {key: table[name][key] for key in ("value", "ci95", "n_videos")} for name in SHOWN}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and print one JSON object.

    Args:
        arguments: Command-line arguments; those of the process if None.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs/bench-checkpoint"))
    parser.add_argument("--models", type=Path, help="folder with without-pictures, without-steps, ...")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--limit", type=int, help="episodes a run, to try it out")
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--strategies", nargs="+", default=STRATEGIES, help="[default: all]")
    parser.add_argument(
        "--shares", nargs="+", type=float, default=SHARES, help="of the peak of none [default: 1 to 1/8]"
    )
    options = parser.parse_args(arguments)
    bench = Bench(options.runs, options.limit)
    suite = ("--suite", "workbench", "--split")
    plain = bench.run("test", SHIPPED, *suite, "test")
    result: dict[str, Any] = {SHIPPED: bench.shown(plain)}
    if "models" in options.parts:
        result |= models(bench, options.models, plain)
    if "strategies" in options.parts:
        result["strategies"] = strategies(bench, "test", options.strategies, options.shares)
    if "long" in options.parts:
        result["strategies on test_long"] = strategies(bench, "test_long", options.strategies, options.shares)
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        command = " ".join(["python -m benchmarks.quality.checkpoint", *sys.argv[1:]])
        body = {"command": command, "environment": collect_run_environment(), **result}
        write_atomic(options.output, dump_json(body, indent=1) + "\n")
    print(json.dumps(result))


def models(bench: Bench, folder: Path | None, plain: Path) -> dict[str, Any]:
    """Evaluate the released checkpoint on fresh and unseen data, and the models with ablated inputs.

    Args:
        bench: Run folders.
        folder: Folder with the models with ablated inputs, if any.
        plain: Run of the released checkpoint on test.
    """
    fresh = bench.runs / "fresh-data"
    if not fresh.exists():
        command = [tool("prospect"), "data", "workbench", "--output", str(fresh)]
        counts = ["--train", "0", "--val", "0", "--test", "60", "--seed", str(FRESH_SEED)]
        subprocess.run([*command, *counts], check=True, stdout=sys.stderr)
    suite = ("--suite", "workbench", "--split")
    out = {
        f"{SHIPPED} fresh": bench.shown(bench.run("fresh", SHIPPED, "--data", str(fresh))),
        f"{SHIPPED} test_ood": bench.shown(bench.run("test_ood", SHIPPED, *suite, "test_ood")),
    }
    for lacked in WITHOUT:
        ckpt = folder / f"without-{lacked}" if folder else None
        if ckpt is None or not ckpt.is_dir():
            print(f"without {lacked}: no checkpoint, left out", file=sys.stderr)
            continue
        run = bench.run(f"without-{lacked}", str(ckpt), *suite, "test")
        out[f"without {lacked}"] = bench.shown(run) | {"against": differences(plain, run, SHOWN)}
    return out


def strategies(bench: Bench, split: str, names: Sequence[str], budgets: Sequence[float]) -> dict[str, Any]:
    """Evaluate every strategy at shares of the peak cache of ``none``.

    Args:
        bench: Run folders.
        split: Split of the workbench.
        names: Names of the strategies.
        budgets: Shares of the peak; a budget is never below the need of the longest task.
    """
    root = bench.runs / f"strategies-{split}"
    shares = ",".join(map(str, budgets))
    command = [tool("prospect-eval"), "sweep", "--ckpt", SHIPPED, "--suite", "workbench", "--split", split]
    grid = ["--strategies", ",".join(("none", *names)), "--budgets", shares, "--output", str(root)]
    subprocess.run([*command, *grid, *bench.limited], check=True, stdout=sys.stderr)
    runs = read_json(root / "sweep.json")["runs"]
    plain = root / next(run["folder"] for run in runs if run["strategy"] == "none")
    peak = read_json(plain / "metrics.json")["metrics"]["cache_peak_tokens"]["value"]
    out = {"none": bench.shown(plain)}
    for run in runs:
        if run["strategy"] != "none":
            folder = root / run["folder"]
            out[f"{run['strategy']}@{run['budget']}"] = bench.shown(folder) | {
                "share_of_peak": round(run["budget"] / peak, 3),
                "at_the_floor": run["at_the_floor"],
                "against": differences(plain, folder, KEPT),
            }
    return out


def tool(name: str) -> str:
    """Return the path of one of the project's commands in this environment."""
    return str(Path(sys.executable).with_name(name))


def differences(first: Path, second: Path, names: Sequence[str]) -> dict[str, Any]:
    """Return the paired differences, second minus first, of the named metrics."""
    metrics = [metric for metric in all_metrics(make_scoring_resources()) if metric.name in names]
    (found,) = compare_runs(first, [second], metrics)
    return {d.name: {k: v for k, v in asdict(d).items() if k != "name"} for d in found.differences}


if __name__ == "__main__":
    main()
