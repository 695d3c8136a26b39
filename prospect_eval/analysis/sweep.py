"""Sweep over checkpoints, strategies, budgets and thresholds, one run folder each.

    prospect-eval sweep --ckpt workbench-tiny --suite workbench_long
    prospect-eval sweep --ckpt runs/a --ckpt runs/b --suite workbench --strategies none,dst_refresh --budgets 1/2,600
    prospect-eval sweep --closed-loop --ckpt workbench-tiny --suite workbench --split val

Folders are named after the settings (``workbench-tiny/dst_refresh-600/speaking-0.30``), so an
interrupted sweep resumes. Videos are encoded once for all runs. One of the two thresholds changes
at a time; the other keeps the checkpoint's value. A budget can be a share of the peak of ``none``,
and is never below the need of the longest task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from prospect_core.util.errors import UserError
from prospect_eval.analysis.pareto_front import MEMORY, UNLIMITED, pareto_front
from prospect_eval.runs.metric_tables import metric_table_headlines
from prospect_eval.runs.schemas import read_metrics_schema

PEAK = "cache_peak_tokens"
FILE = "sweep.json"


@dataclass(frozen=True)
class SweepSetting:
    """Settings of one run of a sweep.

    Attributes:
        ckpt: The checkpoint.
        strategy: The context strategy.
        budget: Token budget; None without one.
        knob: The threshold that changes (``speaking`` or ``update``), or ``latency`` for a run under
            the clock ``simulated``; empty for none.
        threshold: Value of the threshold, or milliseconds per frame.
        at_the_floor: Whether the budget is the smallest possible one.
    """

    ckpt: str
    strategy: str = UNLIMITED
    budget: int | None = None
    knob: str = ""
    threshold: float | None = None
    at_the_floor: bool = False

    def folder(self) -> str:
        """Return the run's folder below that of its checkpoint."""
        context = self.strategy if self.budget is None else f"{self.strategy}-{self.budget}"
        if not self.knob or self.threshold is None:
            return context
        # all digits, because two thresholds with the same rounded name would share a folder
        digits = np.format_float_positional(self.threshold, min_digits=2)
        return f"{context}/{self.knob}-{digits}"


@dataclass(frozen=True)
class Grid:
    """The combined settings.

    Attributes:
        ckpts: Checkpoints.
        strategies: Context strategies.
        budgets: Token budgets; values up to 1 are shares of the peak of ``none``.
        thresholds: Values of each threshold, and of the latency in ms per frame.
    """

    ckpts: tuple[str, ...]
    strategies: tuple[str, ...] = (UNLIMITED,)
    budgets: tuple[float, ...] = ()
    thresholds: Mapping[str, Sequence[float]] | None = None

    def check(self) -> None:
        """Check that the grid has runs and no run twice.

        Raises:
            UserError: Strategies have no budget, shares have no ``none`` run, or two checkpoints
                share a folder.
        """
        if UNLIMITED not in self.strategies and any(budget <= 1 for budget in self.budgets):
            raise UserError("--budgets as shares refer to the unlimited context; add `none` to --strategies")
        if not self.budgets and set(self.strategies) != {UNLIMITED}:
            raise UserError(
                "--strategies with a budget need --budgets, in tokens (600) or as shares of the unlimited context (1/2)"
            )
        names = [sweep_checkpoint_folder(ckpt) for ckpt in self.ckpts]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UserError(f"--ckpt: two are called {twice[0]}, and would share a folder; rename one")


def describe_sweep_knob(knob: str) -> str:
    """Return the name of a setting that changes along a curve."""
    return "latency in ms per frame" if knob == "latency" else f"{knob} threshold"


def sweep_checkpoint_folder(ckpt: str) -> str:
    """Return the name of the folder of a checkpoint's runs."""
    return Path(ckpt.replace(":", "-")).name


def run_sweep(
    root: Path,
    grid: Grid,
    run: Callable[[SweepSetting, Path], None],
    least: Callable[[str, str], int],
    quality: str = "dst_head_jga",
) -> dict[str, Any]:
    """Run all settings of a grid.

    Args:
        root: Folder of the sweep.
        grid: The settings.
        run: Replays and scores a setting into a folder, unless that is done.
        least: Returns the smallest budget for all episodes of a (checkpoint, strategy).
        quality: Metric of the Pareto front.

    Returns:
        The contents of ``sweep.json``.

    Raises:
        UserError: The grid is invalid.
    """
    grid.check()
    rows: list[tuple[SweepSetting, Path]] = []
    for ckpt in grid.ckpts:
        peak = 0.0

        def go(setting: SweepSetting, ckpt: str = ckpt) -> Path:
            folder = root / sweep_checkpoint_folder(ckpt) / setting.folder()
            run(setting, folder)
            rows.append((setting, folder))
            return folder

        for strategy in sorted(grid.strategies, key=lambda name: name != UNLIMITED):
            if strategy == UNLIMITED:
                settings = [SweepSetting(ckpt)]
            else:
                settings = list(_budgeted(ckpt, strategy, grid.budgets, peak, least(ckpt, strategy)))
            for setting in settings:
                folder = go(setting)
                if strategy == UNLIMITED:
                    peak = read_metrics_schema(folder)["metrics"][PEAK]["value"] or 0.0
                for knob, thresholds in (grid.thresholds or {}).items():
                    for threshold in sorted(set(thresholds)):
                        go(replace(setting, knob=knob, threshold=threshold))
    return collect_sweep_results(root, rows, quality)


def _budgeted(ckpt: str, strategy: str, budgets: Sequence[float], peak: float, least: int) -> Iterator[SweepSetting]:
    """Yield a strategy at each budget, not below the smallest one and without repetition."""
    seen = set()
    for budget in sorted(budgets, reverse=True):
        tokens = max(least, round(budget * peak if budget <= 1 else budget))
        if tokens not in seen:
            seen.add(tokens)
            yield SweepSetting(ckpt, strategy, tokens, at_the_floor=tokens == least)


def collect_sweep_results(root: Path, rows: Sequence[tuple[SweepSetting, Path]], quality: str) -> dict[str, Any]:
    """Collect the results of all runs.

    A run's scores are its headline metrics, the two axes of the Pareto front, and the number of
    compressions.

    Args:
        root: Folder of the sweep.
        rows: Setting and folder of each run.
        quality: Metric of the Pareto front.

    Returns:
        The scores of the runs, the Pareto front of the runs with the checkpoints' thresholds, and
        curves over the thresholds.
    """
    runs: list[dict[str, Any]] = []
    curves: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for setting, folder in rows:
        table = read_metrics_schema(folder)["metrics"]
        names = dict.fromkeys((*metric_table_headlines(table), quality, PEAK, MEMORY, "compressions"))
        shown = {name: table[name] for name in names if name in table}
        place = folder.relative_to(root).as_posix()
        runs.append({"folder": place, **_plain(setting), "metrics": shown})
        if setting.knob:
            own = f"{sweep_checkpoint_folder(setting.ckpt)}/{replace(setting, knob='').folder()}"
            point = {"threshold": setting.threshold, "metrics": shown}
            curves.setdefault(own, {}).setdefault(setting.knob, []).append(point)
    result = _pareto_front_of([folder for setting, folder in rows if not setting.knob], quality)
    result["points"] = [
        {**vars(point), "run": Path(point.run).relative_to(root).as_posix()} for point in result["points"]
    ]
    return {"schema": 1, "loop": "closed", "runs": runs, "pareto_front": result, "curves": curves}


def _pareto_front_of(folders: Sequence[Path], quality: str) -> dict[str, Any]:
    """Return the Pareto front; without points for models whose memory is unknown, such as endpoints."""
    tables = [read_metrics_schema(folder)["metrics"] for folder in folders]
    if all(table[MEMORY]["value"] is None for table in tables):
        return {"schema": 1, "left_out": [], "quality": quality, "memory": MEMORY, "points": [], "lines": {}}
    return pareto_front(folders, quality)


def _plain(setting: SweepSetting) -> dict[str, Any]:
    return {key: value for key, value in vars(setting).items() if value not in ("", None)}
