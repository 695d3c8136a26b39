"""Terminal tables of comparisons, groups of seeds and leaderboards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prospect_core.util.console import make_console

if TYPE_CHECKING:
    from prospect_eval.analysis.compare import Comparison
    from prospect_eval.analysis.leaderboard import Leaderboard
    from prospect_eval.analysis.seeds import GroupDifference


def make_comparison_table(columns: Sequence[str], title: str = "") -> Any:
    """Return an empty table. First and last column are left-aligned, the others right-aligned.

    Args:
        columns: Titles of the columns.
        title: Title of the table; empty for none.
    """
    from rich import box
    from rich.table import Table

    table = Table(title=title or None, box=box.SIMPLE_HEAD, pad_edge=False)
    for k, column in enumerate(columns):
        table.add_column(column, no_wrap=k == 0, justify="left" if k in (0, len(columns) - 1) else "right")
    return table


def print_comparison_table(comparison: Comparison, every: bool = False) -> None:
    """Print the tested metrics, then one line for each family of the others.

    Args:
        comparison: The comparison.
        every: Print a row for each of the other metrics too.
    """
    from prospect_eval.analysis.compare_formats import (
        HEAD,
        format_compare_cells,
        format_compare_families,
        format_compare_run_names,
        format_compare_summary,
    )

    first, second = format_compare_run_names(comparison)
    console = make_console(highlight=False, unseen=110)
    console.print(f"{second} compared with {first}")
    table = make_comparison_table((HEAD[0], first, second, *HEAD[3:]))
    for d in comparison.differences:
        if d.tested or every:
            table.add_row(*format_compare_cells(d))
    console.print(table)
    for line in format_compare_summary(comparison):
        console.print(line)
    if not every:
        for line in format_compare_families(comparison.differences):
            console.print(f"  {line}")


def print_group_comparison_table(groups: Sequence[str], differences: Sequence[GroupDifference]) -> None:
    """Print the comparison of two recipes: mean and standard deviation over training seeds.

    Args:
        groups: The two lists of run folders, as given.
        differences: The difference of each metric.
    """
    from prospect_eval.analysis.compare_formats import VERDICT_WORDS
    from prospect_eval.report.page import format_page_number

    console = make_console(highlight=False, unseen=110)
    table = make_comparison_table(
        ("metric", "first: mean ± sd", "second: mean ± sd", "difference", "95 % interval", "p (Holm)", "verdict")
    )
    for d in differences:
        sides = [f"{format_page_number(mean)} ± {format_page_number(sd)}" for mean, sd in (d.first, d.second)]
        ci = f"[{d.ci95[0]:+.3g}, {d.ci95[1]:+.3g}]"
        verdict = VERDICT_WORDS.get(d.verdict, d.verdict)
        table.add_row(d.name, *sides, f"{d.difference:+.3g}", ci, f"{d.p:.3f}", verdict)
    console.print(f"first: {groups[0]}; second: {groups[1]}")
    console.print(table)


def print_leaderboard_comparison_table(board: Leaderboard) -> None:
    """Print the runs of a leaderboard, the best first."""
    from prospect_eval.report.page import format_page_interval, format_page_number

    table = make_comparison_table(
        ("run", *board.metrics, "p (Holm)", "compared with the best"),
        f"ranked by {board.by} over {board.episodes} episodes",
    )
    for place in board.places:
        cells = [format_page_number(place.entries[name]["value"]) for name in board.metrics]
        cells[0] += f" {format_page_interval(place.entries[board.by]['ci95'])}"
        table.add_row(Path(place.run).name, *cells, "–" if place.p is None else f"{place.p:.3f}", place.verdict)
    console = make_console(unseen=150)
    console.print(table)
    if board.left_out:
        console.print(f"{board.left_out} episodes left out, because not all runs have them")
