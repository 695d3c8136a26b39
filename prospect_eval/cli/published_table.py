"""Published scores next to ours as tables in the terminal.

python -c "from prospect_eval.cli.published_table import print_profile; help(print_profile)"
"""

from __future__ import annotations

from collections.abc import Sequence

from prospect_core.util.console import counted, make_console, say
from prospect_eval.proassist.profile import ProfileRow, ProfileTable


def print_profile(tables: Sequence[ProfileTable], similarity: str) -> None:
    """Each data set's table, then the reasons for the differences by number.

    Args:
        tables: The tables of `prospect_eval.proassist.profile.profile`.
        similarity: Signature of the similarity model.
    """
    from rich.table import Table as Drawn
    from rich.text import Text

    reasons: list[str] = []
    for table in tables:
        drawn = Drawn(title=Text(_title(table, len(tables) - 1)), title_style="italic")
        for column in ("published", "value", "ours", "value", "differs"):
            drawn.add_column(column, justify="right" if column in ("value", "differs") else "left", no_wrap=True)
        for row in table.rows:
            drawn.add_row(
                row.name, _number(row.published), row.ours_name or "–", _number(row.ours), _mark(row, reasons)
            )
        make_console(unseen=100).print(drawn)
    for number, reason in enumerate(reasons, 1):
        say(f"[{number}] {reason}")
    say(f"similarity model: {similarity} (published: all-mpnet-base-v2)")


def _title(table: ProfileTable, others: int) -> str:
    if table.window_s is None:
        return f"all: {counted(table.streams, 'stream')}; published: mean of {others} data sets without weights"
    late, early = table.window_s
    name = table.dataset or "no data set named"
    return f"{name}: {counted(table.streams, 'stream')}, window {late:g} s late, {early:g} s early"


def _mark(row: ProfileRow, reasons: list[str]) -> str:
    """The number of the row's reason; a dash where the values are equal or there is only one."""
    if not row.reason:
        return "–"
    if row.reason not in reasons:
        reasons.append(row.reason)
    return f"[{reasons.index(row.reason) + 1}]"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
