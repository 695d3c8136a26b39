"""The command that checks the metrics on a dataset: selfcheck.

prospect-eval selfcheck --suite workbench --limit 12
"""

from __future__ import annotations

from pathlib import Path

import click

from prospect_core.util.console import (
    format_count,
    json_option,
    make_console,
    print_json_option,
    print_line,
    progress_bar,
)
from prospect_core.util.errors import EXIT_INCOMPLETE
from prospect_eval.cli.options import open_source_from_options


@click.command("selfcheck")
@click.option("--data", type=click.Path(path_type=Path), help="Dataset folder.")
@click.option("--suite", help="Suite name or its YAML file.")
@click.option("--split", default="test", show_default=True, help="Split whose reference is perturbed.")
@click.option("--limit", type=click.IntRange(min=1), help="Maximum number of episodes [default: all].")
@json_option
def selfcheck_command(data: Path | None, suite: str | None, split: str, limit: int | None, json_: str | None) -> None:
    """Check on your data that each metric reacts to errors as expected.

    The reference is scored as a prediction with six perturbations (such as delayed, dropped or exchanged utterances) of
    two sizes. Exit code 3 means that a metric did not fall, rise or stay as expected.
    """
    from dataclasses import asdict

    from prospect_eval.analysis.selfcheck import selfcheck_metrics
    from prospect_eval.metrics.resources import make_scoring_resources
    from prospect_eval.report.page import format_page_number
    from prospect_eval.runs.executor import select_run_episodes

    _, dataset = open_source_from_options(data, suite, split)
    episodes = select_run_episodes(dataset, split, limit)
    with progress_bar("perturbations") as advance:
        checks = selfcheck_metrics(list(episodes), make_scoring_resources(), advance)
    if print_json_option(json_, lambda: [asdict(check) for check in checks]):
        from rich import box
        from rich.table import Table

        table = Table(title=f"perturbed reference of {format_count(len(episodes), 'episode')}", box=box.SIMPLE_HEAD)
        for column in ("perturbation", "metric", "expected", "none", "small", "large", "status"):
            table.add_column(column, no_wrap=True)
        for check in checks:
            table.add_row(
                check.perturbation, check.metric, check.expected, *map(format_page_number, check.values), check.status
            )
        make_console(unseen=110).print(table)
        violated = sum(check.status == "violated" for check in checks)
        print_line(f"{violated} of {format_count(len(checks), 'expectation')} violated")
    if any(check.status == "violated" for check in checks):
        raise SystemExit(EXIT_INCOMPLETE)
