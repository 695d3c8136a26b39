"""`prospect data validate --benchmark`: faults of published annotations, by the checks of installed packages."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path

from prospect_core.util.console import print_json_option, print_line
from prospect_core.util.entry_points import list_entry_points, load_entry_point
from prospect_core.util.errors import DataError, UserError

#: entry points ``(name, root) -> problems`` with the attributes id, kind and text
GROUP = "prospect.annotation_checks"


def validate_benchmark_annotations(name: str, root: Path, accept: bool, json_: str | None) -> None:
    """Print the faults that the installed checks find in published annotations.

    Args:
        name: The benchmark.
        root: Its annotation file, or the folder that holds it.
        accept: Whether ``--accept`` was given, which published annotations refuse.
        json_: The value of ``--json``.

    Raises:
        UserError: No check is installed, or ``--accept`` was given.
        DataError: The annotations have faults or cannot be read.
    """
    if accept:
        raise UserError("--accept is for datasets of this program; the annotations of a benchmark are not changed")
    checks = list_entry_points(GROUP)
    if not checks:
        raise UserError("--benchmark: the package prospect_eval, which reads published benchmarks, is not installed")
    problems = [problem for point in checks for problem in load_entry_point(point)(name, root)]
    if print_json_option(json_, lambda: {"problems": [asdict(problem) for problem in problems]}):
        for kind, number in Counter(problem.kind for problem in problems).most_common():
            print_line(f"{number:5d}  {kind}")
        for problem in problems:
            print_line(f"{problem.id}: {problem.kind}: {problem.text}")
    if problems:
        raise DataError(f"{root}: {len(problems)} faults in the annotations of {name}")
    if json_ is None:
        print_line(f"{root}: no fault found in the annotations of {name}")
