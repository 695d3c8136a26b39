"""The corpus of a split: an episode's score does not depend on the other scored episodes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from prospect_core.data.dataset import Dataset, write_dataset
from prospect_core.records import SCHEMA, EpisodeRecord, Knobs
from prospect_core.util.json_io import dump_json
from prospect_eval.api import score_run
from prospect_eval.metrics.corpus import Corpus
from prospect_eval.runs.folder import RunConfig, open_run_folder, run_folder_record_path
from prospect_eval.scoring import corpora, parallel
from prospect_eval.scoring.corpora import FILE
from prospect_eval.scoring.score import score_records
from tests.helpers.predictions import TOOLS, episode, predict, say

pytestmark = pytest.mark.integration

TEXTS = ("put the red cup on the tray", "wipe the blue bowl with the cloth", "put the green jug on the tray")


def cups(number):
    """An episode that has one of three texts twice; from the third episode on all have the same
    text.
    """
    text = TEXTS[min(number, 2)]
    return episode(say(5.0, text), say(15.0, f"{text} now"), frames=60, id_=f"e{number}", video=f"v{number}")


def spoken(reference):
    """A prediction with one word of each turn replaced."""
    said = [(turn.frame, turn.text.replace("the", "a", 1)) for turn in reference.utterances()]
    return predict(reference, said)


def failed(reference):
    return EpisodeRecord(SCHEMA, "m", Knobs(), reference, status="failed", error="no picture")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache of corpora."""
    monkeypatch.setattr(corpora, "cache_dir", lambda: tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def data(tmp_path):
    """A dataset of nine episodes."""
    root = tmp_path / "data"
    (root / "videos").mkdir(parents=True)
    write_dataset(root, "cups", "1", 2, {"test": [cups(number) for number in range(9)]})
    return Dataset.open(root)


def store(folder, records, data=None):
    """A run folder of the records, with or without an available dataset."""
    source, digest = (str(data.root), data.digest) if data else ("gone", "d" * 64)
    open_run_folder(folder, RunConfig("m", "", source, digest, "test", None, Knobs(), ""))
    for record in records:
        run_folder_record_path(folder, record.episode.id).write_text(dump_json(record))
    return folder


def cider_of(folder):
    """Score a run folder and return CIDEr's counts by episode and its signature."""
    metrics, _ = score_run(folder)
    return metrics["counts"]["cider"], metrics["metrics"]["cider"]["signature"]


def test_cider_is_independent_of_other_episodes(data, tmp_path):
    records = [spoken(cups(number)) for number in range(9)]
    whole, signature = cider_of(store(tmp_path / "whole", records, data))
    some, same = cider_of(store(tmp_path / "some", records[:3], data))
    assert some == {f"e{number}": whole[f"e{number}"] for number in range(3)}
    assert signature == same


def test_cider_is_independent_of_failed_episodes(data, tmp_path):
    records = [spoken(cups(number)) for number in range(9)]
    whole, signature = cider_of(store(tmp_path / "whole", records, data))
    others, same = cider_of(store(tmp_path / "others", [failed(cups(0)), *records[1:]], data))
    assert others == {**whole, "e0": others["e0"]}
    assert signature == same


def test_cider_no_data_uses_failed_episodes(tmp_path):
    records = [spoken(cups(number)) for number in range(6)]
    whole, signature = cider_of(store(tmp_path / "whole", records))
    others, same = cider_of(store(tmp_path / "others", [failed(cups(0)), *records[1:]]))
    assert others["e1"] == whole["e1"]
    assert signature == same


def test_cider_rescored_without_data_is_equal(data, cache, tmp_path):
    folder = store(tmp_path / "run", [spoken(cups(number)) for number in range(3)], data)
    first = cider_of(folder)
    (data.root / "dataset.json").unlink()
    for kept in cache.rglob("*.json"):
        kept.unlink()
    assert cider_of(folder) == first


def test_cider_changed_data_uses_records(data, tmp_path):
    folder = store(tmp_path / "run", [spoken(cups(number)) for number in range(3)])
    run = json.loads((folder / "run.json").read_text())
    run["config"]["data"] = str(data.root)
    (folder / "run.json").write_text(json.dumps(run))
    score_run(folder)
    stored = json.loads((folder / FILE).read_text())
    assert stored["source"] == "records"
    assert sum(times for _, times in stored["references"]) == 6


@pytest.mark.parametrize("content", ["{", '{"schema": 1}'])
def test_corpus_file_damaged_is_written_again(data, tmp_path, content):
    folder = store(tmp_path / "run", [spoken(cups(number)) for number in range(3)], data)
    first = cider_of(folder)
    whole = (folder / FILE).read_bytes()
    (folder / FILE).write_text(content)
    assert cider_of(folder) == first
    assert (folder / FILE).read_bytes() == whole


@pytest.mark.slow
def test_cider_several_processes_use_whole_split(data, tmp_path, monkeypatch):
    folder = store(tmp_path / "run", [spoken(cups(number)) for number in range(4)], data)
    alone = parallel.score_folder_in_parallel(folder)
    monkeypatch.setattr(parallel, "WORTH_SHARING", 0)
    assert dump_json(parallel.score_folder_in_parallel(folder)) == dump_json(alone)
    assert alone["corpus"]["source"] == "split"


def test_baseline_scores_use_corpus_of_split():
    records = [spoken(cups(number)) for number in range(3)]
    alone = score_records(records, TOOLS)
    whole = score_records(records, replace(TOOLS, corpus=Corpus.of(cups(number) for number in range(9))))
    for table in (alone, whole):
        assert table["baselines"]["oracle"]["cider"]["signature"] == table["metrics"]["cider"]["signature"]
    assert alone["metrics"]["cider"]["signature"] != whole["metrics"]["cider"]["signature"]


def test_cider_signature_has_digest_of_references():
    corpus = Corpus.of([cups(0)])
    table = score_records([spoken(cups(0))], replace(TOOLS, corpus=corpus))["metrics"]
    for name in ("cider", "cider_w"):
        assert f"idf:{corpus.idf_digest}|" in table[name]["signature"]
    assert len(corpus.idf_digest) == 12


def test_hf_evaluate_metric_uses_corpus_of_resources():
    from prospect_eval.metrics.hf_evaluate import load_hf_evaluate_metric

    record = spoken(cups(0))
    resources = replace(TOOLS, corpus=Corpus.of(cups(number) for number in range(9)))
    got = load_hf_evaluate_metric("cider", resources).compute(predictions=[dump_json(record)])
    expected = score_records([record], resources)["metrics"]["cider"]
    assert got["cider"] == pytest.approx(expected["value"])
    assert got["signature"] == expected["signature"]
