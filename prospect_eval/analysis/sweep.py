"""Checkpoints x strategies x budgets x thresholds: one run folder each below one folder, and what came out of all of them.

    prospect-eval sweep --ckpt workbench-tiny --suite workbench_long
    prospect-eval sweep --ckpt runs/a --ckpt runs/b --suite workbench --strategies none,dst_refresh --budgets 1/2,600
    prospect-eval sweep --closed-loop --ckpt workbench-tiny --suite workbench --split val

Folders are named after what differs (``workbench-tiny/dst_refresh-600/speaking-0.30``), so starting the same sweep again
goes on where it stopped. Videos are encoded once for all of them. Of the two thresholds one is moved at a time; the other
one stays at the checkpoint's own. A budget may be a share of what ``none`` needs at its peak, and is never below what
the longest task needs.
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
    """One run of a sweep. ``knob`` is the threshold that is moved, if one is."""

    ckpt: str
    strategy: str = UNLIMITED
    budget: int | None = None
    knob: str = ""
    threshold: float | None = None
    at_the_floor: bool = False

    def folder(self) -> str:
        """Its folder below that of its checkpoint."""
        context = self.strategy if self.budget is None else f"{self.strategy}-{self.budget}"
        if not self.knob or self.threshold is None:
            return context
        # every digit counts: rounded names would make two thresholds share a folder
        digits = np.format_float_positional(self.threshold, min_digits=2)
        return f"{context}/{self.knob}-{digits}"


@dataclass(frozen=True)
class Grid:
    """What is combined. ``budgets`` up to 1 are shares of the peak of `none`, above tokens."""

    ckpts: tuple[str, ...]
    strategies: tuple[str, ...] = (UNLIMITED,)
    budgets: tuple[float, ...] = ()
    thresholds: Mapping[str, Sequence[float]] | None = None

    def check(self) -> None:
        """Refuse what would run nothing, or the same twice."""
        if UNLIMITED not in self.strategies and any(budget <= 1 for budget in self.budgets):
            raise UserError("--budgets as shares are shares of what `none` needs: add it to --strategies")
        if not self.budgets and set(self.strategies) != {UNLIMITED}:
            raise UserError("--strategies need --budgets, in tokens (600) or as shares of what `none` needs (1/2)")
        names = [sweep_checkpoint_folder(ckpt) for ckpt in self.ckpts]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UserError(f"--ckpt: two are called {twice[0]}, and would share a folder; rename one")


def sweep_checkpoint_folder(ckpt: str) -> str:
    """The folder of a checkpoint's runs."""
    return Path(ckpt.replace(":", "-")).name


def run_sweep(
    root: Path,
    grid: Grid,
    run: Callable[[SweepSetting, Path], None],
    least: Callable[[str, str], int],
    quality: str = "dst_head_jga",
) -> dict[str, Any]:
    """The contents of ``sweep.json``. ``run(setting, folder)`` replays and scores one, or finds it done; ``least(ckpt,
    strategy)`` is the least budget that all episodes admit."""
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
    """A strategy at each budget, none below the least one, none twice."""
    seen = set()
    for budget in sorted(budgets, reverse=True):
        tokens = max(least, round(budget * peak if budget <= 1 else budget))
        if tokens not in seen:
            seen.add(tokens)
            yield SweepSetting(ckpt, strategy, tokens, at_the_floor=tokens == least)


def collect_sweep_results(root: Path, rows: Sequence[tuple[SweepSetting, Path]], quality: str) -> dict[str, Any]:
    """All runs with their scores, the front of those at the checkpoints' own thresholds, and the thresholds' curves.

    A run's scores are its headline metrics, the two axes of the front, and the number of compressions.
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
    result = pareto_front([folder for setting, folder in rows if not setting.knob], quality)
    result["points"] = [
        {**vars(point), "run": Path(point.run).relative_to(root).as_posix()} for point in result["points"]
    ]
    return {"schema": 1, "loop": "closed", "runs": runs, "pareto_front": result, "curves": curves}


def _plain(setting: SweepSetting) -> dict[str, Any]:
    return {key: value for key, value in vars(setting).items() if value not in ("", None)}
