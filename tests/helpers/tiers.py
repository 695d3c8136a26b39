"""Test tiers: which tier a test belongs to, and that unit tests work without torch.

Markers decide first, the folder second: tests in ``tests/browser`` are browser tests, tests in ``tests/hf`` those of
Hugging Face's own processors, tests in ``tests/integration`` integration tests, all others unit tests. A slow test of a module that is marked as integration is a slow test.
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

#: the first marker that a test has decides
TIERS = ("nightly", "slow", "browser", "hf", "integration", "unit")
FOLDERS = {"browser": "browser", "hf": "hf", "integration": "integration"}
#: a module that declares this is not imported where unit tests alone are asked for
_NOT_UNIT = re.compile(r"^pytestmark = .*\bpytest\.mark\.(integration|slow|nightly|browser)\b", re.M)


def tier_of(item: pytest.Item) -> str:
    """The tier of a collected test."""
    for tier in TIERS:
        if item.get_closest_marker(tier) is not None:
            return tier
    return FOLDERS.get(item.path.relative_to(ROOT / "tests").parts[0], "unit")


def slow(*values: object) -> Any:
    """The values of a parametrised test that belong to the slow tests, where others stand for their kind in the default
    suite."""
    return pytest.param(*values, marks=pytest.mark.slow)


def nightly(*values: object) -> Any:
    """Values of a parametrised test that runs once a day, where shorter ones stand for their kind in the slow tests."""
    return pytest.param(*values, marks=pytest.mark.nightly)


def holds_unit_tests(file: Path) -> bool:
    """Whether a test module can hold unit tests, told without importing it."""
    parts = file.relative_to(ROOT / "tests").parts
    return parts[0] not in FOLDERS and not _NOT_UNIT.search(file.read_text())


class TorchBlocker(MetaPathFinder):
    """Refuses to import torch and what is built on it, so that unit tests stay fast."""

    BLOCKED = ("torch", "transformers", "sentence_transformers", "accelerate", "peft")

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.split(".")[0] in self.BLOCKED:
            raise ImportError(f"unit tests work without {fullname}: mark the test with pytest.mark.integration")
        return None


def block_torch() -> None:
    """From now on torch cannot be imported in this process."""
    sys.meta_path.insert(0, TorchBlocker())
