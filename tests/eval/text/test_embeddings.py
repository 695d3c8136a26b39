"""The similarity model of a run folder: stored by scoring, used by every command that reads the
folder.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict

import pytest

from prospect_eval.api import score_run
from prospect_eval.cli.commands import prospect_eval
from prospect_eval.models.baselines.trivial import make_trivial_baseline
from prospect_eval.text.embeddings import DEFAULT, SentenceSimilarity
from tests.helpers.predictions import same_words
from tests.helpers.run_folders import numbered_episode, store_run

pytestmark = pytest.mark.integration


def evaluate(*args):
    with pytest.raises(SystemExit) as stop:
        prospect_eval([str(arg) for arg in args])
    return stop.value.code or 0


@pytest.fixture
def other_model(tmp_path, monkeypatch):
    """A similarity model in a folder that returns the share of common words."""
    folder = tmp_path / "words"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"no weights")
    original = SentenceSimilarity.__call__

    def cosines(self, left, right):
        return same_words(left, right) if self.folder == folder else original(self, left, right)

    def encode(self, texts):
        return None if self.folder == folder else original_encode(self, texts)

    original_encode = SentenceSimilarity.encode
    monkeypatch.setattr(SentenceSimilarity, "__call__", cosines)
    monkeypatch.setattr(SentenceSimilarity, "encode", encode)
    return folder


@pytest.fixture
def run(tmp_path):
    records = [make_trivial_baseline("oracle", [])(numbered_episode(number)) for number in range(2)]
    return store_run(tmp_path / "run", records)


def kept(folder):
    return json.loads((folder / "metrics.json").read_text())["similarity"]


def test_score_command_stores_similarity_model(run, other_model):
    score_run(run)
    assert kept(run)["model"] == DEFAULT
    assert evaluate("score", run, "--similarity", other_model) == 0
    assert kept(run)["model"] == str(other_model)
    assert re.fullmatch("words:[0-9a-f]{12}", kept(run)["signature"])


def test_score_command_again_uses_stored_model(run, other_model):
    assert evaluate("score", run, "--similarity", other_model) == 0
    first = (run / "metrics.json").read_bytes()
    assert evaluate("score", run) == 0
    assert (run / "metrics.json").read_bytes() == first
    assert evaluate("score", run, "--similarity", DEFAULT) == 0
    assert kept(run)["model"] == DEFAULT


def test_report_command_uses_stored_model(run, other_model):
    assert evaluate("score", run, "--similarity", other_model) == 0
    page = (run / "report.html").read_bytes()
    assert evaluate("report", run) == 0
    assert (run / "report.html").read_bytes() == page


def test_report_command_changed_model_is_refused(run, other_model, capsys):
    assert evaluate("score", run, "--similarity", other_model) == 0
    (other_model / "model.safetensors").write_bytes(b"others")
    from prospect_eval.metrics.resources import _open_resources

    _open_resources.cache_clear()
    assert evaluate("report", run) == 2
    assert "scored with the similarity model words:" in capsys.readouterr().err


def test_compare_command_different_models_are_refused(run, other_model, tmp_path, capsys):
    other = store_run(
        tmp_path / "other", [make_trivial_baseline("oracle", [])(numbered_episode(number)) for number in range(2)]
    )
    score_run(run)
    assert evaluate("score", other, "--similarity", other_model) == 0
    assert evaluate("compare", run, other) == 2
    assert "different similarity models" in capsys.readouterr().err


def test_compare_command_uses_stored_model(run, other_model, monkeypatch):
    from prospect_eval.analysis import episode_diff

    seen = []
    monkeypatch.setattr(
        episode_diff, "diff_episodes", lambda first, second, resources, most: seen.append(asdict(resources)) or []
    )
    assert evaluate("score", run, "--similarity", other_model) == 0
    assert evaluate("compare", run, run) == 0
    assert seen[0]["similarity_signature"] == kept(run)["signature"]
