"""The command that runs a copying model under the protocols of a published benchmark: leaks.

prospect-eval leaks --suite streamingbench --data FOLDER
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from prospect_core.util.console import format_count, json_option, make_console, print_json_option, print_line

if TYPE_CHECKING:
    from prospect_eval.analysis.leak_check import LeakValue, ProtocolLeaks

#: columns of the table where nobody looks
WIDTH = 150


@click.command("leaks")
@click.option("--suite", required=True, help="A published benchmark.")
@click.option(
    "--data", required=True, type=click.Path(path_type=Path), help="The folder of its annotations; no video is read."
)
@click.option("--protocol", "protocols", multiple=True, help="A protocol of the suite [default: all]; repeatable.")
@json_option
def leaks_command(suite: str, data: Path, protocols: tuple[str, ...], json_: str | None) -> None:
    """Measure what a model reaches that copies from its prompt and looks at no picture.

    It prints the text that the prompt quotes, counts polls, and waits. Its official values stand next to those of the best
    constant answer, and of the best one that uses a weakness of the published scorer. A protocol that reveals the horizon
    lets it count the polls that are left.
    """
    from dataclasses import asdict

    from prospect_eval.analysis.leak_check import check_suite_leaks

    found = check_suite_leaks(suite, data, protocols)
    if print_json_option(json_, lambda: {"schema": 1, "suite": suite, "protocols": [asdict(one) for one in found]}):
        for one in found:
            _print_protocol(one)


def _print_protocol(leaks: ProtocolLeaks) -> None:
    from rich import box
    from rich.table import Table

    if leaks.error:
        print_line(f"{leaks.name}: not checked: {leaks.error}")
        return
    title = f"{leaks.name} ({leaks.protocol}), {format_count(leaks.items, 'item')}"
    table = Table(title=title, box=box.SIMPLE_HEAD)
    for column in ("official value", "uses", "copying model", "rule", "best constant answer", "best exploit", ""):
        table.add_column(column)
    for value in leaks.values:
        table.add_row(*_value_cells(value))
    make_console(highlight=False, unseen=WIDTH).print(table)


def _value_cells(value: LeakValue) -> list[str]:
    constant = _named(value.constant_name, value.constant)
    exploit = _named(value.exploit_name, value.exploit)
    copied = "–" if value.copied is None else f"{value.copied:.4g}"
    above = "above" if value.is_above_constant else ""
    return [value.value, value.uses, copied, value.rule or "–", constant, exploit, above]


def _named(name: str, value: float | None) -> str:
    return "–" if value is None else f"{name} {value:.4g}"
