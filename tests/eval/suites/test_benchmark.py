"""The registry of published benchmarks, and the types that all of them share."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from prospect_core.util.errors import UserError
from prospect_eval.suites.benchmark import (
    Benchmark,
    ReadCounts,
    list_benchmarks,
    make_values_of_totals,
    open_benchmark,
)
from tests.helpers.paths import ROOT


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
