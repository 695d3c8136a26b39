"""The example CI workflows are valid YAML, and their commands have valid options."""

from __future__ import annotations

import re
import shlex

import pytest
import yaml

from prospect_eval.cli.commands import prospect_eval
from tests.helpers.paths import ROOT

FOLDER = ROOT / "benchmarks" / "ci"
FILES = sorted(file for file in FOLDER.iterdir() if file.suffix in (".yml", ".yaml"))


def commands(value):
    """Return every text in the tree that calls a command of PROSPECT."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [command for item in value for command in commands(item)]
    return [value] if isinstance(value, str) and value.startswith("prospect-eval") else []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_ci_example_commands_exist(file):
    text = file.read_text()
    found = commands(yaml.safe_load(text)) + re.findall(r"^#\s+(prospect-eval .*)$", text, re.M)
    assert {shlex.split(command)[1] for command in found} == {"doctor", "run", "gate"}
    for command in found:
        name, *given = shlex.split(command)[1:]
        known = {option for parameter in prospect_eval.commands[name].params for option in parameter.opts}
        assert {option for option in given if option.startswith("--")} <= known, command


def test_ci_examples_cover_both_systems():
    assert [file.name for file in FILES] == [".gitlab-ci.yml", "github-actions.yml"]
