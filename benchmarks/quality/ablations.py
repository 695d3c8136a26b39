"""Measure the contribution of each choice of the training recipe: short trainings with one change each.

    make bench-ablations BASE=runs/workbench/5-both DATA=runs/workbench/data/world
    python -m benchmarks.quality.ablations --base runs/workbench/5-both --data runs/workbench/data/world --output reports/ablations.json

``--base`` is the checkpoint of the fifth stage of `benchmarks/recipes/workbench_tiny/train.sh`,
which does not track states yet. Each variant trains it for the same number of steps. The evaluation
is a closed-loop replay of the suite's val videos (never test) at thresholds of 0.5. Every variant
is compared with the first one, paired by video. The second variant differs from the first by its
seed alone, so its difference shows the effect of chance. Existing results are reused. The last line
of output is one JSON object with metrics by variant.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.quality.checkpoint import differences, tool
from prospect_core.util.atomic import write_atomic
from prospect_core.util.json_io import dump_json, read_json
from prospect_eval.runs.environment import collect_run_environment

#: settings of the last stage of train.sh
RECIPE = (
    "sampling=all", "sampling.summary_share=0", "sampling.min_frames=20", "sampling.max_frames=420", "sampling.event_share=0.5",
    "sampling.context_noise.missed=0.02", "sampling.context_noise.late=0.05", "sampling.context_noise.wrong=0.1", "sampling.context_noise.early=0.5",
    "sampling.context_noise.unsaid=0.05", "loss.state.weight=4", "optimiser=muon", "model.vision_tower=frozen",
    "eval.thresholds=false", "train.precision=bfloat16",
)  # fmt: skip
NOISE_KINDS = ("missed", "late", "wrong", "early", "unsaid")
VARIANTS: dict[str, tuple[str, ...]] = {
    "as the recipe": (),
    "another seed": ("train.seed=1",),
    "loss on some frames (sampling=default)": ("sampling=default",),
    "three silent frames an event (sampling=balanced)": ("sampling=balanced",),
    "short and easy first (curriculum)": ("sampling.curriculum={start: 0.3, until: 0.5}",),
    "windows anywhere (event_share=0)": ("sampling.event_share=0",),
    "short windows (8 to 32 frames)": ("sampling.min_frames=8", "sampling.max_frames=32"),
    "states always shown (blank_share=0)": ("sampling.blank_share=0",),
    "no slips": tuple(f"sampling.context_noise.{name}=0" for name in NOISE_KINDS),
    "plain cross-entropy (loss=plain)": ("loss=plain",),
    "focal after the label rate (loss=dynamic)": ("loss=dynamic",),
    "weights by uncertainty (loss=uncertainty)": ("loss=uncertainty",),
    "weights by gradient norm (loss=gradnorm)": ("loss=gradnorm",),
}
SHOWN = ("speaking_event_f1@2s", "speaking_ap", "matched_f1", "content_accuracy", "dst_jga", "dst_head_jga",
         "transition_f1@2s", "update_ap")  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and print one JSON object.

    Args:
        arguments: Command-line arguments; those of the process if None.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", required=True, help="checkpoint that every variant begins from")
    parser.add_argument("--data", required=True, type=Path, help="training videos")
    parser.add_argument("--runs", type=Path, default=Path("runs/bench-ablations"))
    parser.add_argument("--steps", type=int, default=140)
    parser.add_argument("--processes", type=int, default=1 if torch.accelerator.is_available() else 2)
    parser.add_argument(
        "--only", nargs="+", type=int, metavar="N", help="these variants, counted from 0 [default: all]"
    )
    parser.add_argument("--limit", type=int, help="episodes a run, to try it out")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(arguments)
    result: dict[str, Any] = {}
    first: Path | None = None
    for number, (name, changes) in enumerate(VARIANTS.items()):
        if options.only and number not in options.only:
            continue
        folder = options.runs / f"{number:02d}"
        train(folder / "model", changes, options)
        run = replay(folder, options)
        table = read_json(run / "metrics.json")["metrics"]
        result[name] = {key: {k: table[key][k] for k in ("value", "ci95", "n_videos")} for key in SHOWN}
        if first is None:
            first = run
        else:
            result[name]["against"] = differences(first, run, SHOWN)
        print(name, {key: result[name][key]["value"] for key in SHOWN}, file=sys.stderr, flush=True)
    if options.output:
        command = " ".join(["python -m benchmarks.quality.ablations", *sys.argv[1:]])
        body = {
            "command": command,
            "environment": collect_run_environment(),
            "steps": options.steps,
            "variants": result,
        }
        options.output.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(options.output, dump_json(body, indent=1) + "\n")
    print(json.dumps(result))


def train(output: Path, changes: Sequence[str], options: argparse.Namespace) -> None:
    """Train one variant with ``options.steps`` steps of eight windows, divided among the processes.

    Args:
        output: Output folder of the training; a finished one is kept.
        changes: Settings that differ from the recipe, as KEY=VALUE.
        options: Options of the command.
    """
    if (output / "model.safetensors").is_file():
        return
    many = ("torch.distributed.run", "--standalone", "--nproc-per-node", str(options.processes))
    own = (f"data={options.data}", f"init={options.base}", f"output={output}", f"train.max_steps={options.steps}",
           f"train.batch_size={8 // options.processes}", *RECIPE)  # fmt: skip
    # a variant's value replaces the recipe's, because a key may be given once
    chosen = {override.split("=", 1)[0]: override for override in (*own, *changes)}
    command = [sys.executable, "-m", *many, "-m", "prospect_core.cli", "train", *chosen.values()]
    subprocess.run(command, check=True, stdout=sys.stderr, env={**os.environ, "OMP_NUM_THREADS": "1"})


def replay(folder: Path, options: argparse.Namespace) -> Path:
    """Replay and score a variant over val; return the run folder."""
    run = folder / "val"
    if not (run / "DONE.json").is_file():
        command = [tool("prospect-eval"), "run", "--ckpt", str(folder / "model"), "--output", str(run)]
        limit = ["--limit", str(options.limit)] if options.limit else []
        suite = ["--suite", "workbench", "--split", "val", "--workers", str(options.processes)]
        subprocess.run([*command, *suite, *limit], check=True, stdout=sys.stderr)
    return run


if __name__ == "__main__":
    main()
