"""ProAssist's tree in the layout of its scripts: read, trained on, evaluated, exported and read
again in place.
"""

from __future__ import annotations

import json

import pytest

from prospect_core.data.dataset import Dataset
from prospect_core.data.formats.proassist_features import find_proassist_features
from tests.helpers.commands import evaluate, one_line, run_cli
from tests.helpers.proassist_tree import FRAMES, SUMMARY, write_tree
from tests.helpers.training import SMALL

pytestmark = pytest.mark.integration


@pytest.fixture
def tree(tmp_path, cache_folder, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_folder))
    return write_tree(tmp_path / "processed_data")


def test_proassist_command_splits_as_published(tree, tmp_path, capsys):
    """Clips with summaries for training, whole dialogues for evaluation; of equal rows those with
    the fewest tokens.
    """
    assert run_cli("data", "proassist", tree, "--output", tmp_path / "set") == 0
    told = capsys.readouterr().out
    assert "train 8, val 4, test 4 episodes" in told
    assert "stored features: google/siglip-so400m-patch14-384, layer -2, 1 video of wtag" in told
    data = Dataset.open(tmp_path / "set")
    train = list(data.episodes("train"))
    assert [e.summary for e in train] == [SUMMARY] * 8
    assert [e.meta.get("supervised_from") for e in train] == [None, "41"] * 4
    assert all(json.loads(e.meta["origin"])["row"]["num_tokens_per_img"] == 1 for e in train)
    for split in ("val", "test"):
        assert [(e.start_frame, e.end_frame, e.summary) for e in data.episodes(split)] == [(4, 50, "")] * 4


def test_export_command_tree_rows_round_trip(tree, tmp_path):
    assert run_cli("data", "export", tree, "--output", tmp_path / "rows") == 0
    for split, name in (("train", "dialog-klg-sum_train_L4096_I1"), ("test", "dialog-klg_test_L0_I1")):
        files = [tree / subset / "prepared" / f"{name}.jsonl" for subset in ("assembly101", "wtag")]
        assert (tmp_path / "rows" / f"{split}.jsonl").read_text() == "".join(file.read_text() for file in files)


@pytest.mark.slow
def test_proassist_tree_trains_and_evaluates_in_place(tree, tmp_path, capsys):
    before = sorted(path for path in tree.rglob("*"))
    given = [f"data={tree}", "train.max_steps=2", *SMALL]
    assert run_cli("train", "--dry-run", *given, f"output={tmp_path / 'dry'}") == 0
    assert run_cli("train", *given, f"output={tmp_path / 'model'}") == 0
    log = [json.loads(line) for line in (tmp_path / "model" / "train_log.jsonl").read_text().splitlines()]
    assert len(log) >= 2
    run = ["run", "--ckpt", tmp_path / "model", "--data", tree, "--limit", 1, "--output", tmp_path / "run"]
    assert evaluate(*run) == 0
    assert evaluate("run", "--ckpt", "baseline:oracle", "--data", tree, "--output", tmp_path / "oracle") == 0
    metrics = json.loads((tmp_path / "oracle" / "metrics.json").read_text())["metrics"]
    assert metrics["matched_f1"]["value"] == 1.0
    assert sorted(path for path in tree.rglob("*")) == before


@pytest.mark.slow
def test_proassist_tree_dst_clips_round_trip(tree, tmp_path, capsys):
    assert run_cli("data", "proassist", tree, "--kind", "dst", "--output", tmp_path / "set") == 0
    assert "train 4, val 4, test 4 episodes" in capsys.readouterr().out
    run = tmp_path / "run"
    assert evaluate("run", "--ckpt", "baseline:oracle", "--data", tmp_path / "set", "--output", run) == 0
    assert json.loads((run / "metrics.json").read_text())["metrics"]["dst_jga"]["value"] == 1.0
    assert run_cli("data", "export", tmp_path / "set", "--format", "dst", "--output", tmp_path / "clips") == 0
    given = [clip for s in ("assembly101", "wtag") for clip in json.loads((tree / s / "train.json").read_text())]
    assert json.loads((tmp_path / "clips" / "train.json").read_text()) == given


def test_proassist_command_reads_requested_kinds(tree, tmp_path, capsys):
    given = ["data", "proassist", tree, "--kind", "summary", "--kind", "dialog", "--subset", "wtag"]
    assert run_cli(*given, "--output", tmp_path / "set") == 0
    assert "train 2, val 4, test 2 episodes" in capsys.readouterr().out
    ids = [episode.id for episode in Dataset.open(tmp_path / "set").episodes("val")]
    assert ids[0] == "wtag.summary.T2.no_talk_0.0"
    assert len(set(ids)) == 4
    assert run_cli("data", "proassist", tree, "--kind", "sumary", "--output", tmp_path / "x") == 2
    assert "did you mean 'summary'?" in one_line(capsys)


def test_proassist_tree_change_is_detected(tree):
    assert len(list(Dataset.open(tree).episodes("test"))) == 4
    file = tree / "wtag" / "prepared" / "dialog-klg_test_L0_I1.jsonl"
    file.write_text(file.read_text().splitlines()[0] + "\n")
    assert len(list(Dataset.open(tree).episodes("test"))) == 3


def test_proassist_features_name_their_model(tree):
    (stored,) = find_proassist_features(tree / "assembly101")
    assert (stored.model, stored.layer) == ("google/siglip-so400m-patch14-384", "-2")
    assert stored.videos == ["nusar_a"]
    assert stored.read("nusar_a", tokens=5).shape == (FRAMES, 5, 12)
