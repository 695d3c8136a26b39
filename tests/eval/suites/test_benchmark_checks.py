"""`prospect data validate --benchmark` on invented annotations."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from prospect_core.cli.commands import prospect
from tests.helpers.ovo_bench_items import choice_entry


@pytest.fixture
def validate(tmp_path):
    def run(*entries, options=()):
        file = tmp_path / "ovo_bench_new.json"
        file.write_text(json.dumps(list(entries)), "utf-8")
        return CliRunner().invoke(prospect, ["data", "validate", str(tmp_path), "--benchmark", "ovo_bench", *options])

    return run


def test_validate_command_benchmark_without_faults_exits_0(validate):
    done = validate(choice_entry(1))
    assert done.exit_code == 0
    assert "no fault found" in done.output


def test_validate_command_benchmark_lists_faults_by_kind(validate):
    done = validate(choice_entry(1, options=["a", "on the table", "a"]), options=["--json"])
    (problem,) = json.loads(done.stdout[: done.stdout.rindex("}") + 1])["problems"]
    assert (problem["id"], problem["kind"]) == ("1", "an option is listed twice")
    assert done.exit_code != 0


def test_validate_command_benchmark_accept_is_refused(validate):
    done = validate(choice_entry(1), options=["--accept"])
    assert done.exit_code != 0
    assert "are not changed" in done.output
