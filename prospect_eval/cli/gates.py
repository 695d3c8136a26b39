"""The command that CI ends on: gate.

prospect-eval gate runs/now --baseline reports/baselines/workbench.json
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from prospect_core.util.console import json_option, print_json_option, print_line
from prospect_core.util.errors import DataError, GateFailedError, UserError
from prospect_eval.cli.tables import print_gate_table


@click.command("gate")
@click.argument("folder", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--baseline", required=True, type=click.Path(path_type=Path), help="The file that RUN is held against.")
@click.option("--rules", type=click.Path(path_type=Path), help="YAML of margins [default: those in the baseline].")
@click.option("--strict", is_flag=True, help="Inconclusive fails too.")
@click.option("--intersect", is_flag=True, help="Compare the common episodes where RUN has not the baseline's.")
@click.option("--update", is_flag=True, help="Write RUN as the new baseline instead, with where it comes from.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Also a table for a pull request.")
@click.option("--junit", type=click.Path(path_type=Path), help="Also JUnit XML for a CI system.")
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
    """Hold a scored RUN against a baseline: PASS and INCONCLUSIVE end with 0, FAIL with 1 (--strict: both).

    The verdict lies in RUN/gate.json too; `prospect-eval report RUN` puts it at the top of the report.

    A baseline that is missing or of other data, and a run without episodes, end with 3.
    """
    from dataclasses import replace

    from prospect_core.util.atomic import write_atomic
    from prospect_core.util.json_io import dump_json
    from prospect_eval.api import gate
    from prospect_eval.gate.formats import format_gate_as_junit as as_junit
    from prospect_eval.gate.formats import format_gate_as_markdown as as_markdown
    from prospect_eval.gate.gate import (
        VERDICT,
        gate_to_dict,
        load_run_gate_rules,
        make_gate_baseline,
        read_gate_baseline,
    )
    from prospect_eval.metrics import all_metrics
    from prospect_eval.metrics.resources import make_scoring_resources
    from prospect_eval.suites.gate_rules import make_gate_rules, read_gate_rules

    asked = None
    if rules is not None:
        if not rules.is_file():
            raise UserError(f"--rules {rules}: no such file")
        asked = read_gate_rules(rules.read_text("utf-8"), str(rules))
    if update:
        if markdown or junit or json_:
            raise UserError("gate --update judges nothing: leave --markdown, --junit and --json out")
        where = str(rules or baseline)
        if asked is None:
            # the rules that were there, else those of the run's suite
            asked = (
                make_gate_rules(read_gate_baseline(baseline)["rules"], where)
                if baseline.is_file()
                else load_run_gate_rules(folder)
            )
        made = make_gate_baseline(folder, asked, all_metrics(make_scoring_resources()), where)
        text = dump_json(made, indent=None) + "\n"
        baseline.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(baseline, text)
        if empty := [name for name, entry in made["metrics"].items() if entry["value"] is None]:
            print_line(f"undefined in this run, so nothing is held against it: {', '.join(empty)}", err=True)
        print_line(str(baseline.resolve()))
        return
    result = gate(folder, baseline, asked, intersect)
    result = replace(result, strict=result.strict or strict)
    with suppress(OSError):
        # the report shows it from now on; a folder that cannot be written to has no such place
        write_atomic(folder / VERDICT, dump_json(gate_to_dict(result), indent=1) + "\n")
    for file, write in (
        (markdown, lambda: as_markdown(result, folder.name, baseline.name)),
        (junit, lambda: as_junit(result, folder.name)),
    ):
        if file is not None:
            try:
                write_atomic(file, write())
            except OSError as error:
                raise DataError(f"{file}: cannot be written ({error.strerror})") from error
    if print_json_option(json_, lambda: gate_to_dict(result)):
        print_gate_table(result)
    if not result.passes:
        raise GateFailedError
