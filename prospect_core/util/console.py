"""Console output of both command lines: one-line errors with exit codes, escaped text, progress bars."""

from __future__ import annotations

import logging
import math
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import click

from prospect_core.util.errors import (
    EXIT_DEFECT,
    EXIT_GATE,
    EXIT_INCOMPLETE,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_USAGE,
    GateFailedError,
    UserError,
)
from prospect_core.util.processes import limit_spinning
from prospect_core.util.standard_streams import json_for_standard_stream, lenient_standard_streams

#: option of both programs that shows tracebacks
DEBUG = "--debug"
#: seconds between progress lines in a log without a terminal
QUIET_S = 30
#: largest number of characters of a text that an error line quotes
LONGEST = 200
#: characters that move the cursor, change colours or titles, change the direction of text, or are
#: lone surrogates
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def escape_for_console(text: str) -> str:
    r"""Escape control characters in text of models, data and files, as in ``\x1b``, for a terminal."""
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def escape_value_for_console(value: Any) -> Any:
    """Escape a template's text as `escape_for_console` does; return other values unchanged."""
    return escape_for_console(value) if type(value) is str else value


def format_count(number: int, what: str) -> str:
    """Format a count with its noun, as in ``1 episode``, ``2 episodes``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


class Number(click.FloatRange):
    """Type of an option for finite numbers; `click.FloatRange` accepts NaN."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Convert a value as `click.FloatRange` does.

        Args:
            value: The given value.
            param: The option.
            ctx: The click context.

        Raises:
            UserError: If the number is not finite.
        """
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            raise UserError(f"{param.opts[0]} {value}: give a finite number")
        return number


def format_duration(seconds: float) -> str:
    """Format seconds, as in ``45 s``, ``12 min``, ``3.5 h``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def print_line(text: object, err: bool = False, nl: bool = True) -> None:
    """Print a line with control characters escaped.

    Args:
        text: The line.
        err: Whether to print on standard error.
        nl: Whether to end the line.
    """
    click.echo(escape_for_console(str(text)), err=err, nl=nl)


def make_console(**options: Any) -> Any:
    """Make a rich console that escapes control characters and ignores rich's markup.

    Args:
        **options: Options of `rich.console.Console`, and ``unseen``: width in columns without a
            terminal.
    """
    from rich.console import Console

    class Safe(Console):
        def render_str(self, text: str, *args: Any, **kwargs: Any) -> Any:
            # rich would drop some control characters instead of escaping them
            return super().render_str(escape_for_console(text), *args, **kwargs)

        def render(self, *args: Any, **kwargs: Any) -> Any:
            for segment in super().render(*args, **kwargs):
                yield segment if segment.control else segment._replace(text=escape_for_console(segment.text))

    unseen = options.pop("unseen", None)
    made = Safe(markup=False, **options)
    return made if unseen is None or made.is_terminal else Safe(markup=False, width=unseen, **options)


class Commands(click.Group):
    """Click group whose user errors are one line with their own exit code.

    ``--debug`` shows the traceback with every cause; it may come before or after the command.
    """

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program and exit with the code of its result.

        Args:
            *args: As in click.
            **kwargs: As in click.
        """
        limit_spinning()
        given = args[0] if args else kwargs.pop("args", None)
        arguments = sys.argv[1:] if given is None else list(given)
        debug = DEBUG in _options(arguments)
        if debug:
            given = _debug_first(arguments)
        kwargs["standalone_mode"] = False
        with lenient_standard_streams(), _packages_logged() if debug else nullcontext():
            try:
                code = super().main(given, *args[1:], **kwargs)
                ending = code if isinstance(code, int) else EXIT_OK
            except SystemExit as stop:
                ending = _ending(stop)
            except Exception as error:
                ending = _report(error, debug)
            except KeyboardInterrupt:
                ending = _say_interrupted()
        sys.exit(ending)


def _report(error: Exception, debug: bool) -> int:
    """Print the error that ended a command, on one line if the user can fix it; return the exit code."""
    known = isinstance(
        error, click.ClickException | click.Abort | UserError | OSError | UnicodeEncodeError | MemoryError
    )
    # a usage error without a cause needs no traceback
    said = isinstance(error, click.ClickException) and not (error.__cause__ or error.__context__)
    if isinstance(error, GateFailedError):
        return EXIT_GATE
    if not known or (debug and not said and not isinstance(error, click.Abort)):
        _say_traceback(error)
    if isinstance(error, click.ClickException):
        error.show()
        return EXIT_USAGE if error.exit_code == EXIT_GATE else error.exit_code
    if isinstance(error, click.Abort):
        return _say_interrupted()
    if isinstance(error, UserError):
        print_line(f"error: {error}", err=True)
        return error.exit_code
    print_line(f"error: {_what_happened(error)}", err=True)
    return EXIT_INCOMPLETE if known else EXIT_DEFECT


def _what_happened(error: Exception) -> str:
    """Describe an error of another library on one line."""
    if isinstance(error, OSError):
        return (
            f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error.strerror or error)
        )
    if isinstance(error, UnicodeEncodeError):
        text = error.object if len(error.object) <= LONGEST else f"{error.object[:LONGEST]}..."
        if error.encoding.lower().startswith("utf"):
            return f"{text}: the name is not valid UTF-8; rename the file"
        return f"{text}: cannot be written in this locale ({error.encoding}); set PYTHONUTF8=1 or LC_ALL=C.UTF-8"
    if isinstance(error, MemoryError):
        return "not enough memory; run again with fewer workers or smaller batches"
    kind = type(error).__name__
    return f"internal error ({kind}); please report the lines above together with the command"


def _ending(stop: SystemExit) -> int:
    """Return the exit code of a command that called exit; 1 is reserved for gates."""
    if isinstance(stop.code, str):
        print_line(stop.code, err=True)
    code = stop.code if isinstance(stop.code, int) else EXIT_OK if stop.code is None else EXIT_DEFECT
    return EXIT_DEFECT if code == EXIT_GATE else code


def _say_interrupted() -> int:
    print_line("interrupted; run the same command again to continue", err=True)
    return EXIT_INTERRUPTED


def _options(given: Sequence[str]) -> Sequence[str]:
    """Return the arguments before ``--``, which include the options."""
    return given[: given.index("--")] if "--" in given else given


def _debug_first(given: Sequence[str]) -> list[str]:
    """Move ``--debug`` before the command.

    It is an option of the program, but users naturally add it at the end of a failed command.
    """
    options = _options(given)
    others = [argument for argument in options if argument != DEBUG]
    return [DEBUG, *others, *given[len(options) :]]


def _say_traceback(error: BaseException) -> None:
    # messages of errors quote files and models
    print_line("".join(traceback.format_exception(error)).rstrip(), err=True)


class _Printable(logging.Formatter):
    """Escapes control characters in log records."""

    def format(self, record: logging.LogRecord) -> str:
        return escape_for_console(super().format(record))


@contextmanager
def _packages_logged() -> Iterator[None]:
    """Print the packages' log on standard error, such as errors that a command recovers from."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Printable("%(name)s: %(message)s"))
    loggers = [logging.getLogger(package) for package in ("prospect_core", "prospect_eval")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)


def _writable(context: Any, param: Any, value: str | None) -> str | None:
    """Check a file before the work; the work may create its folder."""
    from prospect_core.util.atomic import bypasses_atomic_write

    if value not in (None, "-"):
        file = Path(str(value))
        # for a device, a pipe or a link, its own permissions count, not those of the
        # folder
        target = file.resolve() if file.is_symlink() and not bypasses_atomic_write(file) else file
        there = file if bypasses_atomic_write(file) else next(p for p in target.absolute().parents if p.exists())
        if target.is_dir() or not (there is file or there.is_dir()) or not os.access(there, os.W_OK):
            raise UserError(f"--json {value}: cannot be written; give a file in a writable folder")
    return value


def dtype_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --dtype, the number type for computation."""
    return click.option(
        "--dtype", type=click.Choice(["float32", "bfloat16", "auto"]), default="float32", show_default=True,
        help="Number format of the computation; auto: bfloat16 on an NVIDIA GPU that supports it. Changes the last digits.",
    )(command)  # fmt: skip


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --json: results as JSON on standard output instead of the table, or also in a file."""
    return click.option(
        "--json", "json_", is_flag=False, flag_value="-", metavar="[FILE]", callback=_writable,
        help="Print the results as JSON instead of a table, or also write them to FILE.",
    )(command)  # fmt: skip


def print_json_option(json_: str | None, value: Callable[[], Any]) -> bool:
    """Write the results to the target of ``--json``.

    Args:
        json_: Value of the option: None, ``-`` or a file.
        value: Returns the results.

    Returns:
        Whether to show the results to the user too.

    Raises:
        DataError: If the file cannot be written.
    """
    from prospect_core.util.atomic import write_atomic
    from prospect_core.util.errors import DataError
    from prospect_core.util.json_io import dump_json

    if json_ is None:
        return True
    text = dump_json(value(), indent=1) + "\n"
    if json_ == "-":
        click.echo(json_for_standard_stream(text, sys.stdout), nl=False)
        return False
    try:
        Path(json_).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(Path(json_), text)
    except OSError as error:
        raise DataError(f"{json_}: cannot be written ({error.strerror})") from error
    return True


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on standard error; the context gives ``advance(done, total)``.

    Without a terminal it prints a line every `QUIET_S` seconds.
    """
    with progress_bars() as advance:
        yield partial(advance, what)


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int | None], None]]:
    """Show progress bars of several tasks; the context gives ``advance(what, done, total)``.

    A total of None is unknown.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Any) -> Text:
            speed = task.speed or 0.0
            return Text(f"{speed:.1f}/s" if speed >= 1 else f"{60 * speed:.1f}/min" if speed else "")

    shown = make_console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as progress:
        tasks: dict[str, Any] = {}
        told = time.monotonic()

        def advance(what: str, done: int, total: int | None) -> None:
            nonlocal told
            if not shown.is_terminal and time.monotonic() - told > QUIET_S:
                told = time.monotonic()
                print_line(f"{what}: {done:,}{'' if total is None else f' of {total:,}'}", err=True)
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=None)
            progress.update(tasks[what], completed=done, total=total)

        yield advance


def quiet_transformers() -> None:
    """Switch off progress bars and warnings of transformers.

    This does not import transformers, which takes seconds: a later import reads the setting from
    the environment.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    if "transformers" in sys.modules:
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
