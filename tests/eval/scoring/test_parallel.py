"""Scoring in several processes, and values on disk between scorings."""

from __future__ import annotations

import json
from multiprocessing import active_children
from pathlib import Path

import pytest

from prospect_core.records import SCHEMA, EpisodeRecord, Knobs
from prospect_core.util.errors import DataError
from prospect_core.util.json_io import dump_json, load_json
from prospect_eval.metrics.resources import Meteor, make_scoring_resources
from prospect_eval.models.baselines.trivial import make_trivial_baseline
from prospect_eval.runs.folder import RunConfig, open_run_folder, read_run_folder_records, run_folder_record_path
from prospect_eval.scoring import parallel
from prospect_eval.scoring.score import score_records
from prospect_eval.text.disk_cache import DiskCache

pytestmark = pytest.mark.integration


@pytest.fixture
def run_folder(world, tmp_path):
    """A run of a baseline with generated probabilities and one failed episode."""
    folder = tmp_path / "run"
    open_run_folder(folder, RunConfig("m", "", "", "", "test", None, Knobs(), ""))
    predict = make_trivial_baseline("rate_matched_random", list(world.episodes("test")))
    for n, episode in enumerate(world.episodes("test")):
        record = predict(episode)
        if n == 1:
            record = EpisodeRecord(SCHEMA, "m", Knobs(), episode, status="failed", error="no picture")
        run_folder_record_path(folder, episode.id).write_text(dump_json(record))
    return folder


@pytest.mark.slow
def test_parallel_scoring_equals_one_process(run_folder, monkeypatch):
    alone = parallel.score_folder_in_parallel(run_folder)
    monkeypatch.setattr(parallel, "WORTH_SHARING", 0)
    shared = parallel.score_folder_in_parallel(run_folder)
    assert dump_json(shared) == dump_json(alone) == dump_json(score_records(read_run_folder_records(run_folder)[1]))
    assert shared["episodes"]["failed"] == 1


@pytest.mark.slow
def test_parallel_scoring_damaged_record_is_named(run_folder, monkeypatch):
    monkeypatch.setattr(parallel, "WORTH_SHARING", 0)
    broken = next((run_folder / "episodes").iterdir())
    broken.write_text('{"schema": 1')
    with pytest.raises(DataError, match=broken.name):
        parallel.score_folder_in_parallel(run_folder)


def test_parallel_scoring_dead_process_is_reported(run_folder):
    with parallel.open_parallel_scoring_workers(sorted((run_folder / "episodes").iterdir()), None) as shards:
        for process in active_children():
            process.kill()
        with pytest.raises(DataError, match="scoring process died"):
            shards.ask("outline")


ARRAYS = {"speaking_prob": [0.1, 0.2], "state_probs": [[[0.1, 0.2, 0.7]], [[0.1, 0.2, 0.7]]]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"speaking_prob": [0.1, "0.2"]}, "speaking_prob.1"),
        ({"state_probs": [[[0.1, 0.2]], [[0.1, 0.2, 0.7]]]}, "state_probs.0.0"),
        ({"cache_tokens": [1.5]}, "cache_tokens.0"),
        ({"speaking_prob": None}, "speaking_prob"),
        ({"more": 1}, "more"),
    ],
)
def test_record_long_arrays_are_validated(world, change, message):
    record = make_trivial_baseline("oracle", [])(next(iter(world.episodes("test"))))
    plain = json.loads(dump_json(record)) | ARRAYS
    assert load_json(EpisodeRecord, json.dumps(plain), "here").state_probs == (((0.1, 0.2, 0.7),),) * 2
    with pytest.raises(DataError, match=f"here: {message}"):
        load_json(EpisodeRecord, json.dumps(plain | change), "here")
    with pytest.raises(DataError, match="here"):
        load_json(EpisodeRecord, json.dumps(plain).replace("0.7", "NaN"), "here")


def test_disk_cache_keeps_values_and_survives_damage(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    store = DiskCache("some/values")
    assert store.read(["a"]) == {}
    store.write({"a": b"1", "\ud800": b"2"})
    store.write({"a": b"another"})
    assert store.read(["a", "\ud800", "b"]) == {"a": b"1", "\ud800": b"2"}
    store.file.write_bytes(b"not a database, and long enough to be taken for one" * 100)
    assert store.read(["a"]) == {}
    store.write({"a": b"1"})


def test_meteor_is_cached_on_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first, pairs = Meteor(), [("put it away", "put it away now"), ("go", "stop")]
    first.prepare(pairs)
    expected = [Meteor()(*pair) for pair in pairs]
    again = Meteor()
    monkeypatch.setattr(again, "_score", lambda *pair: pytest.fail("it was not kept"))
    again.prepare(pairs)
    assert [again(*pair) for pair in pairs] == [first(*pair) for pair in pairs] == expected


def test_scoring_resources_signature_has_wordnet_version():
    assert "wordnet:3.0," in make_scoring_resources().meteor_signature
    assert Path(DiskCache("x").file).suffix == ".sqlite"
