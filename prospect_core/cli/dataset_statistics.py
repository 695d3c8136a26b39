"""Command `prospect data stats`: counts and rates of datasets."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from prospect_core.util.console import json_option, make_console, print_json_option, progress_bars

#: least width of the names of statistics in a table of few columns, in characters
STATS_LABEL_WIDTH, FEW_COLUMNS = 32, 4


@click.command("stats")
@click.argument("roots", metavar="ROOT...", nargs=-1, required=True, type=click.Path(path_type=Path))
@json_option
def data_stats_command(roots: tuple[Path, ...], json_: str | None) -> None:
    """Print counts and rates of every split of one or several datasets, one column each."""
    from rich.table import Table

    from prospect_core.data.dataset import Dataset
    from prospect_core.data.stats import compute_dataset_stats
    from prospect_core.util.processes import count_cores

    datasets, columns = [Dataset.open(root) for root in roots], {}
    names = [dataset.info.name for dataset in datasets]
    if len(set(names)) < len(names):
        names = [str(root) for root in roots]
    with progress_bars() as advance:
        for name, dataset in zip(names, datasets, strict=True):
            for split in dataset.splits:
                column = split if len(datasets) == 1 else f"{name} {split}"
                columns[column] = compute_dataset_stats(dataset, split, count_cores(), partial(advance, column))
    if not print_json_option(json_, lambda: columns):
        return
    table = Table(title=", ".join(f"{one.info.name} {one.info.version}" for one in datasets))
    table.add_column("", min_width=STATS_LABEL_WIDTH if len(columns) < FEW_COLUMNS else None)
    for column in columns:
        table.add_column(column, overflow="fold", justify="right")
    for key in dict.fromkeys(key for values in columns.values() for key in values):
        table.add_row(key, *(_cell(values.get(key, "")) for values in columns.values()))
    make_console().print(table)


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k or 'unknown'} {v}" for k, v in value.items())
    return "–" if value is None else str(value)
