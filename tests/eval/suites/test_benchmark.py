"""The registry of published benchmarks, and the types that all of them share."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from prospect_core.util.errors import DataError, UserError
from prospect_eval.suites import benchmark as benchmark_module
from prospect_eval.suites.benchmark import (
    GROUP,
    Benchmark,
    ReadCounts,
    list_benchmarks,
    make_values_of_totals,
    open_benchmark,
)
from prospect_eval.suites.suite import is_benchmark_suite, open_suite, suite_file
from tests.helpers.paths import ROOT

#: the object that the entry points of these tests name
INSTALLED = replace(open_benchmark("ovo_bench"), name="mine")


@pytest.mark.parametrize("name", list_benchmarks())
def test_open_benchmark_every_name_is_complete(name):
    benchmark = open_benchmark(name)
    assert isinstance(benchmark, Benchmark)
    assert benchmark.name == name
    assert benchmark.title
    assert benchmark.source.startswith("http")
    assert benchmark.licence
    assert benchmark.headline


@pytest.mark.parametrize("name", list_benchmarks())
def test_values_of_totals_empty_has_headline_names(name):
    benchmark = open_benchmark(name)
    values = benchmark.values_of_totals({})
    assert set(benchmark.headline) <= set(values)


def test_list_benchmarks_equals_benchmark_folders():
    folders = {file.parent.name for file in (ROOT / "prospect_eval" / "suites").glob("*/benchmark.py")}
    assert set(list_benchmarks()) == folders
    assert {"ovo_bench", "ovo_timing", "streamingbench"} <= folders


def test_list_benchmarks_imports_no_benchmark():
    code = (
        "import sys; from prospect_eval.suites.benchmark import list_benchmarks; names = list_benchmarks(); "
        "assert names; sys.exit(any(f'prospect_eval.suites.{name}' in sys.modules for name in names))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_open_benchmark_unknown_name_suggests_nearest():
    with pytest.raises(UserError, match=r"'ovo_bensh' is unknown: .*did you mean 'ovo_bench'\?"):
        open_benchmark("ovo_bensh")


def test_make_values_of_totals_undefined_value_is_none():
    values_of_totals = make_values_of_totals(lambda totals: {"share": totals["right"] / totals["number"]})
    assert values_of_totals({"right": 1.0, "number": 4.0}) == {"share": 0.25}
    assert values_of_totals({"right": 0.0, "number": 0.0}) == {"share": None}


def test_make_values_of_totals_returns_plain_floats():
    values = make_values_of_totals(lambda totals: {"half": totals["x"] / 2})({"x": np.float64(1.0)})
    assert type(values["half"]) is float


def test_read_counts_of_counts_kinds_and_reasons():
    counts = ReadCounts.of(["REC", "SSR", "REC"], ["no task", "no task"])
    assert counts == ReadCounts({"REC": 2, "SSR": 1}, {"no task": 2})
    assert counts.describe_refused() == ["no task: 2"]


def test_find_value_range_prefers_named_range():
    benchmark = open_benchmark("ovo_bench")
    assert benchmark.find_value_range("total") == (0.0, 1.0)


def install(monkeypatch, *names, value=f"{__name__}:INSTALLED"):
    """Entry points of installed packages under these names."""
    points = [EntryPoint(name, value, GROUP) for name in names]
    monkeypatch.setattr(benchmark_module, "list_entry_points", lambda group: points)


def test_open_benchmark_of_an_installed_package_gives_its_object(monkeypatch):
    install(monkeypatch, "mine")
    assert open_benchmark("mine") is INSTALLED
    assert "mine" in list_benchmarks()
    assert is_benchmark_suite("mine")


def test_list_benchmarks_imports_no_installed_package(monkeypatch):
    install(monkeypatch, "mine", value="no_such_module:BENCHMARK")
    assert "mine" in list_benchmarks()
    with pytest.raises(DataError, match=r"prospect\.benchmarks 'mine' .* cannot be imported"):
        open_benchmark("mine")


@pytest.mark.parametrize("names", [("ovo_bench",), ("mine", "mine")])
def test_list_benchmarks_name_of_another_benchmark_is_refused(monkeypatch, names):
    install(monkeypatch, *names)
    with pytest.raises(UserError, match="is taken; give it another one"):
        list_benchmarks()


def test_open_benchmark_entry_point_of_another_name_is_refused(monkeypatch):
    install(monkeypatch, "other")
    with pytest.raises(DataError, match="the benchmark is named 'mine'"):
        open_benchmark("other")


def test_open_benchmark_entry_point_of_another_type_is_refused(monkeypatch):
    install(monkeypatch, "mine", value="json:dumps")
    with pytest.raises(DataError, match="not a Benchmark"):
        open_benchmark("mine")


def test_suite_file_of_an_installed_benchmark_is_the_one_it_names(monkeypatch, tmp_path):
    file = tmp_path / "suite.yaml"
    file.write_text("benchmark: mine\nfps: 2\n")
    install(monkeypatch, "mine")
    monkeypatch.setattr(sys.modules[__name__], "INSTALLED", replace(INSTALLED, suite_file=file))
    assert suite_file("mine") == file
    assert open_suite("mine").benchmark == "mine"


def test_suite_file_of_an_installed_benchmark_without_suite_names_score(monkeypatch):
    install(monkeypatch, "mine")
    with pytest.raises(UserError, match="prospect-eval score FILES --suite mine"):
        suite_file("mine")


def test_suite_file_unknown_name_lists_installed_benchmarks(monkeypatch):
    install(monkeypatch, "mine")
    with pytest.raises(UserError, match=r"use one of .*, mine, or a YAML file"):
        suite_file("mime")
