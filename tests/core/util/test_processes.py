"""Spin time of waiting threads, with and without the user's own setting."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from prospect_core.util.processes import SPINS, limit_spinning


@pytest.mark.parametrize(
    ("given", "spins"),
    [({}, str(SPINS)), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)],
)
def test_limit_spinning_keeps_user_setting(monkeypatch, given, spins):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    limit_spinning()
    assert os.environ.get("GOMP_SPINCOUNT") == spins
    monkeypatch.undo()


def test_commands_limit_spinning_before_torch_import():
    """OpenMP reads the variable when its library is loaded, and worker processes inherit it."""
    code = (
        "import os, sys; from importlib import import_module\n"
        "for name in ('prospect_core', 'prospect_eval'):\n"
        "    os.environ.pop('GOMP_SPINCOUNT', None)\n"
        "    try: import_module(f'{name}.cli').main(['--version'])\n"
        "    except SystemExit: pass\n"
        "    assert os.environ['GOMP_SPINCOUNT'], name\n"
        "assert 'torch' not in sys.modules\n"
    )
    environment = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
