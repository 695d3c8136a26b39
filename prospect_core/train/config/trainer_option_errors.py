"""Convert errors of transformers and related libraries about their arguments to errors of options.

with translate_trainer_option_errors("train"):
    arguments = TrainingArguments(**options)
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb

from prospect_core.util.errors import UserError

#: libraries whose error messages explain what is wrong with an option
LIBRARIES = ("transformers", "accelerate", "huggingface_hub", "deepspeed")


@contextmanager
def translate_trainer_option_errors(
    what: str, kinds: tuple[type[Exception], ...] = (ValueError, ImportError)
) -> Iterator[None]:
    """Convert a library's objection to its arguments to a one-line `UserError`.

    An objection is an error raised in the code of one of `LIBRARIES`, or a `ConfigurationError`.
    Any other error is a fault of this program and passes with its traceback.

    Args:
        what: Start of the line.
        kinds: Types of errors that may be objections.

    Raises:
        UserError: For an objection.
    """
    from prospect_core.model.configuration import ConfigurationError

    try:
        yield
    except kinds as error:
        if not (isinstance(error, ConfigurationError) or _of_a_library(error)):
            raise
        raise UserError(f"{what}: {' '.join(str(error).split())}") from error


def _of_a_library(error: Exception) -> bool:
    """Check whether one of `LIBRARIES` raised an error, directly or through the standard library."""
    names = [frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__)]
    packages = [str(name).partition(".")[0] for name in names]
    others = [package for package in packages if package not in sys.stdlib_module_names]
    return bool(others) and others[-1] in LIBRARIES
