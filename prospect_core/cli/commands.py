"""Command `prospect`: training, live watching, context strategies and examples to start from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from prospect_core import __version__
from prospect_core.cli.data import data_command_group
from prospect_core.util.console import (
    DEBUG,
    Commands,
    Number,
    dtype_option,
    json_option,
    make_console,
    print_json_option,
    print_line,
)
from prospect_core.util.errors import EXIT_INCOMPLETE


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option("--debug", is_flag=True, help="Show the traceback and all causes of an error.")
def prospect(debug: bool) -> None:
    """Train proactive streaming video assistants; make and check their data."""


@prospect.command("train")
@click.argument("overrides", nargs=-1)
@click.option("--cfg", is_flag=True, help="Print the resolved configuration and exit.")
@click.option("--dry-run", is_flag=True, help="Run a few steps on blank frames and print estimated time and memory.")
@click.option("--multirun", "-m", is_flag=True, help="Train once for each combination of comma-separated values.")
def train_command(overrides: tuple[str, ...], cfg: bool, dry_run: bool, multirun: bool) -> None:
    """Train a model with OVERRIDES of the form KEY=VALUE.

    Example: prospect train data=PATH output=DIR train.minutes=3. --cfg lists all keys. After an interruption, run the
    same command again to continue from the last checkpoint.
    """
    from prospect_core.train.config.compose import compose_config, report_idle_compose_options

    if multirun:
        if dry_run:
            raise click.UsageError(
                "--dry-run works for a single training; use --cfg -m to list the trainings of --multirun"
            )
        debug = click.get_current_context().find_root().params["debug"]
        _train_all(list(overrides), cfg, debug)
        return
    config, text = compose_config(overrides)
    if cfg:
        print_line(text, nl=False)
        return
    from prospect_core.train.run import leave_training_run_processes, run_training
    from prospect_core.train.setup.build import TrainingHooks

    click.get_current_context().call_on_close(leave_training_run_processes)
    if dry_run:
        from prospect_core.train.dry_run import dry_run_training

        for line in dry_run_training(config, text, lambda line: print_line(line, err=True)):
            print_line(line)
        return
    hooks = TrainingHooks(
        lambda line: print_line(line, err=True), sys.stderr.isatty(), report_idle_compose_options(config, overrides)
    )
    result = run_training(config, text, hooks)
    for name, first in result.get("first", {}).items():
        print_line(f"{name:>10}: loss {first:.4f} -> {result['last'][name]:.4f}")
    if result:
        print_line(f"checkpoint: {config.output}")


@prospect.command("strategies")
@json_option
def strategies_command(json_: str | None) -> None:
    """List the context strategies and what each keeps, including those of installed packages."""
    from rich.table import Table

    from prospect_core.stream.strategies.registry import Rebuilds, Selects
    from prospect_core.stream.strategies.registry import list_registered_strategies as registered

    rows = [
        (name, "text" if isinstance(found, Rebuilds) else "tokens" if isinstance(found, Selects) else "", found.keeps)
        for name, found in registered().items()
    ]
    columns = ("strategy", "kind", "keeps")
    if not print_json_option(json_, lambda: [dict(zip(columns, row, strict=True)) for row in rows]):
        return
    table = Table()
    for column in columns:
        table.add_column(column, no_wrap=column != "keeps")
    for row in rows:
        table.add_row(*row)
    make_console(unseen=120).print(table)


@prospect.command("new")
@click.argument("kind", metavar="adapter|benchmark|metric|strategy|suite")
@click.argument("name")
@click.option("--output", type=click.Path(path_type=Path), help="Folder to create [default: NAME].")
def new_command(kind: str, name: str, output: Path | None) -> None:
    """Create a working example of your own metric, strategy, suite, adapter or benchmark, with its test."""
    from prospect_core.cli.scaffold import scaffold_example

    for file in scaffold_example(kind, name, output or Path(name)):
        print_line(str(file))
    print_line(f"test it: cd {output or name} && {'' if kind == 'suite' else 'pip install -e . && '}pytest")


@prospect.command("watch")
@click.argument("source")
@click.option("--ckpt", required=True, help="Checkpoint folder or name of a released checkpoint.")
@click.option(
    "--task", "task_file", type=click.Path(path_type=Path), help="JSON file with the task: goal, steps, knowledge."
)
@click.option("--goal", help="Goal of the task, in place of --task; give its steps with --step.")
@click.option("--step", "steps", multiple=True, help="Name of a step of the goal, in order. Repeatable.")
@click.option(
    "--strategy", default="dst_refresh", show_default=True, help="Context strategy when the budget is reached."
)
@click.option("--budget", type=click.IntRange(min=1), help="Context budget in tokens [default: the model's context].")
@click.option(
    "--fps", type=Number(min=0.1, max=60), default=2, show_default=True, help="Frames per second that the model sees."
)
@click.option("--speed", type=Number(min=0.1), default=1, show_default=True, help="Playback speed of a video file.")
@click.option(
    "--stall", type=Number(min=0.1), default=15, show_default=True, help="Seconds without a new frame before it stops."
)
@click.option("--device", default="cpu", show_default=True, help="Torch device, such as cpu or cuda:0.")
@dtype_option
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Log file, one JSON line per event [default: watch-DATE-TIME.jsonl].",
)
def watch_command(task_file: Path | None, goal: str | None, steps: tuple[str, ...], stall: float, **given: Any) -> None:
    """Run a checkpoint live on a video file, a camera or a network stream.

    SOURCE is a video file, camera, camera:NUMBER, or an address such as rtsp://HOST/PATH. Each line that you type is a user turn. Events are written to the log immediately. With --goal, give every step of
    the task with --step.
    """
    from prospect_core.live.session import LiveOptions, read_live_session_task, run_live_session

    task = read_live_session_task(task_file, goal, steps)
    ending = run_live_session(LiveOptions(task=task, stall_s=stall, **given))
    print_line(f"{ending.reason}; {ending.frames} frames seen, {ending.dropped} dropped", err=not ending.whole)
    if not ending.whole:
        sys.exit(EXIT_INCOMPLETE)


def _train_all(overrides: list[str], cfg: bool, debug: bool) -> None:
    """Run one training per combination, each in a separate process, under OUTPUT/NUMBER."""
    from prospect_core.train.config.compose import compose_config, compose_sweep_commands
    from prospect_core.train.output_dir import is_output_dir_finished

    base = Path(compose_config([o for o in overrides if o.startswith("output=")])[0].output)
    lines = compose_sweep_commands([o for o in overrides if not o.startswith("output=")])
    commands = [[*line, f"output={base / str(number)}"] for number, line in enumerate(lines)]
    # check all configurations before the first training takes time
    texts = [compose_config(command)[1] for command in commands]
    for number, (command, text) in enumerate(zip(commands, texts, strict=True)):
        folder = base / str(number)
        print_line(f"# {number + 1} of {len(commands)}: prospect train {' '.join(command)}")
        if cfg:
            print_line(text, nl=False)
        elif is_output_dir_finished(folder, text):
            print_line(f"checkpoint: {folder} (trained before)")
        else:
            program = [sys.executable, "-m", "prospect_core.cli", *([DEBUG] if debug else [])]
            done = subprocess.run([*program, "train", *command])
            if done.returncode:
                raise SystemExit(done.returncode)


prospect.add_command(data_command_group)
