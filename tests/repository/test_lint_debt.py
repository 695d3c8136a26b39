"""The list of lint exceptions equals the files that need one: no file is added, and a fixed file is
removed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT
from tests.helpers.pyproject import tool_settings

FOLDERS = ("prospect_core", "prospect_eval", "benchmarks", "tests")


@pytest.fixture(scope="module")
def listed():
    """Return [(pattern, code)] of the exceptions in pyproject.toml."""
    lint = tool_settings("ruff")["lint"]
    return [(pattern, code) for pattern, codes in lint["per-file-ignores"].items() for code in codes]


@pytest.fixture(scope="module")
def found():
    """Return {(path, code)} of ruff's findings without exceptions."""
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format", "json"]
    done = subprocess.run(
        [*command, "--config", "lint.per-file-ignores={}", *FOLDERS], cwd=ROOT, capture_output=True, text=True
    )
    # exit code 1: ruff has findings
    assert done.returncode in (0, 1), done.stderr
    return {(Path(one["filename"]).relative_to(ROOT).as_posix(), one["code"]) for one in json.loads(done.stdout)}


def covers(entry, offence):
    (pattern, code), (path, found_code) = entry, offence
    is_same_rule = found_code == code or re.fullmatch(rf"{code}\d+", found_code)
    return bool(is_same_rule) and fnmatch(path, pattern)


def test_lint_debt_has_every_finding(listed, found):
    new = sorted(one for one in found if not any(covers(entry, one) for entry in listed))
    assert not new, f"mend these files, the list in pyproject.toml does not grow: {new}"


def test_lint_debt_entries_are_needed(listed, found):
    unneeded = [entry for entry in listed if not any(covers(entry, one) for one in found)]
    assert not unneeded, f"take these out of per-file-ignores in pyproject.toml: {unneeded}"


def test_lint_debt_is_sorted_by_path(listed):
    assert listed == sorted(listed)
    files = [pattern for pattern, _ in listed if not pattern.endswith("/**")]
    assert not [path for path in files if not (ROOT / path).is_file()]


def test_lint_debt_folders_lack_only_docstring_rules(listed):
    exempt = {(pattern, code) for pattern, code in listed if pattern.endswith("/**")}
    assert exempt <= {("tests/**", "D")}
