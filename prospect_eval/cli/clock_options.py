"""Options of the clock of a replay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from prospect_core.util.console import Number
from prospect_core.util.errors import UserError

if TYPE_CHECKING:
    from prospect_core.records import ClockSettings


def add_clock_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --clock, --latency-model, --busy, --words-per-minute and --live-speed to a command."""
    for option in reversed(
        (
            click.option(
                "--clock",
                type=click.Choice(["replay", "simulated", "live"]),
                help="Whether the video waits for the model (replay), or a step takes a stated (simulated) or its real time"
                " (live) [default: the protocol's, or replay].",
            ),
            click.option(
                "--latency-model",
                metavar="COST=MS,...|RUN",
                help="Latency of --clock simulated: ms per frame, prompt_token and output_token, or a run with measured ones.",
            ),
            click.option(
                "--busy",
                type=click.Choice(["drop", "queue"]),
                help="Frames that arrive while the model is busy: drop all but the newest, or queue them [default: drop].",
            ),
            click.option(
                "--words-per-minute",
                type=Number(min=0, min_open=True),
                help="Speech rate under --clock simulated and live [default: 150].",
            ),
            click.option(
                "--live-speed",
                type=Number(min=0, min_open=True),
                metavar="X",
                help="Seconds of video per second under --clock live [default: 1].",
            ),
        )
    ):
        command = option(command)
    return command


def take_clock_settings(given: dict[str, Any]) -> ClockSettings | None:
    """Remove the options of `add_clock_options` except --clock and return their settings.

    Args:
        given: Options of the command, which are changed.

    Returns:
        The settings; None if no option is given.

    Raises:
        UserError: An option has no effect with the clock.
        DataError: The run of the latency model has no measured latencies.
    """
    from prospect_core.records import ClockSettings
    from prospect_eval.diagnostics.latency_model import read_latency_model

    latency = given.pop("latency_model")
    names = {"busy": "busy", "words_per_minute": "words_per_minute", "live_speed": "speed"}
    values = {field: value for name, field in names.items() if (value := given.pop(name)) is not None}
    if latency is not None and given["clock"] == "live":
        raise UserError("--clock live measures the latency, so --latency-model would have no effect; remove it")
    if "speed" in values and given["clock"] != "live":
        raise UserError("--live-speed works only with --clock live; remove it")
    if latency is None and not values:
        return None
    return replace(read_latency_model(latency) if latency is not None else ClockSettings(), **values)
