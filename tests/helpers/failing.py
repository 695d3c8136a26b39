"""Functions and workers that fail on purpose.

Other processes import this module, so it imports nothing large.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from prospect_core.util.errors import DataError
from prospect_core.util.processes import picklable_process_error


def planted(*args: Any, **kwargs: Any) -> NoReturn:
    raise TypeError("a planted bug")


def planted_value_error(*args: Any, **kwargs: Any) -> NoReturn:
    raise ValueError("a planted bug")


@dataclass(frozen=True)
class Failing:
    """A worker that fails at each job, with an error of the data or with a defect."""

    bug: bool = False

    def __call__(self) -> Callable[[Sequence[Any]], Iterator[tuple[int, Any]]]:
        def serve(pack: Sequence[Any]) -> Iterator[tuple[int, Any]]:
            for job in pack:
                yield 0, planted() if self.bug else self.refuse(job)

        return serve

    def refuse(self, job: Any) -> NoReturn:
        raise DataError(f"{job} is broken")


class UnpicklableError(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


def carry_a_chain() -> Any:
    try:
        try:
            planted_value_error()
        except ValueError as error:
            raise DataError("above") from error
    except DataError as error:
        return picklable_process_error(error)


def carry_what_cannot_be_pickled() -> Any:
    try:
        raise UnpicklableError("first", "second")
    except UnpicklableError as error:
        return picklable_process_error(error)
