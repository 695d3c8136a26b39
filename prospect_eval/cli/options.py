"""Options that several commands share, and functions that open the chosen data."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prospect_core.stream import STREAMS
from prospect_core.util.console import Number, dtype_option, progress_bar
from prospect_eval.matching.settings import DISTANCE_FACTOR, DISTANCE_POWER, GOOD_SIMILARITY

if TYPE_CHECKING:
    from prospect_core.data.dataset import Dataset
    from prospect_eval.models.base import PredictorOptions

    Numbers = click.ParamType[list[float]]
    Sides = click.ParamType[tuple[float, float] | None]
else:
    # generic only for type checkers, because click 8.1's class cannot be subscripted
    Numbers = Sides = click.ParamType


def add_data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --data, --suite, --split, --limit, --device and --dtype to a command that replays."""
    for option in reversed(
        (
            click.option("--data", type=click.Path(path_type=Path), help="Dataset folder."),
            click.option("--suite", help="Suite name (workbench, workbench_long, proassist) or its YAML file."),
            click.option(
                "--split", default=None, help="Split [default: the suite's, or test; val when thresholds are chosen]."
            ),
            click.option("--limit", type=click.IntRange(min=1), help="Maximum number of episodes [default: all]."),
            click.option("--device", default="cpu", show_default=True, help="Torch device, such as cpu or cuda:0."),
            dtype_option,
        )
    ):
        command = option(command)
    return command


def _request_options(context: Any, param: Any, given: tuple[str, ...]) -> dict[str, Any]:
    from prospect_eval.models.chat_client import read_chat_client_options

    return read_chat_client_options(given)


def add_endpoint_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --timeout, --key-variable and --request-option to a command that uses an endpoint."""
    for option in reversed(
        (
            click.option(
                "--timeout", type=Number(min=1), default=120, show_default=True, help="Maximum seconds to wait for a reply."
            ),
            click.option(
                "--key-variable", default="OPENAI_API_KEY", show_default=True,
                help="Environment variable that holds the endpoint's key.",
            ),
            click.option(
                "--request-option", "request_options", multiple=True, metavar="KEY=VALUE", callback=_request_options,
                help="Parameter of each request, such as max_tokens=2048; KEY=null removes one. Repeatable.",
            ),
        )
    ):  # fmt: skip
        command = option(command)
    return command


def add_served_model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of endpoint:MODEL and hf:NAME to a command that replays."""
    for option in reversed(
        (
            click.option(
                "--streams", type=click.IntRange(min=1), default=STREAMS, show_default=True,
                help="Maximum number of episodes replayed in parallel; does not change results.",
            ),
            click.option(
                "--endpoint", metavar="URL",
                help="Address of the API of endpoint:MODEL, such as http://127.0.0.1:8000/v1.",
            ),
            add_endpoint_options,
            click.option(
                "--frames-shown", type=click.IntRange(min=1), metavar="N",
                help="Maximum number of frames per request to hf:NAME [default: all] or endpoint:MODEL [default: 32].",
            ),
            click.option(
                "--frames-dropped", type=click.IntRange(min=1), metavar="N",
                help="Number of oldest frames removed together when there are more"
                " [default: half for endpoint:MODEL, 1 for hf:NAME].",
            ),
            click.option(
                "--picture-size", type=click.IntRange(min=16), metavar="PIXELS",
                help="Longest side of the pictures for endpoint:MODEL [default: 384].",
            ),
            click.option(
                "--picture-type", type=click.Choice(["jpeg", "png"]), default="jpeg", show_default=True,
                help="File format of the pictures for endpoint:MODEL.",
            ),
            click.option(
                "--chat-encoding", metavar="NAME",
                help="Chat format of endpoint:MODEL: smolvlm2, qwen_vl, llava_onevision, internvl or generic"
                " [default: by the model's name].",
            ),
        )
    ):  # fmt: skip
        command = option(command)
    return command


class Thresholds(Numbers):
    """Numbers in 0..1, separated by commas."""

    name = "0..1,0..1,..."

    def convert(self, value: Any, param: Any, ctx: Any) -> list[float]:
        """Return the numbers; any other value is a usage error."""
        try:
            found = [round(float(part), 4) for part in str(value).split(",")]
        except ValueError:
            found = []
        if not found or not all(0 <= number <= 1 for number in found):
            self.fail(f"{value!r}: give numbers from 0 to 1, separated by commas, such as 0.3,0.5", param, ctx)
        return found


class Milliseconds(Numbers):
    """Numbers of 0 or more, separated by commas."""

    name = "MS,..."

    def convert(self, value: Any, param: Any, ctx: Any) -> list[float]:
        """Return the numbers; any other value is a usage error."""
        try:
            found = [float(part) for part in str(value).split(",")]
        except ValueError:
            found = []
        if not found or not all(math.isfinite(number) and number >= 0 for number in found):
            self.fail(f"{value!r}: give milliseconds of 0 or more, separated by commas, such as 0,100", param, ctx)
        return found


class WindowParameter(Sides):
    """A matching window: seconds late and early, or ``auto`` for the dataset's own."""

    name = "LATE,EARLY|auto"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[float, float] | None:
        """Return (late, early), both at least 0; None for ``auto``.

        The published form, whose first number is negative, is accepted. Any other value is a usage
        error.
        """
        if value is None or value == "auto":
            return None
        try:
            late, early = (float(part) for part in str(value).split(","))
        except ValueError:
            late = early = math.nan
        if not (math.isfinite(late) and math.isfinite(early) and early >= 0):
            self.fail(f"{value!r}: give seconds late and early, such as 3,6, or auto", param, ctx)
        return abs(late), early


def add_match_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --window, --factor, --power and --threshold, the parameters of ProAssist's matching."""
    for option in reversed(
        (
            click.option(
                "--window", type=WindowParameter(),
                help="Matching window of every dataset, in seconds late and early [default: auto, each dataset's own].",
            ),
            click.option(
                "--factor", type=Number(min=0), default=DISTANCE_FACTOR, show_default=True,
                help="Weight of the time difference in the cost of a pair.",
            ),
            click.option(
                "--power", type=Number(min=0, min_open=True), default=DISTANCE_POWER, show_default=True,
                help="Exponent of the time difference in the cost of a pair.",
            ),
            click.option(
                "--threshold", type=Number(min=-1, max=1), default=GOOD_SIMILARITY, show_default=True,
                help="Cosine above which a matched pair is correct.",
            ),
        )
    ):  # fmt: skip
        command = option(command)
    return command


class Budgets(Numbers):
    """Tokens, or shares of the peak of ``none`` (``1/2``, ``0.5``, ``50%``), separated by commas."""

    name = "TOKENS|SHARE,..."

    def convert(self, value: Any, param: Any, ctx: Any) -> list[float]:
        """Return numbers, shares up to 1 and tokens above 1; any other value is a usage error."""
        found = []
        for part in str(value).split(","):
            try:
                number = float(Fraction(part.strip().removesuffix("%")))
            except (ValueError, ZeroDivisionError):
                number = 0.0
            found.append(number / 100 if part.strip().endswith("%") else number)
        if not all(0 < number <= 1 or (number.is_integer() and number > 1) for number in found):
            self.fail(f"{value!r}: give tokens or shares, separated by commas, such as 1/2,600", param, ctx)
        return found


def take_predictor_options(given: dict[str, Any]) -> PredictorOptions:
    """Remove the options of `PredictorOptions` from a command's options and return them.

    Options that the command does not have keep their defaults.

    Args:
        given: Options of the command, which are changed.
    """
    from prospect_eval.models.base import PredictorOptions

    names = {field.name for field in fields(PredictorOptions)} & given.keys()
    taken = {name: given.pop(name) for name in names}
    if "timeout" in given:
        taken["timeout_s"] = given.pop("timeout")
    return PredictorOptions(**taken)


def open_source_from_options(data: Path | None, suite: str | None, split: str) -> tuple[str, Dataset]:
    """Open the data of a command. Built-in videos are generated with a progress bar.

    Args:
        data: A dataset folder.
        suite: A suite by name or path.
        split: The split.

    Returns:
        The source for the run's configuration, and the dataset.

    Raises:
        UserError: Both or neither of ``data`` and the suite have data.
    """
    from prospect_eval.suites.suite import open_suite_source

    with progress_bar("videos") as advance:
        return open_suite_source(data, suite, split, advance)
