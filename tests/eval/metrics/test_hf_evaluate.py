"""`hf_evaluate` wrappers of all metrics; the fixture `no_network` refuses every connection."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import evaluate
import pytest
import sacrebleu

from prospect_core.util.errors import UserError
from prospect_core.util.json_io import dump_json
from prospect_eval.metrics import all_metrics
from prospect_eval.metrics.hf_evaluate import MODULE, OF_TEXTS, load_hf_evaluate_metric
from prospect_eval.metrics.resources import make_scoring_resources
from tests.helpers.predictions import TOOLS, episode, predict, say

pytestmark = pytest.mark.integration

TEXTS = {"predictions": ["put it away", "well done"], "references": ["put it back", "well done"]}


@pytest.fixture(autouse=True)
def own_caches(tmp_path, monkeypatch):
    """Use separate caches, so that the user's caches are neither read nor changed."""
    monkeypatch.setattr("evaluate.config.HF_METRICS_CACHE", tmp_path / "metrics")
    monkeypatch.setattr("evaluate.config.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("evaluate.loading.HF_MODULES_CACHE", str(tmp_path / "modules"), raising=False)


@pytest.fixture
def records():
    reference = episode(say(5.0), say(10.0))
    return [dump_json(asdict(predict(reference, [(10, "Go on.")])))]


def test_hf_evaluate_metric_loads_from_folder(records):
    metric = evaluate.load(MODULE, "speaking_event_f1@2s", keep_in_memory=True)
    got = metric.compute(predictions=records)
    assert got["speaking_event_f1@2s"] == pytest.approx(2 / 3)
    assert got["signature"].startswith("metric:speaking_event_f1@2s|")
    assert "paired one to one" in metric.description


@pytest.mark.slow
def test_hf_evaluate_every_metric_loads_from_folder(records):
    for name in (*OF_TEXTS, *(metric.name for metric in all_metrics(make_scoring_resources()))):
        metric = evaluate.load(MODULE, name, keep_in_memory=True)
        if name not in OF_TEXTS:
            assert name in metric.compute(predictions=records)


def test_hf_evaluate_combines_metrics_of_records(records):
    names = ("speaking_event_f1@2s", "matched_f1", "false_alarms_per_minute")
    together = evaluate.combine([evaluate.load(MODULE, name, keep_in_memory=True) for name in names])
    got = together.compute(predictions=records)
    assert got["speaking_event_f1@2s"] == pytest.approx(2 / 3)
    assert got["false_alarms_per_minute"] == 0.0
    assert got["matched_f1_status"] == "ok"


def test_hf_evaluate_combines_metrics_of_texts():
    together = evaluate.combine(
        [evaluate.load(MODULE, name, keep_in_memory=True) for name in ("bleu_of_texts", "chrf_of_texts")]
    )
    got = together.compute(**TEXTS)
    assert (
        got["bleu_of_texts"]
        == sacrebleu.corpus_bleu(TEXTS["predictions"], [TEXTS["references"]], use_effective_order=True).score
    )
    assert got["chrf_of_texts"] == sacrebleu.corpus_chrf(TEXTS["predictions"], [TEXTS["references"]]).score


def test_hf_evaluate_metric_loads_without_keep_in_memory(records):
    got = evaluate.load(MODULE, "matched_f1").compute(predictions=records)
    assert got["matched_f1"] == pytest.approx(2 / 3)


def test_load_hf_evaluate_metric_resources_and_unknown_names(records):
    got = load_hf_evaluate_metric("speaking_event_f1@2s", TOOLS).compute(predictions=records)
    assert got["speaking_event_f1@2s"] == pytest.approx(2 / 3)
    with pytest.raises(UserError, match="speaking_event_f1@2s"):
        load_hf_evaluate_metric("speaking_event_f1@3s", TOOLS)
    with pytest.raises(UserError, match="give the name of a metric"):
        evaluate.load(MODULE)


def test_hf_evaluate_module_is_a_folder_with_script():
    assert Path(MODULE, f"{Path(MODULE).name}.py").is_file()
