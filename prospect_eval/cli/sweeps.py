"""The command that replays or reads many settings: sweep.

prospect-eval sweep --ckpt workbench-tiny --suite workbench_long
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prospect_core.records import AskedDtype
from prospect_core.util.console import progress_bar, say
from prospect_core.util.errors import DataError, UserError
from prospect_eval.cli.options import Budgets, Thresholds, data_options, open_source_with_progress
from prospect_eval.cli.tables import print_curves, print_pareto_front

if TYPE_CHECKING:
    from prospect_eval.analysis.sweep import Grid, SweepSetting

CLOSED = [0.1, 0.3, 0.5, 0.7, 0.9]


@click.command("sweep")
@click.argument("folder", required=False, type=click.Path(path_type=Path), metavar="[RUN]")
@click.option("--ckpt", multiple=True, help="A checkpoint folder or a shipped name; may be given more than once.")
@data_options
@click.option("--strategies", help="With commas between [default: the suite's].")
@click.option("--budgets", type=Budgets(), help="As in 1/2,600 [default: the suite's].")
@click.option("--closed-loop", is_flag=True, help="Replay at speaking thresholds 0.1,0.3,0.5,0.7,0.9, or those given.")
@click.option("--speaking", type=Thresholds(), help="Speaking thresholds to move to.")
@click.option("--update", type=Thresholds(), help="Update thresholds to move to.")
@click.option(
    "--quality", default="dst_head_jga", show_default=True, help="Of the front: any metric of which more is better."
)
@click.option("--dry-run", is_flag=True, help="Tell what would run and about how long it takes.")
@click.option("--output", type=click.Path(path_type=Path), help="Folder of the runs [default: runs/sweep-CKPT].")
def sweep_command(
    folder: Path | None,
    ckpt: tuple[str, ...],
    data: Path | None,
    suite: str | None,
    split: str | None,
    limit: int | None,
    device: str,
    dtype: AskedDtype,
    strategies: str | None,
    budgets: list[float] | None,
    closed_loop: bool,
    speaking: list[float] | None,
    update: list[float] | None,
    quality: str,
    dry_run: bool,
    output: Path | None,
) -> None:
    """Replay --ckpt under strategies, budgets and thresholds: a run folder each, sweep.json over all of them.

    With a RUN instead: what its stored probabilities would have decided at other thresholds (open loop: what the model
    would then have read in its context is not asked), in thresholds.json there.
    """
    if not ckpt:
        if (
            folder is None
            or closed_loop
            or dry_run
            or data
            or suite
            or split
            or limit
            or output
            or strategies
            or budgets
        ):
            raise UserError("sweep without --ckpt reads the probabilities of a RUN: give its folder alone")
        _open_loop(folder, sorted({*(speaking or ()), *(update or ())}))
        return
    if folder is not None:
        raise UserError("sweep --ckpt replays a model: give --data or --suite, and no RUN")
    from prospect_core.util.atomic import write_atomic
    from prospect_core.util.json_io import dump
    from prospect_eval.analysis.pareto_front import ParetoPoint
    from prospect_eval.analysis.sweep import FILE, Grid, name_of
    from prospect_eval.api import open_checked_suite
    from prospect_eval.report.pages.sweep_page import write_sweep

    chosen = open_checked_suite(suite)
    moved = {"speaking": speaking or (CLOSED if closed_loop and not update else []), "update": update or []}
    names = tuple(dict.fromkeys(strategies.split(","))) if strategies else chosen.strategies
    grid = Grid(ckpt, names, tuple(budgets or chosen.budgets), moved)
    split = split or ("val" if any(moved.values()) else chosen.split)
    if split.startswith("test") and any(moved.values()):
        say("a curve over test data is there to be looked at, not to choose a threshold from", err=True)
    root = output or Path("runs") / f"sweep-{'-'.join(map(name_of, ckpt))}"
    result = _replays(root, grid, data, suite, split, limit, device, dtype, quality, dry_run)
    if result is None:
        return
    result["split"] = split
    write_atomic(root / FILE, dump(result, indent=1) + "\n")
    page = write_sweep(root, result)
    if len(result["pareto_front"]["points"]) > 1:
        print_pareto_front(
            {**result["pareto_front"], "points": [ParetoPoint(**point) for point in result["pareto_front"]["points"]]}
        )
    for of, curves in result["curves"].items():
        print_curves({"loop": "closed", "of": of, "curves": curves})
    say(str((root / FILE).resolve()))
    say(str(page.resolve()))


def _open_loop(folder: Path, thresholds: list[float]) -> None:
    from prospect_core.util.atomic import write_atomic
    from prospect_core.util.json_io import dump
    from prospect_eval.analysis.thresholds import GRID, open_loop
    from prospect_eval.runs.folder import read_records

    config, records = read_records(folder)
    result = open_loop(records, thresholds or GRID) | {"split": config.split, "model": config.model}
    if not any(result["curves"].values()):
        raise DataError(f"{folder}: its records hold no probabilities; sweep --ckpt replays instead")
    if config.split.startswith("test"):
        say("a curve over test data is there to be looked at, not to choose a threshold from", err=True)
    write_atomic(folder / "thresholds.json", dump(result, indent=1) + "\n")
    print_curves(result)
    say(str((folder / "thresholds.json").resolve()))


def _replays(
    root: Path,
    grid: Grid,
    data: Path | None,
    suite: str | None,
    split: str,
    limit: int | None,
    device: str,
    dtype: AskedDtype,
    quality: str,
    dry_run: bool,
) -> dict[str, Any] | None:
    from prospect_core.stream.strategies.registry import strategy as check_strategy
    from prospect_eval.analysis.sweep import UNLIMITED, run_sweep
    from prospect_eval.api import score_run
    from prospect_eval.cli.dry_run import sweep_plan
    from prospect_eval.models.base import PredictorOptions
    from prospect_eval.models.registry import open_predictor
    from prospect_eval.runs.environment import code_digest
    from prospect_eval.runs.executor import infer, select
    from prospect_eval.runs.folder import RunConfig, held

    grid.check()
    for name in grid.strategies:
        check_strategy(name, None if name == UNLIMITED else 10**6)
    source, dataset = open_source_with_progress(data, suite, split)
    episodes = select(dataset, split, limit)
    if dry_run:
        first = open_predictor(grid.ckpts[0], dataset, episodes, PredictorOptions(device=device, dtype=dtype))
        for line in sweep_plan(root, grid, first, episodes):
            say(line)
        return None

    def least(ckpt: str, strategy: str) -> int:
        predictor = open_predictor(
            ckpt, dataset, episodes, PredictorOptions(strategy, 10**6, device=device, dtype=dtype)
        )
        return predictor.least_budget(episodes) if predictor.least_budget else 0

    def run(setting: SweepSetting, folder: Path) -> None:
        moved = {setting.knob: setting.threshold}
        asked = PredictorOptions(
            setting.strategy, setting.budget, moved.get("speaking"), moved.get("update"), device, dtype=dtype
        )
        predictor = open_predictor(setting.ckpt, dataset, episodes, asked)
        config = RunConfig(
            setting.ckpt, predictor.digest, source, dataset.digest, split, limit, predictor.knobs, code_digest(),
            predictor.thresholds_from, suite or "",
        )  # fmt: skip
        with held(folder):
            done = (folder / "DONE.json").is_file()
            with progress_bar(folder.relative_to(root).as_posix()) as advance:
                outcome = infer(folder, config, predictor, episodes, progress=advance)
            if outcome.new or not done:
                score_run(folder)

    return run_sweep(root, grid, run, least, quality)
