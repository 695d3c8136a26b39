"""The list of runs and their stored scores, and the table of frames for pandas."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as parquet
import pytest

from prospect_core.util.errors import DataError
from prospect_eval.api import score_run
from prospect_eval.cli.commands import prospect_eval
from prospect_eval.cli.tables import print_scores_table
from prospect_eval.metrics import Scored
from prospect_eval.models.baselines.trivial import make_trivial_baseline
from prospect_eval.report.pages.index_page import write_index_page
from prospect_eval.runs.catalog import catalog_runs, choose_catalog_metrics
from prospect_eval.scoring.frame_table import COLUMNS, FILE, read_frame_table_as_pandas, write_frame_table
from prospect_eval.suites.suite import suite_first_metrics
from tests.helpers.predictions import TOOLS
from tests.helpers.run_folders import numbered_episode, store_run

pytestmark = pytest.mark.integration


def evaluate(*args):
    with pytest.raises(SystemExit) as stop:
        prospect_eval([str(a) for a in args])
    return stop.value.code or 0


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One scored run, one unfinished run, and a folder that is not a run."""
    root = tmp_path_factory.mktemp("runs")
    records = [make_trivial_baseline("oracle", [])(numbered_episode(k)) for k in range(3)]
    score_run(store_run(root / "a" / "scored", records))
    store_run(root / "begun", records[:1])
    (root / "other").mkdir()
    (root / "other" / "run.json").write_text("not json")
    (root / "foreign").mkdir()
    (root / "foreign" / "run.json").write_text('{"config": {"knobs": {}}}')
    return root


def test_catalog_runs_lists_scores(runs, capsys):
    done, begun = catalog_runs(runs)
    assert (done.folder, done.status, done.scored) == (str(runs / "a" / "scored"), "done", 3)
    assert done.metrics["dst_jga"]["value"] == 1.0
    assert (begun.status, begun.metrics) == ("unfinished", {})
    assert evaluate("ls", runs) == 0
    shown = capsys.readouterr().out
    assert "a/scored" in shown
    assert "unfinished" in shown
    assert evaluate("ls", runs, "--json") == 0
    assert [run["folder"] for run in json.loads(capsys.readouterr().out)] == [done.folder, begun.folder]
    assert evaluate("show", done.folder) == 0
    assert "speaking_event_f1@2s" in capsys.readouterr().out
    assert evaluate("show", begun.folder) == 3
    assert evaluate("ls", runs / "missing") == 3
    assert evaluate("ls", runs / "other") == 0
    assert "no run folder found" in capsys.readouterr().out


def test_catalog_runs_truncated_scores_is_unscored(runs, tmp_path):
    shutil.copytree(runs / "a" / "scored", tmp_path / "cut")
    scores = tmp_path / "cut" / "metrics.json"
    scores.write_text(scores.read_text()[:100])
    assert [run.status for run in catalog_runs(tmp_path)] == ["unscored"]


def test_print_scores_table_suite_metrics_come_first(runs, capsys):
    assert suite_first_metrics("workbench")[0] == "speaking_event_f1@2s"
    assert (suite_first_metrics(""), suite_first_metrics("gone.yaml")) == ((), ())
    metrics = json.loads((runs / "a" / "scored" / "metrics.json").read_text())
    print_scores_table("m", metrics, ["dst_edit"])
    rows = [line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert rows[:2] == ["dst_edit", "speaking_event_f1@2s"]


def test_frame_table_has_a_row_per_frame(runs, tmp_path):
    table = read_frame_table_as_pandas(runs / "a" / "scored")
    assert list(table.columns) == list(COLUMNS)
    assert len(table) == 3 * 21
    assert table.groupby("episode").joint_goal.all().tolist() == [True] * 3
    first = table[table.episode == "e00"]
    assert first.frame[first.speaks].tolist() == [4, 12, 20]
    assert (first.speaks == first.speaks_reference).all()
    assert first.frame[first.updates].tolist() == [8, 16]
    assert first.time_s.tolist() == [k / 2 for k in range(21)]
    assert table.speaking_prob.isna().all() == (
        not make_trivial_baseline("oracle", [])(numbered_episode(0)).speaking_prob
    )
    with pytest.raises(DataError, match=r"no such file; run .*score"):
        read_frame_table_as_pandas(tmp_path)


def test_frame_table_means_equal_metrics(checkpoint_record, tmp_path):
    """For a model with probabilities and a state head, means of the table's columns equal the
    metrics.
    """
    scored = Scored(checkpoint_record, TOOLS)
    write_frame_table(tmp_path, [checkpoint_record, replace(checkpoint_record, status="failed", error="x")], TOOLS)
    table = parquet.read_table(tmp_path / FILE).to_pandas()
    assert len(table) == checkpoint_record.episode.num_frames
    np.testing.assert_allclose(table.speaking_prob, checkpoint_record.speaking_prob, atol=1e-6)
    right = (scored.head_states == scored.reference_states).all(1)
    assert table.head_joint_goal.astype(bool).tolist() == right.tolist()
    assert table.cache_tokens.tolist() == list(checkpoint_record.cache_tokens)


@pytest.fixture
def checkpoint_record():
    """An oracle's record with the arrays of a model."""
    record = make_trivial_baseline("oracle", [])(numbered_episode(0))
    rng = np.random.default_rng(0)
    probs = rng.dirichlet((1, 1, 1), (21, 1))
    return replace(
        record,
        speaking_prob=tuple(rng.random(21).tolist()),
        update_prob=tuple(rng.random(21).tolist()),
        state_probs=tuple(tuple(tuple(p) for p in frame) for frame in probs.tolist()),
        cache_tokens=tuple(range(21)),
        cache_bytes=tuple(range(0, 2100, 100)),
    )


def test_index_page_has_links_and_histories(runs, tmp_path, capsys):
    """Each run has a link to its report; two runs of one configuration are a history; names are
    escaped.
    """
    done, begun = catalog_runs(runs)
    worse = {**done.metrics, "dst_jga": {**done.metrics["dst_jga"], "value": 0.5, "ci95": [0.4, 0.6]}}
    later = replace(done, folder="x/<b>odd</b>", commit="abc123", finished=done.finished + 60, metrics=worse)
    page = write_index_page(runs / "index.html", [later, done, begun]).read_text()
    assert '<a href="a/scored/report.html">' in page
    assert "<b>odd" not in page
    assert "&lt;b&gt;odd" in page
    assert page.count("<figure>") == len(choose_catalog_metrics([done]))
    assert "dst_jga: 1.000 → <b>0.500</b>" in page
    assert "abc123" in page
    assert "http" not in page
    assert evaluate("ls", runs, "--html", tmp_path / "index.html") == 0
    assert "<figure>" not in (tmp_path / "index.html").read_text()
    assert capsys.readouterr().out.strip().endswith("index.html")
