"""The scripts below ``.ci`` as modules."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from tests.helpers.paths import ROOT

PROSE = ROOT / ".ci" / "prose"


def prose_module(name: str) -> ModuleType:
    """A module of ``.ci/prose``, which is no package: its modules import each other by name."""
    sys.path.insert(0, str(PROSE))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(PROSE))
