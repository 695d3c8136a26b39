"""Errors of transformers and its libraries about their arguments, as errors of options of `prospect train`.

with translate_trainer_option_errors("train"):
    arguments = TrainingArguments(**options)
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb

from prospect_core.util.errors import UserError

#: libraries whose own errors tell a user what is wrong with an option
LIBRARIES = ("transformers", "accelerate", "huggingface_hub", "deepspeed")


@contextmanager
def translate_trainer_option_errors(
    what: str, kinds: tuple[type[Exception], ...] = (ValueError, ImportError)
) -> Iterator[None]:
    """Turn a library's objection to its arguments into a one-line `UserError`.

    An objection is an error that was raised in the code of one of `LIBRARIES`, or a `ConfigurationError` of our own. Any
    other error is a mistake in this program and passes, so that its traceback is seen.

    Args:
        what: What the line begins with.
        kinds: The types of errors that may be objections.
    """
    from prospect_core.model.configuration import ConfigurationError

    try:
        yield
    except kinds as error:
        if not (isinstance(error, ConfigurationError) or _of_a_library(error)):
            raise
        raise UserError(f"{what}: {' '.join(str(error).split())}") from error


def _of_a_library(error: Exception) -> bool:
    """Whether one of `LIBRARIES` raised an error, by itself or through the standard library."""
    names = [frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__)]
    packages = [str(name).partition(".")[0] for name in names]
    others = [package for package in packages if package not in sys.stdlib_module_names]
    return bool(others) and others[-1] in LIBRARIES
