"""Errors that a user can mend: one line that says what was given, what is allowed and what to do.

Each carries the exit code of its kind; the command lines print the line and leave with that code.

    python -c "from prospect_core.util.errors import did_you_mean; print(did_you_mean('drop_al', ['none', 'drop_all']))"
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXIT_OK, EXIT_GATE, EXIT_USAGE, EXIT_INCOMPLETE, EXIT_DEFECT, EXIT_INTERRUPTED = 0, 1, 2, 3, 70, 130


class GateFailedError(Exception):
    """A gate failed (exit 1, which no other ending of a command has)."""


class UserError(Exception):
    """Wrong use or configuration (exit 2)."""

    exit_code = EXIT_USAGE


class DataError(UserError):
    """Data, a checkpoint or the machine lets us down: missing, broken or incomplete (exit 3)."""

    exit_code = EXIT_INCOMPLETE


def did_you_mean(given: str, allowed: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` when something allowed is close to what was given, else nothing."""
    close = difflib.get_close_matches(given, list(allowed), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def require_choice(what: str, given: str, allowed: Iterable[str]) -> str:
    """Returns ``given`` when it is allowed, else raises a `UserError` that lists what is."""
    names = sorted(allowed)
    if given not in names:
        raise UserError(f"{what} {given!r} is unknown: use one of {', '.join(names)}{did_you_mean(given, names)}")
    return given
