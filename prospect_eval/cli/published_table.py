"""Terminal tables of ProAssist's published scores next to PROSPECT's."""

from __future__ import annotations

from collections.abc import Sequence

from prospect_core.util.console import format_count, make_console, print_line
from prospect_eval.proassist.profile import ProfileRow, ProfileTable


def print_published_table(tables: Sequence[ProfileTable], similarity: str) -> None:
    """Print each dataset's table, then the numbered reasons for the differences.

    Args:
        tables: Tables of `prospect_eval.proassist.profile.make_proassist_profile`.
        similarity: Signature of the similarity model.
    """
    from rich.table import Table as Drawn
    from rich.text import Text

    reasons: list[str] = []
    for table in tables:
        drawn = Drawn(title=Text(_title(table, len(tables) - 1)), title_style="italic")
        for column in ("published", "value", "PROSPECT", "value", "reason"):
            drawn.add_column(column, justify="right" if column in ("value", "reason") else "left", no_wrap=True)
        for row in table.rows:
            drawn.add_row(
                row.name, _number(row.published), row.ours_name or "–", _number(row.ours), _mark(row, reasons)
            )
        make_console(unseen=100).print(drawn)
    for number, reason in enumerate(reasons, 1):
        print_line(f"[{number}] {reason}")
    print_line(f"similarity model: {similarity} (published: all-mpnet-base-v2)")


def _title(table: ProfileTable, others: int) -> str:
    if table.window_s is None:
        return f"all: {format_count(table.streams, 'stream')}; published: unweighted mean of {others} datasets"
    late, early = table.window_s
    name = table.dataset or "dataset not named"
    return f"{name}: {format_count(table.streams, 'stream')}, window {late:g} s late, {early:g} s early"


def _mark(row: ProfileRow, reasons: list[str]) -> str:
    """Return the number of the row's reason; a dash if there is none."""
    if not row.reason:
        return "–"
    if row.reason not in reasons:
        reasons.append(row.reason)
    return f"[{reasons.index(row.reason) + 1}]"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
