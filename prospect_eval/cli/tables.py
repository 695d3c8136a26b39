"""Terminal tables of scores, differences, curves and gates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prospect_core.util.console import format_count, make_console, print_line
from prospect_eval.runs.metric_tables import best_metric_table_baseline, metric_table_headlines

if TYPE_CHECKING:
    from prospect_eval.analysis.episode_diff import EpisodeChange
    from prospect_eval.analysis.sensitivity import Sensitivity, SensitivityRow
    from prospect_eval.gate.gate import Gate
    from prospect_eval.runs.catalog import Run

#: width of a table of scores when the output is not a terminal
SCORES_WIDTH = 100
#: maximum number of episode ids in a message
NAMED = 10


def print_scores_table(model: str, metrics: dict[str, Any], first: Sequence[str] = ()) -> None:
    """Print the headline metrics of a run, each next to the best trivial baseline and the oracle.

    Args:
        model: Title of the table.
        metrics: Contents of ``metrics.json``.
        first: Metrics that come before the headline metrics, such as those of a suite.
    """
    from rich.table import Table
    from rich.text import Text

    from prospect_eval.report.page import format_page_interval, format_page_number

    episodes = metrics["episodes"]
    title = Text(f"{model}: {episodes['scored']} episodes, {episodes['failed']} failed")
    table = Table(title=title, title_style="italic")
    table.add_column("metric", no_wrap=True)
    without = metrics.get("without_failed") or {}
    columns = ("value", *(("without failed",) if without else ()), "95 % interval", "best trivial baseline", "oracle")
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for name in metric_table_headlines(metrics["metrics"], first):
        entry = metrics["metrics"][name]
        best = best_metric_table_baseline(metrics, name)
        rival = "–" if best is None else f"{best[0]} {format_page_number(best[1])}"
        oracle = metrics["baselines"].get("oracle", {}).get(name, {}).get("value")
        optimistic = (format_page_number(without.get(name)),) if without else ()
        table.add_row(
            name,
            format_page_number(entry["value"]),
            *optimistic,
            format_page_interval(entry["ci95"]),
            rival,
            format_page_number(oracle),
        )
    if without:
        print_line(_failed_line(episodes))
    make_console(unseen=SCORES_WIDTH).print(table)
    if max((entry["n_videos"] for entry in metrics["metrics"].values()), default=0) == 1:
        print_line("no intervals: they need at least two videos, and the run has one")


def _failed_line(episodes: dict[str, Any]) -> str:
    """Return a line with the episodes that have no prediction."""
    failed = episodes["failed_ids"]
    names = ", ".join(failed[:NAMED]) + (", ..." if len(failed) > NAMED else "")
    total = episodes["scored"] + episodes["failed"]
    return f"{len(failed)} of {total} episodes failed or are missing; they count as the worst value: {names}"


def print_runs_table(runs: Sequence[Run], root: Path) -> None:
    """Print run folders with their headline metrics.

    Args:
        runs: The runs.
        root: Folder to which the shown paths are relative.
    """
    from datetime import datetime

    from rich.table import Table

    from prospect_eval.report.page import format_page_number
    from prospect_eval.runs.catalog import choose_catalog_metrics

    names = choose_catalog_metrics(runs)
    table = Table()
    for column in ("run", "status", "finished", "model", "split", "context", *names):
        table.add_column(column, justify="right" if column in names else "left")
    for run in runs:
        when = "" if run.finished is None else datetime.fromtimestamp(run.finished).strftime("%Y-%m-%d %H:%M")
        context = run.strategy if run.budget is None else f"{run.strategy} {run.budget}"
        name = Path(run.folder).relative_to(root).as_posix()
        scores = [format_page_number(run.metrics.get(metric, {}).get("value")) for metric in names]
        table.add_row(name, run.status, when, Path(run.model).name, run.split, context, *scores)
    make_console(unseen=190).print(table)


def print_episode_changes_table(changes: Sequence[EpisodeChange]) -> None:
    """Print the most changed episodes with their changes."""
    console = make_console(highlight=False, unseen=150)
    for change in changes:
        console.print(f"{change.episode} (change {change.score:.2f})")
        for reason in change.why:
            console.print(f"  {reason}")


def print_threshold_curves_table(result: dict[str, Any], rows: int = 12) -> None:
    """Print the curves of ``thresholds.json``.

    Args:
        result: Contents of the file.
        rows: Maximum number of points of a curve. The best point is always included.
    """
    from rich.table import Table

    from prospect_eval.analysis.sweep import describe_sweep_knob
    from prospect_eval.report.page import format_page_interval, format_page_number

    for knob, points in result["curves"].items():
        if not points:
            continue
        of = f"{result['of']}: " if "of" in result else ""
        table = Table(title=f"{of}{describe_sweep_knob(knob)}, {result['loop']} loop")
        closed = result["loop"] == "closed"
        names = list(points[0]["metrics"]) if closed else ["f1", "precision", "recall"]
        for column in ("ms" if knob == "latency" else "threshold", *names):
            table.add_column(column if closed else {"f1": "event F1@1s"}.get(column, column), justify="right")
        best = max(range(len(points)), key=lambda k: -1.0 if closed else points[k]["f1"] or 0.0)
        step = -(-len(points) // rows)
        for k, point in enumerate(points):
            if k % step and k != best:
                continue
            if closed:
                cells = [
                    f"{format_page_number(e['value'])} {format_page_interval(e['ci95'])}"
                    for e in point["metrics"].values()
                ]
            else:
                cells = [
                    f"{format_page_number(point['f1'])} {format_page_interval(point['ci95'])}",
                    *map(format_page_number, (point["precision"], point["recall"])),
                ]
            value = point["threshold"]
            table.add_row(f"{value:g}" if knob == "latency" else f"{value:.2f}", *cells)
        make_console(unseen=190).print(table)


def print_judge_table(result: dict[str, Any]) -> None:
    """Print the scores of the LLM judge, its agreement with itself, and the unreadable replies."""
    from rich.table import Table

    from prospect_eval.report.page import format_page_interval, format_page_number

    table = Table(title=f"judge {result['judge']}")
    for column in ("criterion", "grade (1 to 5)", "95 % interval", "equal repeats", "alpha"):
        table.add_column(column, justify="left" if column == "criterion" else "right")
    for name, entry in result["metrics"].items():
        agreed = result["agreement"][name]
        cells = (
            format_page_number(entry["value"]),
            format_page_interval(entry["ci95"]),
            format_page_number(agreed["equal"]),
            format_page_number(agreed["alpha"]),
        )
        table.add_row(name, *cells)
    console = make_console()
    console.print(table)
    wrong, asked = result["replies"]["unreadable"], result["replies"]["asked"]
    reasons = "; ".join(f"{reason}: {count}" for reason, count in wrong.items())
    console.print(f"{sum(wrong.values())} of {asked} replies were unreadable{f' ({reasons})' if reasons else ''}")


def print_pareto_front_table(result: dict[str, Any]) -> None:
    """Print runs by bytes, with a mark for those on the Pareto front."""
    from rich.table import Table

    from prospect_eval.report.page import format_page_interval, format_page_number

    table = Table(title=f"{result['quality']} against {result['memory']}")
    for column in ("front", "strategy", "budget", "bytes", "share of none", result["quality"], "95 % interval", "run"):
        table.add_column(column, justify="left" if column in ("strategy", "run") else "right")
    for point in result["points"]:
        budget = "–" if point.budget is None else str(point.budget)
        share = "–" if point.share is None else f"{point.share:.0%}"
        cells = (
            format_page_number(point.bytes),
            share,
            format_page_number(point.quality),
            format_page_interval(point.ci95),
            point.run,
        )
        table.add_row("*" if point.on_front else "", point.strategy, budget, *cells)
    make_console(unseen=150).print(table)


def print_sensitivity_table(result: Sensitivity) -> None:
    """Print a table of each metric over all settings, at most 100 columns wide.

    Runs are letters in the table.
    """
    from rich import box
    from rich.table import Table

    from prospect_eval.report.page import format_page_number

    letters = [chr(ord("A") + k) if k < 26 else str(k) for k in range(len(result.runs))]
    for letter, run in zip(letters, result.runs, strict=True):
        print_line(f"{letter} = {run}")
    console = make_console(unseen=100)
    for metric in dict.fromkeys(row.metric for row in result.rows):
        rows = [row for row in result.rows if row.metric == metric]
        if all(value is None for row in rows for value in row.values):
            print_line(f"{metric}: undefined in every run")
            continue
        title = f"{metric} over {format_count(result.episodes, 'episode')}; * marks the default setting"
        table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        table.add_column("similarity", no_wrap=True, max_width=20, overflow="ellipsis")
        for column in ("correct", "window", *letters, "ranking", "tau"):
            table.add_column(column, justify="right", no_wrap=True)
        for row in rows:
            mark = "*" if row.default else ""
            order = ">".join("=".join(letters[k] for k in group) for group in row.order)
            cells = (f">{row.setting.threshold:g}", f"x{row.setting.window:g}", *map(format_page_number, row.values))
            tau = "–" if row.tau is None else f"{row.tau:.2f}"
            table.add_row(f"{row.setting.similarity}{mark}", *cells, order, tau)
        console.print(table)
        _say_changed_order(metric, rows)


def _say_changed_order(metric: str, rows: Sequence[SensitivityRow]) -> None:
    standard = next(row for row in rows if row.default)
    if len(standard.values) < 2:
        return
    other = sum(row.order != standard.order for row in rows)
    taus = [row.tau for row in rows if row.tau is not None]
    lowest = f"; lowest tau {min(taus):.2f}" if taus else ""
    print_line(
        f"{metric}: the ranking of the runs differs from the default setting's in {other} of {len(rows)} settings{lowest}"
    )


def print_gate_table(gate: Gate) -> None:
    """Print every check of a gate, and the verdict as the last line."""
    from rich.table import Table
    from rich.text import Text

    from prospect_eval.gate.formats import HEAD, format_gate_cells

    colors = {"PASS": "green", "INCONCLUSIVE": "yellow", "FAIL": "red"}
    table = Table()
    for column in ("verdict", *HEAD):
        table.add_column(column, no_wrap=column in ("verdict", "metric"))
    for check in gate.checks:
        table.add_row(Text(check.verdict, colors[check.verdict]), check.name, *format_gate_cells(check))
    console = make_console(unseen=150)
    console.print(table)
    for note in gate.notes:
        console.print(f"Note: {note}")
    console.print(f"{gate.verdict}{' (strict)' if gate.strict else ''}")
