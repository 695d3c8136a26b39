"""Paths of the repository and of the reference data next to it."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
#: real files of other projects; tests that need them are skipped without them
SHARED_DATA = ROOT.parent / "shared" / "data"
