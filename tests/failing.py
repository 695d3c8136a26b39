"""What fails on purpose, here or in another process, which imports this module and therefore nothing large."""

from __future__ import annotations

from dataclasses import dataclass

from prospect_core.errors import DataError
from prospect_core.processes import carried


def planted(*args, **kwargs):
    raise TypeError("a planted bug")


def planted_value_error(*args, **kwargs):
    raise ValueError("a planted bug")


@dataclass(frozen=True)
class Failing:
    """A crew's worker that fails at each job: with an error of the data, or by a bug."""

    bug: bool = False

    def __call__(self):
        def serve(pack):
            for job in pack:
                yield 0, planted() if self.bug else self.refuse(job)

        return serve

    def refuse(self, job):
        raise DataError(f"{job} is broken")


class Unpicklable(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


def carry_a_chain():
    try:
        try:
            planted_value_error()
        except ValueError as error:
            raise DataError("above") from error
    except DataError as error:
        return carried(error)


def carry_what_cannot_be_pickled():
    try:
        raise Unpicklable("first", "second")
    except Unpicklable as error:
        return carried(error)
