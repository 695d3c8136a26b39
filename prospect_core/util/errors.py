"""Errors that a user can fix: one line with the given value, the allowed ones, and what to do.

Each carries the exit code of its kind. The command lines print the line and exit with that code.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXIT_OK, EXIT_GATE, EXIT_USAGE, EXIT_INCOMPLETE, EXIT_DEFECT, EXIT_INTERRUPTED = 0, 1, 2, 3, 70, 130


class GateFailedError(Exception):
    """A gate failed (exit code 1, which nothing else uses)."""


class UserError(Exception):
    """Wrong use or configuration (exit code 2)."""

    exit_code = EXIT_USAGE


class DataError(UserError):
    """Missing, broken or incomplete data, checkpoint or machine resource (exit code 3)."""

    exit_code = EXIT_INCOMPLETE


def did_you_mean(given: str, allowed: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` if an allowed value is similar to the given one, otherwise ""."""
    close = difflib.get_close_matches(given, list(allowed), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def require_choice(what: str, given: str, allowed: Iterable[str]) -> str:
    """Return ``given`` if it is allowed.

    Args:
        what: Name of the value in the message.
        given: The value.
        allowed: Allowed values.

    Raises:
        UserError: Lists the allowed values.
    """
    names = sorted(allowed)
    if given not in names:
        raise UserError(f"{what} {given!r} is unknown: use one of {', '.join(names)}{did_you_mean(given, names)}")
    return given
