"""Cases of published scorers: inputs with the values of the published code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.paths import SHARED_DATA

FIELD_DATA = SHARED_DATA / "field"


def _is_absent(path: Path) -> pytest.MarkDecorator:
    return pytest.mark.skip(reason=f"{path.relative_to(SHARED_DATA)} is not next to this checkout")


def each_field_case(
    name: str, file: str, key: str = "cases", keep: Callable[[dict[str, Any]], bool] = lambda case: True
) -> pytest.MarkDecorator:
    """Parametrize a test with every case in a file of a benchmark's folder; skip it if the file is absent.

    Args:
        name: Folder of the benchmark.
        file: The file in it.
        key: Key of the list of cases.
        keep: Which cases the test is about.
    """
    path = FIELD_DATA / name / file
    if not path.is_file():
        return pytest.mark.parametrize("case", [pytest.param(None, marks=_is_absent(path), id="absent")])
    found = [case for case in json.loads(path.read_text("utf-8"))[key] if keep(case)]
    names = [f"{number}-{str(case.get('case', ''))[:40]}" for number, case in enumerate(found)]
    return pytest.mark.parametrize("case", found, ids=names)


def read_field_file(name: str, file: str) -> Any:
    """Read a file of a benchmark's folder; skip the test if it is absent."""
    path = find_field_file(name, file)
    return json.loads(path.read_text("utf-8"))


def find_field_file(name: str, file: str) -> Path:
    """Return the path of a file of a benchmark's folder; skip the test if it is absent."""
    path = FIELD_DATA / name / file
    if not path.exists():
        pytest.skip(f"{path.relative_to(SHARED_DATA)} is not next to this checkout")
    return path


def assert_equal_values(found: Any, expected: Any, tolerance: float = 1e-12) -> None:
    """Compare numbers within a relative and absolute tolerance, and None and texts exactly."""
    for name, value in expected.items():
        got = found[name]
        if isinstance(value, dict):
            assert_equal_values(got, value, tolerance)
        elif isinstance(value, float):
            assert got == pytest.approx(value, rel=tolerance, abs=tolerance), name
        else:
            assert got == value, name
