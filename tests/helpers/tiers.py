"""Test tiers: determine the tier of a test, and keep torch out of unit tests.

Markers decide first, the folder second: tests in ``tests/browser`` are browser tests, tests in
``tests/hf`` use Hugging Face's own processors, tests in ``tests/integration`` are integration
tests, all others are unit tests. A slow test in a module that is marked as integration is a slow
test.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.helpers.paths import ROOT

#: tiers in order of priority: the first marker of a test decides
TIERS = ("nightly", "slow", "browser", "hf", "integration", "unit")
FOLDERS = {"browser": "browser", "hf": "hf", "integration": "integration"}
#: a module with this declaration is not imported if only unit tests are selected
_NOT_UNIT = re.compile(r"^pytestmark = .*\bpytest\.mark\.(integration|slow|nightly|browser)\b", re.M)


def tier_of(item: pytest.Item) -> str:
    """Return the tier of a collected test."""
    for tier in TIERS:
        if item.get_closest_marker(tier) is not None:
            return tier
    return FOLDERS.get(item.path.relative_to(ROOT / "tests").parts[0], "unit")


def slow(*values: object) -> Any:
    """Mark values of a parametrised test as slow; other values represent their kind in the default suite."""
    return pytest.param(*values, marks=pytest.mark.slow)


def nightly(*values: object) -> Any:
    """Mark values of a parametrised test as nightly; shorter ones represent their kind in the slow tests."""
    return pytest.param(*values, marks=pytest.mark.nightly)


def holds_unit_tests(file: Path) -> bool:
    """Check whether a test module can hold unit tests, without importing it."""
    parts = file.relative_to(ROOT / "tests").parts
    return parts[0] not in FOLDERS and not _NOT_UNIT.search(file.read_text())


class TorchBlocker(MetaPathFinder):
    """Refuses to import torch and packages based on it, so that unit tests stay fast."""

    BLOCKED = ("torch", "transformers", "sentence_transformers", "accelerate", "peft")

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.split(".")[0] in self.BLOCKED:
            raise ImportError(f"unit tests work without {fullname}: mark the test with pytest.mark.integration")
        return None


def block_torch() -> None:
    """Block imports of torch in this process from now on."""
    sys.meta_path.insert(0, TorchBlocker())
