"""`prospect-eval`: replay, score, compare, report.

prospect-eval --help
"""

from __future__ import annotations

import click

from prospect_core import __version__
from prospect_core.terminal import Commands
from prospect_eval.cli.comparisons import compare, front, leaderboard, noise, sensitivity
from prospect_eval.cli.exports import export
from prospect_eval.cli.gates import gate
from prospect_eval.cli.replays import calibrate, run
from prospect_eval.cli.scores import doctor, judge, list_runs, report, score, show
from prospect_eval.cli.sweeps import sweep


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """Measure proactive streaming video assistants: replay, score, compare, report."""


COMMANDS = (
    run, score, compare, leaderboard, gate, noise, front, list_runs, show, report, judge, sweep, sensitivity, calibrate,
    doctor, export,
)  # fmt: skip
for command in COMMANDS:
    main.add_command(command)
