"""The repository's CI files: their jobs exist and run targets of the Makefile."""

from __future__ import annotations

import re
import subprocess

import yaml

from tests.helpers.paths import ROOT

TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))


def commands_of(job):
    return [step["run"] for step in job["steps"] if "run" in step]


def test_workflow_has_expected_jobs():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    assert set(jobs) == {"lint", "unit", "integration", "browser", "oldest", "gate", "docs", "nightly"}
    assert all(job["timeout-minutes"] > 0 for job in jobs.values())


def test_workflow_runs_makefile_targets():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    commands = [command for job in jobs.values() for command in commands_of(job)]
    targets = {target for command in commands if command.startswith("make ") for target in command.split()[1:]}
    assert {"lint", "test-browser", "test-slow", "test-oldest", "eval", "gate", "docs", "nightly"} <= targets <= TARGETS


def test_ci_script_runs_makefile_targets():
    text = (ROOT / ".ci" / "run").read_text()
    targets = set(re.findall(r"stage \w+ make ([\w-]+)", text))
    assert {"test", "test-slow", "test-browser", "test-oldest", "eval", "gate", "docs"} <= targets <= TARGETS


def test_pre_commit_runs_tools_of_make_quick():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert {hook["entry"].split()[0] for hook in hooks} == {
        ".venv/bin/ruff",
        ".venv/bin/lint-imports",
        ".venv/bin/mypy",
        ".venv/bin/python",
        ".venv/bin/codespell",
    }
    scripts = {hook["entry"].split()[1] for hook in hooks if hook["entry"].startswith(".venv/bin/python ")}
    assert scripts == {".ci/prose/prose_lint.py", ".ci/prose/commit_message.py"}
    assert all((ROOT / script).is_file() for script in scripts)


def test_makefile_names_existing_test_files():
    printed = subprocess.run(
        ["make", "--dry-run", "test-oldest", "test-hf"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    named = re.findall(r"(?<!\S)tests/\S+", printed.stdout)
    assert named
    assert not [name for name in named if not (ROOT / name).exists()]
