"""The script that installs the test requirements: with uv and pip's settings, otherwise with pip."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

#: replacement for Python: lists pip's settings, records every other call, and fails as uv on
#: request
PYTHON = """#!/bin/sh
case "$*" in
  "-m pip config list")
    echo "global.index-url='https://files.example/simple'"
    echo "global.find-links='/in/a/file'"
    echo ":env:.find-links='/in/the/environment'"
    ;;
  "-m uv --version") ;;
  "-m uv pip"*)
    echo "uv $UV_DEFAULT_INDEX $UV_FIND_LINKS ${UV_INDEX-no further index}: $*" >>"$CALLS"
    exit "$UV_RESULT"
    ;;
  *) echo "$*" >>"$CALLS" ;;
esac
"""


def _install(folder: Path, uv_result: int) -> list[str]:
    """Return the calls to install the package x."""
    python, calls = folder / "python", folder / "calls"
    python.write_text(PYTHON)
    python.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    environment |= {"CALLS": str(calls), "UV_RESULT": str(uv_result)}
    subprocess.run(
        [ROOT / ".ci/install", python, "-c", "constraints.txt", "x"], env=environment, check=True, capture_output=True
    )
    return calls.read_text().replace(str(python), "PYTHON").splitlines()


UV = (
    "uv https://files.example/simple /in/the/environment no further index: "
    "-m uv pip install --quiet --python PYTHON -c constraints.txt x"
)
PIP = "-m pip install --quiet --disable-pip-version-check -c constraints.txt x"


@pytest.mark.parametrize(("uv_result", "calls"), [(0, [UV]), (1, [UV, PIP])], ids=["uv", "uv-fails"])
def test_install_script_uses_uv_with_pip_settings(tmp_path: Path, uv_result: int, calls: list[str]) -> None:
    assert _install(tmp_path, uv_result) == calls
