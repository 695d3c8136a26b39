"""The command group `prospect-eval`: replay, score, compare, report.

prospect-eval --help
"""

from __future__ import annotations

import click

from prospect_core import __version__
from prospect_core.util.console import Commands
from prospect_eval.cli.comparisons import (
    compare_command,
    leaderboard_command,
    noise_floor_command,
    pareto_command,
    sensitivity_command,
)
from prospect_eval.cli.descriptions import describe_command
from prospect_eval.cli.exports import export_command
from prospect_eval.cli.gates import gate_command
from prospect_eval.cli.judging import judge_command
from prospect_eval.cli.leak_checks import leaks_command
from prospect_eval.cli.replays import calibrate_command, run_command
from prospect_eval.cli.scores import (
    doctor_command,
    ls_command,
    report_command,
    score_command,
    show_command,
)
from prospect_eval.cli.selfchecks import selfcheck_command
from prospect_eval.cli.sweeps import sweep_command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option("--debug", is_flag=True, help="Show the traceback and all causes of an error.")
def prospect_eval(debug: bool) -> None:
    """Evaluate proactive streaming video assistants: replay, score, compare, report."""


COMMANDS = (
    run_command, score_command, selfcheck_command, compare_command, leaderboard_command, gate_command, noise_floor_command, pareto_command, ls_command, show_command, report_command, judge_command, sweep_command, sensitivity_command, leaks_command, calibrate_command,
    doctor_command, export_command, describe_command,
)  # fmt: skip
for command in COMMANDS:
    prospect_eval.add_command(command)
