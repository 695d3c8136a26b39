"""The regression gate for CI: gate.

prospect-eval gate runs/now --baseline reports/baselines/workbench.json
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prospect_core.util.console import json_option, print_json_option, print_line
from prospect_core.util.errors import DataError, GateFailedError, UserError
from prospect_eval.cli.tables import print_gate_table

if TYPE_CHECKING:
    from prospect_eval.gate.gate import Gate
    from prospect_eval.suites.gate_rules import Rules


@click.command("gate")
@click.argument("folder", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--baseline", required=True, type=click.Path(path_type=Path), help="Baseline file to compare RUN with.")
@click.option(
    "--rules", type=click.Path(path_type=Path), help="YAML file with margins [default: those in the baseline]."
)
@click.option("--strict", is_flag=True, help="Let INCONCLUSIVE fail too.")
@click.option("--intersect", is_flag=True, help="Compare only the episodes that RUN and the baseline share.")
@click.option("--update", is_flag=True, help="Write RUN and its provenance as the new baseline instead of comparing.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Also write a Markdown table for a pull request.")
@click.option("--junit", type=click.Path(path_type=Path), help="Also write JUnit XML for a CI system.")
@json_option
def gate_command(
    folder: Path,
    baseline: Path,
    rules: Path | None,
    strict: bool,
    intersect: bool,
    update: bool,
    markdown: Path | None,
    junit: Path | None,
    json_: str | None,
) -> None:
    """Compare a scored RUN with a baseline and decide PASS, INCONCLUSIVE or FAIL.

    Exit codes: 0 for PASS and INCONCLUSIVE, 1 for FAIL (with --strict for INCONCLUSIVE too), 3 if the baseline is
    missing or of other data, or if the run has no episodes.

    The verdict is also written to RUN/gate.json; `prospect-eval report RUN` then shows it at the top of the report.
    """
    from dataclasses import replace

    from prospect_core.util.atomic import write_atomic
    from prospect_core.util.json_io import dump_json
    from prospect_eval.api import gate
    from prospect_eval.gate.gate import VERDICT, gate_to_dict

    given = None if rules is None else _read_rules_file(rules)
    if update:
        if markdown or junit or json_:
            raise UserError("gate --update only writes the baseline; remove --markdown, --junit and --json")
        _write_baseline(folder, baseline, given, str(rules or baseline))
        return
    result = gate(folder, baseline, given, intersect)
    result = replace(result, strict=result.strict or strict)
    with suppress(OSError):
        # for the report; a read-only run folder is not an error
        write_atomic(folder / VERDICT, dump_json(gate_to_dict(result), indent=1) + "\n")
    _write_formats(result, (folder.name, baseline.name), markdown, junit)
    if print_json_option(json_, lambda: gate_to_dict(result)):
        print_gate_table(result)
    if not result.passes:
        raise GateFailedError


def _read_rules_file(file: Path) -> Rules:
    from prospect_eval.suites.gate_rules import read_gate_rules

    if not file.is_file():
        raise UserError(f"--rules {file}: no such file")
    return read_gate_rules(file.read_text("utf-8"), str(file))


def _write_baseline(folder: Path, baseline: Path, rules: Rules | None, where: str) -> None:
    """Write a run as the new baseline.

    The rules are the given ones, otherwise those of the old baseline, otherwise those of the run's
    suite.
    """
    from prospect_core.util.atomic import write_atomic
    from prospect_core.util.json_io import dump_json
    from prospect_eval.gate.gate import load_run_gate_rules, make_gate_baseline, read_gate_baseline
    from prospect_eval.metrics import all_metrics
    from prospect_eval.metrics.resources import make_scoring_resources
    from prospect_eval.suites.gate_rules import make_gate_rules

    if rules is None and baseline.is_file():
        rules = make_gate_rules(read_gate_baseline(baseline)["rules"], where)
    elif rules is None:
        rules = load_run_gate_rules(folder)
    made = make_gate_baseline(folder, rules, all_metrics(make_scoring_resources()), where)
    text = dump_json(made, indent=None) + "\n"
    baseline.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(baseline, text)
    if empty := [name for name, entry in made["metrics"].items() if entry["value"] is None]:
        print_line(f"not compared by this baseline, because undefined in this run: {', '.join(empty)}", err=True)
    print_line(str(baseline.resolve()))


def _write_formats(result: Gate, names: tuple[str, str], markdown: Path | None, junit: Path | None) -> None:
    """Write the verdict as Markdown and JUnit XML. ``names`` are those of run and baseline."""
    from prospect_core.util.atomic import write_atomic
    from prospect_eval.gate.formats import format_gate_as_junit, format_gate_as_markdown

    run, baseline = names
    texts = []
    if markdown is not None:
        texts.append((markdown, format_gate_as_markdown(result, run, baseline)))
    if junit is not None:
        texts.append((junit, format_gate_as_junit(result, run)))
    for file, text in texts:
        try:
            write_atomic(file, text)
        except OSError as error:
            raise DataError(f"{file}: cannot be written ({error.strerror})") from error
