"""The command that explains metrics: describe.

prospect-eval describe matched_f1
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from prospect_core.util.console import json_option, make_console, print_json_option, print_line
from prospect_core.util.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from prospect_eval.metrics import Metric

_BETTER = {"higher": "higher is better", "lower": "lower is better", "zero": "closer to 0 is better"}


@click.command("describe")
@click.argument("names", nargs=-1, metavar="[METRIC]...")
@json_option
def describe_command(names: tuple[str, ...], json_: str | None) -> None:
    """Explain METRICs: definition, range, better values, how a value can mislead, and signature.

    Without METRIC, list every metric with its definition.
    """
    known = {metric.name: metric for metric in _list_metrics()}
    for name in names:
        if name not in known:
            raise UserError(
                f"metric {name!r} is unknown; `prospect-eval describe` lists all metrics{did_you_mean(name, known)}"
            )
    chosen = [known[name] for name in names] or list(known.values())
    if not print_json_option(json_, lambda: [_facts(metric) for metric in chosen]):
        return
    if names:
        for metric in chosen:
            for line in _lines(metric):
                print_line(line)
    else:
        _print_list(chosen)


def _list_metrics() -> list[Metric]:
    """Every metric of scored runs, then those of the diagnostic passes."""
    from prospect_eval.diagnostics import latency, teacher_forced
    from prospect_eval.metrics import all_metrics, delivery
    from prospect_eval.metrics.resources import make_scoring_resources

    return [
        *all_metrics(make_scoring_resources()),
        *delivery.delivery_metrics(measured=True),
        *latency.METRICS,
        *teacher_forced.METRICS,
    ]


def _facts(metric: Metric) -> dict[str, Any]:
    from prospect_eval.metrics.base import describe_metric_range
    from prospect_eval.report.page import format_page_sentence

    return {
        "name": metric.name,
        "family": metric.family.title,
        "headline": metric.headline,
        "definition": format_page_sentence(metric.definition),
        "range": describe_metric_range(metric.range),
        "better": metric.better,
        "unit": metric.unit,
        "failure_mode": format_page_sentence(metric.failure_mode),
        "signature": metric.signature_text,
    }


def _lines(metric: Metric) -> list[str]:
    """The description of a metric for people."""
    facts = _facts(metric)
    unit = f" ({facts['unit']})" if facts["unit"] else ""
    headline = ", headline metric" if facts["headline"] else ""
    return [
        f"{facts['name']} ({facts['family']}{headline})",
        f"  {facts['definition']}",
        f"  Range: {facts['range']}{unit}; {_BETTER.get(facts['better'], 'no side is better')}.",
        f"  How it can mislead: {facts['failure_mode']}",
        f"  Signature: {facts['signature']}",
    ]


def _print_list(metrics: Sequence[Metric]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("metric", no_wrap=True)
    table.add_column("definition")
    for metric in metrics:
        table.add_row(metric.name, _facts(metric)["definition"])
    make_console(highlight=False, unseen=150).print(table)
