"""The installed browser, for tests that open pages."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip

#: skips a test if no browser is installed
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


def dom_of(page: Path, profile: Path) -> str:
    """Return the document of a page after a browser has run its scripts.

    Args:
        page: An HTML file.
        profile: Folder for the browser's files.
    """
    assert CHROMIUM is not None
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
