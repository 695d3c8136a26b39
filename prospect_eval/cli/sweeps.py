"""The command that replays or reads many settings: sweep.

prospect-eval sweep --ckpt workbench-tiny --suite workbench_long
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prospect_core.util.console import print_line, progress_bars
from prospect_core.util.errors import DataError, UserError
from prospect_eval.cli.options import (
    Budgets,
    Milliseconds,
    Thresholds,
    add_data_options,
    add_served_model_options,
    take_predictor_options,
)
from prospect_eval.cli.tables import print_pareto_front_table, print_threshold_curves_table

if TYPE_CHECKING:
    from prospect_eval.analysis.sweep import Grid, SweepSetting
    from prospect_eval.runs.evaluation import EvaluationOptions

CLOSED = [0.1, 0.3, 0.5, 0.7, 0.9]
TEST_DATA_NOTE = "note: these curves use test data; choose thresholds on validation data (--split val)"


@click.command("sweep")
@click.argument("folder", required=False, type=click.Path(path_type=Path), metavar="[RUN]")
@click.option("--ckpt", multiple=True, help="Checkpoint folder or name of a released checkpoint. Repeatable.")
@add_data_options
@click.option("--strategies", help="Context strategies, separated by commas [default: the suite's].")
@click.option(
    "--budgets",
    type=Budgets(),
    help="Budgets in tokens or as shares of the unlimited context, such as 600,1/2 [default: the suite's].",
)
@click.option(
    "--closed-loop", is_flag=True, help="Also replay at the speaking thresholds 0.1,0.3,0.5,0.7,0.9, or at those given."
)
@click.option("--speaking", type=Thresholds(), help="Speaking thresholds to replay or evaluate, such as 0.3,0.5.")
@click.option("--update", type=Thresholds(), help="Update thresholds to replay or evaluate, such as 0.3,0.5.")
@click.option(
    "--latency-ms",
    type=Milliseconds(),
    help="Also replay with --clock simulated at these ms per frame, such as 0,100,1000.",
)
@click.option(
    "--quality",
    default="dst_head_jga",
    show_default=True,
    help="Quality metric of the Pareto front, of which higher is better.",
)
@add_served_model_options
@click.option("--dry-run", is_flag=True, help="Print the planned runs and the estimated time, then exit.")
@click.option("--output", type=click.Path(path_type=Path), help="Folder of the runs [default: runs/sweep-CKPT].")
def sweep_command(folder: Path | None, ckpt: tuple[str, ...], dry_run: bool, **given: Any) -> None:
    """Replay a checkpoint under several strategies, budgets, thresholds and latencies.

    Writes a run folder for each setting, and sweep.json and report.html for all. With a RUN instead of --ckpt: evaluate other thresholds on its stored probabilities (open loop, without replaying the
    model) and write thresholds.json to the run folder.
    """
    if not ckpt:
        replays = (
            "closed_loop", "data", "suite", "split", "limit", "output", "strategies", "budgets", "latency_ms", "endpoint",
        )  # fmt: skip
        if folder is None or dry_run or any(given[name] for name in replays):
            raise UserError(
                "sweep without --ckpt reads the stored probabilities of a RUN; give a run folder and no options but"
                " --speaking and --update"
            )
        _open_loop(folder, sorted({*(given["speaking"] or ()), *(given["update"] or ())}))
        return
    if folder is not None:
        raise UserError("sweep takes either --ckpt, with --data or --suite, or a RUN")
    _closed_loop(ckpt, dry_run, given)


def _closed_loop(ckpt: tuple[str, ...], dry_run: bool, given: dict[str, Any]) -> None:
    from prospect_eval.analysis.sweep import FILE, Grid, sweep_checkpoint_folder
    from prospect_eval.api import open_checked_suite
    from prospect_eval.runs.evaluation import EvaluationOptions

    chosen = open_checked_suite(given["suite"])
    speaking, update = given["speaking"], given["update"]
    moved = {"speaking": speaking or (CLOSED if given["closed_loop"] and not update else []), "update": update or []}
    slow = {"latency": given["latency_ms"]} if given["latency_ms"] else {}
    strategies = given["strategies"]
    names = tuple(dict.fromkeys(strategies.split(","))) if strategies else chosen.strategies
    grid = Grid(ckpt, names, tuple(given["budgets"] or chosen.budgets), moved | slow)
    split = given["split"] or ("val" if any(moved.values()) else chosen.split)
    if split.startswith("test") and any(moved.values()):
        print_line(TEST_DATA_NOTE, err=True)
    root = given["output"] or Path("runs") / f"sweep-{'-'.join(map(sweep_checkpoint_folder, ckpt))}"
    # the runs share the replies of a server: up to the first different decision they ask the same
    predictor = replace(take_predictor_options(given), response_folder=root)
    options = EvaluationOptions(ckpt[0], given["data"], given["suite"], split, given["limit"], predictor=predictor)
    grid.check()
    _require_strategies(grid)
    if dry_run:
        _say_plan(root, grid, options)
        return
    result = {**_replay_grid(root, grid, options, given["quality"]), "split": split}
    _write_sweep(root, FILE, result)


def _require_strategies(grid: Grid) -> None:
    from prospect_core.stream.strategies.registry import find_registered_strategy as check_strategy
    from prospect_eval.analysis.sweep import UNLIMITED

    for name in grid.strategies:
        check_strategy(name, None if name == UNLIMITED else 10**6)


def _say_plan(root: Path, grid: Grid, options: EvaluationOptions) -> None:
    from prospect_eval.cli.dry_run import dry_run_sweep
    from prospect_eval.runs.evaluation import prepare_evaluation

    evaluation = prepare_evaluation(replace(options, strategy="none"))
    for line in dry_run_sweep(root, grid, evaluation.predictor, evaluation.episodes):
        print_line(line)


def _replay_grid(root: Path, grid: Grid, options: EvaluationOptions, quality: str) -> dict[str, Any]:
    from prospect_core.records import ClockSettings, LatencyModel
    from prospect_eval.analysis.sweep import run_sweep
    from prospect_eval.api import score_run
    from prospect_eval.runs.evaluation import prepare_evaluation, replay_evaluation
    from prospect_eval.runs.folder import hold_run_folder

    def least(ckpt: str, strategy: str) -> int:
        predictor = replace(options.predictor, budget=10**6)
        evaluation = prepare_evaluation(replace(options, ckpt=ckpt, strategy=strategy, predictor=predictor))
        budget = evaluation.predictor.least_budget
        return budget(evaluation.episodes) if budget else 0

    def run(setting: SweepSetting, folder: Path) -> None:
        predictor = replace(
            options.predictor,
            budget=setting.budget,
            speaking_threshold=setting.threshold if setting.knob == "speaking" else None,
            update_threshold=setting.threshold if setting.knob == "update" else None,
        )
        asked = replace(options, ckpt=setting.ckpt, strategy=setting.strategy, predictor=predictor, output=folder)
        if setting.knob == "latency" and setting.threshold is not None:
            timing = ClockSettings(latency=LatencyModel(frame_ms=setting.threshold))
            asked = replace(asked, clock="simulated", timing=timing)
        with progress_bars() as advance:
            evaluation = prepare_evaluation(asked, advance)
            with hold_run_folder(folder):
                done = (folder / "DONE.json").is_file()
                name = folder.relative_to(root).as_posix()
                outcome, _ = replay_evaluation(evaluation, lambda what, now, total: advance(name, now, total))
                if outcome.new or not done:
                    score_run(folder)

    return run_sweep(root, grid, run, least, quality)


def _write_sweep(root: Path, name: str, result: dict[str, Any]) -> None:
    from prospect_core.util.atomic import write_atomic
    from prospect_core.util.json_io import dump_json
    from prospect_eval.analysis.pareto_front import ParetoPoint
    from prospect_eval.report.pages.sweep_page import write_sweep_page

    write_atomic(root / name, dump_json(result, indent=1) + "\n")
    page = write_sweep_page(root, result)
    points = [ParetoPoint(**point) for point in result["pareto_front"]["points"]]
    if len(points) > 1:
        print_pareto_front_table({**result["pareto_front"], "points": points})
    for of, curves in result["curves"].items():
        print_threshold_curves_table({"loop": "closed", "of": of, "curves": curves})
    print_line(str((root / name).resolve()))
    print_line(str(page.resolve()))


def _open_loop(folder: Path, thresholds: list[float]) -> None:
    from prospect_core.util.atomic import write_atomic
    from prospect_core.util.json_io import dump_json
    from prospect_eval.analysis.thresholds import GRID, open_loop_thresholds
    from prospect_eval.runs.folder import read_run_folder_records

    config, records = read_run_folder_records(folder)
    result = open_loop_thresholds(records, thresholds or GRID) | {"split": config.split, "model": config.model}
    if not any(result["curves"].values()):
        raise DataError(f"{folder}: the records hold no probabilities; replay the model with sweep --ckpt")
    if config.split.startswith("test"):
        print_line(TEST_DATA_NOTE, err=True)
    write_atomic(folder / "thresholds.json", dump_json(result, indent=1) + "\n")
    print_threshold_curves_table(result)
    print_line(str((folder / "thresholds.json").resolve()))
