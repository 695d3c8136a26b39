"""The check of published annotations that `prospect data validate --benchmark` asks for."""

from __future__ import annotations

from pathlib import Path

from prospect_eval.suites.benchmark import AnnotationProblem, open_benchmark


def check_benchmark_annotations(name: str, root: Path) -> list[AnnotationProblem]:
    """Find the faults of a published benchmark's annotations.

    Args:
        name: The benchmark.
        root: Its annotation file, or the folder that holds it.

    Raises:
        UserError: The benchmark is unknown.
        DataError: The annotations are missing or cannot be read.
    """
    benchmark = open_benchmark(name)
    return benchmark.find_problems(benchmark.read_annotations(root))
