"""Run commands in this process and check exit codes and error lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from prospect_core.cli.commands import prospect
from prospect_eval.cli.commands import prospect_eval


def call(command: Callable[[list[str]], Any], *args: object) -> Any:
    """Run a command and return its exit code."""
    with pytest.raises(SystemExit) as stop:
        command([str(arg) for arg in args])
    return stop.value.code


def evaluate(*args: object) -> Any:
    """Run ``prospect-eval ARGS`` and return its exit code."""
    return call(prospect_eval, *args)


def run_cli(*args: object) -> Any:
    """Run ``prospect ARGS`` and return its exit code."""
    return call(prospect, *args)


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the only line on standard error since the last call."""
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert "Traceback" not in captured.err
    return lines[0]
