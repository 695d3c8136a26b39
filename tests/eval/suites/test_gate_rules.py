"""Gate rules and the suites that name them: errors are one-line messages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prospect_core.util.errors import UserError
from prospect_eval.metrics import all_metrics
from prospect_eval.suites.gate_rules import read_gate_rules
from prospect_eval.suites.suite import SUITES, is_benchmark_suite, open_suite
from tests.helpers.predictions import TOOLS

METRICS = all_metrics(TOOLS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("metrics: {dst_jga: 0.02}", "metrics.dst_jga"),
        ("metrics: {dst_jga: {margin: -1}}", "metrics.dst_jga.margin"),
        ("metrics: {dst_jga: {margin: .inf}}", "metrics.dst_jga.margin"),
        ("metrics: {dst_jga: {margin: .nan}}", "metrics.dst_jga.margin"),
        ("metrics: {dst_jga: {margn: 1}}", "metrics.dst_jga"),
        ("metrics: {dst_jga: {margin: 1, direction: up}}", "direction"),
        ("strict: true", "holds no rules"),
        ("[1, 2", "not YAML"),
        ("", "the file"),
    ],
)
def test_read_gate_rules_invalid_is_one_line(text, message):
    with pytest.raises(UserError, match=message) as error:
        read_gate_rules(text, "rules.yaml")
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("rules.yaml: ")


@pytest.mark.integration
@pytest.mark.parametrize("name", SUITES)
def test_built_in_suites_name_existing_metrics(name):
    from prospect_core.stream.strategies.registry import BUILT_IN

    suite = open_suite(name)
    known = {metric.name for metric in METRICS}
    rules = suite.rules()
    assert {*suite.metrics, *(rules.metrics if rules else ())} <= known
    assert set(suite.strategies) <= {strategy.name for strategy in BUILT_IN}


def test_open_suite_invalid_is_one_line(tmp_path):
    file = tmp_path / "s.yaml"
    for text, message in (
        ("splitt: test", "splitt"),
        ("gate: {metrics: {}}", "holds no rules"),
        ("7", "the file"),
        ("[", "not YAML"),
    ):
        file.write_text(text)
        with pytest.raises(UserError, match=message) as error:
            open_suite(str(file))
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="did you mean 'workbench'"):
        open_suite("workbenc")
    with pytest.raises(UserError, match="no such file"):
        open_suite("missing.yaml")


def test_open_suite_too_few_built_in_videos_raises(tmp_path, monkeypatch):
    from prospect_core.workbench.world import levels

    monkeypatch.setitem(levels.SPLITS, "test_long", replace(levels.SPLITS["test_long"], videos=6))
    with pytest.raises(UserError, match="gate: split 'test_long' has 6 videos, rules with margins need at least 10"):
        open_suite("workbench_long")
    file = tmp_path / "exact.yaml"
    file.write_text("data: workbench\nsplit: test_long\ngate: {exact: [predictions_digest]}\n")
    assert open_suite(str(file)).split == "test_long"


def test_open_suite_too_few_videos_in_folder_raises(short_world, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(f"data: {short_world.root}\nsplit: test\ngate: {{metrics: {{dst_jga: {{margin: 0.1}}}}}}\n")
    with pytest.raises(UserError, match=r"split 'test' has \d+ videos, rules with margins need at least 10"):
        open_suite(str(file))


@pytest.mark.integration
@pytest.mark.parametrize("name", [name for name in SUITES if is_benchmark_suite(name)])
def test_suites_of_published_benchmarks_have_gate_rules(name):
    rules = open_suite(name).rules()
    assert rules is not None
    assert rules.metrics
