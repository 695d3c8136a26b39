"""Pages of published benchmarks: their tables agree with the suites, and each suite has a page."""

from __future__ import annotations

import re

import pytest

from prospect_eval.suites.benchmark import list_benchmarks, open_benchmark
from prospect_eval.suites.suite import SUITES, open_suite
from tests.helpers.paths import ROOT

DOCS = ROOT / "docs"
NAMES = [name for name in list_benchmarks() if name in SUITES]
CODE = re.compile(r"`([^`]+)`")


def read_rows(page):
    """Cells of the rows of all tables of a page."""
    lines = (DOCS / page).read_text("utf-8").splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


@pytest.mark.integration
@pytest.mark.parametrize("name", NAMES)
def test_benchmark_index_row_equals_suite(name):
    (row,) = [row for row in read_rows("benchmarks/index.md") if row[1] == f"`{name}`"]
    assert f"({name}.md)" in row[0]
    assert (DOCS / "benchmarks" / f"{name}.md").is_file()
    assert CODE.findall(row[3]) == list(open_suite(name).protocols)
    assert tuple(CODE.findall(row[4])) == open_benchmark(name).headline


def test_benchmark_index_lists_no_unknown_suite():
    listed = {name for row in read_rows("benchmarks/index.md")[2:] for name in CODE.findall(row[1])}
    assert listed == set(list_benchmarks())


@pytest.mark.integration
@pytest.mark.parametrize("name", NAMES)
def test_benchmark_page_names_each_protocol(name):
    first = [CODE.findall(row[0]) for row in read_rows(f"benchmarks/{name}.md")]
    named = [codes[0] for codes in first if codes]
    protocols = list(open_suite(name).protocols)
    assert [code for code in named if code in protocols] == protocols


@pytest.mark.parametrize("name", NAMES)
def test_benchmark_guide_lists_each_suite_with_its_protocols(name):
    rows = [row for row in read_rows("howto/benchmarks.md") if row[0] == f"`{name}`"]
    assert len(rows) == 2
    codes = CODE.findall(rows[1][1])
    protocols = list(open_suite(name).protocols)
    assert codes[0] == protocols[0]
    assert set(protocols) <= set(codes)
