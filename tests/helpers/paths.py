"""Where things lie: the repository, and the reference material next to it."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
#: real files of the field; tests that need them are skipped where they are absent
SHARED_DATA = ROOT.parent / "shared" / "data"
