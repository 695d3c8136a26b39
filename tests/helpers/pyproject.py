"""Settings in pyproject.toml."""

from __future__ import annotations

import sys
from typing import Any

from tests.helpers.paths import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def tool_settings(name: str) -> dict[str, Any]:
    """Return the table ``[tool.NAME]``."""
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"][name]
    return found
