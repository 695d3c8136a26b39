"""Each metric's sentence on the report's cards and rows, in `prospect-eval describe` and in the handbook."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from markupsafe import escape

from prospect_core.records import Knobs
from prospect_eval.cli.handbook import make_handbook_metrics_page
from prospect_eval.diagnostics import latency, teacher_forced
from prospect_eval.metrics import all_metrics, delivery
from prospect_eval.report.pages.run_page import write_run_page
from prospect_eval.runs.folder import RunConfig, open_run_folder
from prospect_eval.runs.metric_tables import metric_table_headlines
from prospect_eval.scoring.score import score_records
from tests.helpers.commands import evaluate
from tests.helpers.predictions import TOOLS
from tests.helpers.scored_runs import oracle, toy_episode

METRICS = all_metrics(TOOLS, plug_ins=False)
PASSES = [*delivery.delivery_metrics(measured=True), *latency.METRICS, *teacher_forced.METRICS]
MOST_WORDS = 30


def write_report(folder: Path, model: str, dataset: str) -> str:
    """The report of two toy episodes of a dataset as HTML."""
    records = oracle([toy_episode(number, dataset=dataset) for number in range(2)])
    config = RunConfig(model, "d" * 64, "data", "e" * 64, "test", None, Knobs(), "0+x")
    open_run_folder(folder, config)
    return write_run_page(folder, config, records, score_records(records, TOOLS), TOOLS).read_text("utf-8")


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """The report of a run of a baseline."""
    return write_report(tmp_path_factory.mktemp("run"), "baseline:oracle", "kitchen")


@pytest.mark.parametrize("metric", [*METRICS, *PASSES], ids=lambda metric: metric.name)
def test_definition_of_metric_is_one_sentence_of_at_most_30_words(metric):
    assert re.fullmatch(r"[A-Z0-9`(][^.]*(?:\.\d[^.]*)*\.", metric.definition), metric.definition
    assert len(metric.definition.split()) <= MOST_WORDS
    assert metric.failure_mode.endswith(".")


@pytest.mark.parametrize("name", list(latency.PEAKS))
def test_definition_of_memory_peak_is_one_sentence_of_at_most_30_words(name):
    entry = latency.compute_latency_diagnostics([])[name]
    assert re.fullmatch(r"[A-Z][^.]*\.", entry["definition"])
    assert len(entry["definition"].split()) <= MOST_WORDS


def test_report_shows_definitions_on_cards(html):
    cards = html[html.index('class="cards"') : html.index('id="charts-title"')]
    table = {metric.name: {"headline": metric.headline, "companion": metric.companion} for metric in METRICS}
    by_name = {metric.name: metric for metric in METRICS}
    for name in metric_table_headlines(table):
        assert f'<span class="definition">{escape(by_name[name].definition)}</span>' in cards, name


def test_report_shows_definitions_as_row_tooltips(html):
    rows = html[html.index('id="metrics-title"') :]
    for metric in METRICS:
        row = rf'<tr title="{re.escape(str(escape(metric.definition)))}[^"]*"><td>\s*'
        assert re.search(row + rf'<details class="metric"><summary>{re.escape(metric.name)}</summary>', rows), (
            metric.name
        )


def test_handbook_shows_definitions():
    page = make_handbook_metrics_page()
    for metric in METRICS:
        row = next(
            line for line in page.splitlines() if line.startswith((f"| `{metric.name}`", f"| **`{metric.name}`"))
        )
        assert metric.definition in row


@pytest.mark.parametrize("metric", [METRICS[0], PASSES[-1]], ids=lambda metric: metric.name)
def test_describe_shows_definition_range_and_failure_mode(metric, capsys):
    assert evaluate("describe", metric.name) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{metric.name} ({metric.family.title}")
    assert lines[1].strip() == metric.definition
    assert lines[2].strip() == "Range: 0 to 1; higher is better."
    assert lines[3].strip() == f"How it can mislead: {metric.failure_mode}"
    assert lines[4].strip() == f"Signature: {metric.signature_text}"


def test_describe_without_a_name_lists_every_metric(capsys):
    assert evaluate("describe") == 0
    out = " ".join(capsys.readouterr().out.split())
    for metric in [*METRICS, *PASSES]:
        assert f" {metric.name} {metric.definition.split()[0]}" in out, metric.name


def test_describe_of_unknown_metric_suggests_the_nearest(capsys):
    assert evaluate("describe", "dst_jgo") == 2
    assert "metric 'dst_jgo' is unknown; `prospect-eval describe` lists all metrics; did you mean 'dst_jga'?" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(("dataset", "noted"), [("kitchen", True), ("", True), ("workbench", False)])
def test_report_of_workbench_checkpoint_notes_other_data(tmp_path, dataset, noted):
    html = write_report(tmp_path, "workbench-tiny", dataset)
    note = "Checkpoint workbench-tiny was trained for the generated workbench videos only"
    assert (note in html) == noted
