"""Matching sensitivity: values and orders by hand, and sentence-transformers models generated here."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from prospect_core.timeline import Event
from prospect_core.util.errors import DataError, UserError
from prospect_eval.analysis import sensitivity as module
from prospect_eval.analysis.sensitivity import matching_sensitivity, sensitivity_order
from prospect_eval.matching.settings import MatchSettings, ScoreSettings
from prospect_eval.metrics import all_metrics, resources
from prospect_eval.metrics.base import Scored
from tests.helpers.commands import evaluate, one_line
from tests.helpers.predictions import TOOLS, episode, predict, say
from tests.helpers.run_folders import store_run
from tests.helpers.sentence_models import make_sentence_model, put_in_hub_cache

REFERENCE = episode(say(5.0, "put the cup away"), say(15.0, "go on now please"), frames=60)


def table_similarity(left, right):
    """Cosines by the first word of a predicted text, which is its cosine with any reference."""
    return np.array([[float(text.split()[0]) for _ in right] for text in left]).reshape(len(left), len(right))


@pytest.fixture
def runs(tmp_path):
    """Three runs: two pairs of cosine .55; pairs of .9 and .45; a pair of .9 and one that is 4 s
    late.
    """
    sides = {
        "a": [(10, "0.55 x"), (30, "0.55 y")],
        "b": [(10, "0.9 x"), (30, "0.45 y")],
        "c": [(10, "0.9 x"), (38, "0.9 y")],
    }
    return [store_run(tmp_path / name, [predict(REFERENCE, said)]) for name, said in sides.items()]


@pytest.fixture
def by_table(monkeypatch):
    chosen = replace(TOOLS, similarity=table_similarity, similarity_signature="table:0")
    monkeypatch.setattr(module, "make_scoring_resources", lambda name: chosen)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty Hugging Face cache without models in memory."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    resources._open_resources.cache_clear()
    yield tmp_path / "hub"
    resources._open_resources.cache_clear()


def test_matching_sensitivity_values_and_orders_by_hand(runs, by_table):
    result = matching_sensitivity(runs)
    found = {(row.setting.threshold, row.setting.window): row for row in result.rows if row.metric == "matched_f1"}
    assert len(found) == 9
    # window 2.5 s: the second turn of c is too late at x1
    assert found[0.5, 1.0].values == (1.0, 0.5, 0.5)
    assert found[0.4, 1.0].values == (1.0, 1.0, 0.5)
    assert found[0.6, 1.0].values == (0.0, 0.5, 0.5)
    assert found[0.6, 2.0].values == (0.0, 0.5, 1.0)
    assert found[0.5, 1.0].default
    assert sum(row.default for row in result.rows) == 2
    assert found[0.5, 1.0].order == ((0,), (1, 2))
    assert found[0.6, 2.0].order == ((2,), (1,), (0,))


def test_matching_sensitivity_tau_by_hand(runs, by_table):
    found = {(row.setting.threshold, row.setting.window): row.tau for row in matching_sensitivity(runs).rows[::2]}
    assert found[0.5, 1.0] == pytest.approx(1.0)
    # both orders tie the second and third run: the two other pairs are reversed
    assert found[0.6, 1.0] == pytest.approx(-1.0)
    # pairs of the default order without ties are 2 of 3, both reversed; no ties here
    assert found[0.6, 2.0] == pytest.approx(-2 / np.sqrt(2 * 3))


def test_matching_sensitivity_two_runs_have_no_tau(runs, by_table):
    assert all(row.tau is None for row in matching_sensitivity(runs[:2]).rows)


def test_matching_sensitivity_window_changes_content_accuracy(tmp_path, by_table):
    said = Event("a", 5.0, "assistant", "take the red cup", slots={"object": "red cup"})
    late = predict(episode(said, frames=60), [(18, "0.9 red cup")])
    result = matching_sensitivity([store_run(tmp_path / "r", [late])])
    found = {row.setting.window: row.values for row in result.rows if row.metric == "content_accuracy"}
    assert found == {0.5: (None,), 1.0: (None,), 2.0: (1.0,)}


def test_matching_sensitivity_scores_shared_episodes(tmp_path, by_table):
    other = replace(REFERENCE, id="f", video="w")
    first = store_run(tmp_path / "a", [predict(REFERENCE, [(10, "0.9")]), predict(other)])
    second = store_run(tmp_path / "b", [predict(REFERENCE, [(10, "0.9")])])
    result = matching_sensitivity([first, second])
    assert result.episodes == 1
    assert result.rows[0].values[0] == result.rows[0].values[1]


def test_matching_sensitivity_failed_episodes_count_as_worst(tmp_path, by_table):
    other = replace(REFERENCE, id="f", video="w")
    said = [(10, "0.9"), (30, "0.9 x")]
    whole = store_run(tmp_path / "a", [predict(REFERENCE, said), predict(other, said)])
    failed = replace(predict(other), status="failed", error="no")
    partial = store_run(tmp_path / "b", [predict(REFERENCE, said), failed])
    result = matching_sensitivity([whole, partial])
    assert result.episodes == 2
    # 2 of 4 references have an utterance
    assert result.rows[0].values == (1.0, pytest.approx(2 * 2 / (2 + 4)))


def test_matching_sensitivity_unmatched_episodes_raise(tmp_path, by_table):
    first = store_run(tmp_path / "a", [predict(REFERENCE)])
    other = store_run(tmp_path / "b", [predict(replace(REFERENCE, id="f"))])
    changed = store_run(tmp_path / "c", [predict(episode(say(5.0), frames=60))])
    with pytest.raises(DataError, match="no episode in common"):
        matching_sensitivity([first, other])
    with pytest.raises(DataError, match="a different reference"):
        matching_sensitivity([first, changed])


def test_matching_sensitivity_other_data_raises(tmp_path, by_table):
    folders = [store_run(tmp_path / name, [predict(REFERENCE)]) for name in ("a", "b")]
    file = folders[1] / "run.json"
    file.write_text(file.read_text().replace('"data_digest": "d"', '"data_digest": "e"'))
    with pytest.raises(UserError, match="not the same data as"):
        matching_sensitivity(folders)


def test_match_settings_change_signatures_unless_default():
    plain = {metric.name: metric.signature_text for metric in all_metrics(TOOLS)}
    same = {metric.name: metric.signature_text for metric in all_metrics(replace(TOOLS, settings=ScoreSettings()))}
    assert same == plain
    assert "window:dataset|good:>0.5" in plain["matched_f1"]
    other = replace(TOOLS, settings=ScoreSettings(match=MatchSettings(0.6, 2.0)))
    changed = {metric.name: metric.signature_text for metric in all_metrics(other)}
    for name in ("matched_f1", "content_accuracy", "bleu", "utility@c=1"):
        assert "window:dataset x2|good:>0.6" in changed[name], name
    assert changed["speaking_f1"] == plain["speaking_f1"]


def test_scored_view_other_settings_have_own_counts():
    item = Scored(predict(REFERENCE, [(10, "put the cup")]), TOOLS)
    strict = replace(item, resources=replace(TOOLS, settings=ScoreSettings(match=MatchSettings(0.9))))
    assert len(item.view("proactive").good_pairs) == 1
    assert len(strict.view("proactive").good_pairs) == 0


@pytest.mark.parametrize(("threshold", "scale"), [(float("nan"), 1.0), (0.5, 0.0), (0.5, -1.0), (0.5, float("inf"))])
def test_match_settings_out_of_range_raise(threshold, scale):
    with pytest.raises(UserError, match="must be"):
        MatchSettings(threshold, scale)


def test_sensitivity_order_groups_ties_without_undefined():
    assert sensitivity_order((0.2, None, 0.5, 0.2)) == ((2,), (0, 3))


@pytest.mark.integration
def test_sensitivity_command_models_by_folder_and_name(tmp_path, hub, capsys):
    model = make_sentence_model(tmp_path / "tiny", seed=1)
    put_in_hub_cache(hub, "sentence-transformers/all-mpnet-base-v2", make_sentence_model(tmp_path / "m", 2))
    records = [
        predict(REFERENCE, [(10, "put the red cup"), (30, "stop now please")]),
        predict(REFERENCE, [(10, "all")]),
    ]
    folders = [store_run(tmp_path / name, [record]) for name, record in zip("ab", records, strict=True)]
    before = sorted(path.name for path in folders[0].iterdir())
    chosen = ("--similarity", model, "--similarity", "all-mpnet-base-v2", "--threshold", 0.5, "--window", 1)
    assert evaluate("sensitivity", *folders, *chosen, "--json", "-") == 0
    result = json.loads(capsys.readouterr().out)
    names = [row["setting"]["similarity"] for row in result["rows"][::2]]
    assert names == ["all-MiniLM-L6-v2", "tiny", "all-mpnet-base-v2"]
    assert len({row["signature"] for row in result["rows"][::2]}) == 3
    assert sorted(path.name for path in folders[0].iterdir()) == before


@pytest.mark.integration
def test_embedding_similarity_equals_sentence_transformers(tmp_path):
    from sentence_transformers import SentenceTransformer

    from prospect_eval.text.embeddings import open_embedding_similarity

    folder = make_sentence_model(tmp_path / "tiny")
    texts = ["put the cup away", "go on now please", "stop"]
    vectors = SentenceTransformer(str(folder), device="cpu").encode(texts, normalize_embeddings=True)
    np.testing.assert_allclose(open_embedding_similarity(str(folder))(texts, texts), vectors @ vectors.T, atol=1e-5)


@pytest.mark.integration
def test_sensitivity_command_unknown_model_is_one_line(tmp_path, hub, capsys):
    run = store_run(tmp_path / "a", [predict(REFERENCE)])
    assert evaluate("sensitivity", run, "--similarity", "all-mpnet-base-v2") == 2
    line = one_line(capsys)
    assert "all-mpnet-base-v2: neither a folder nor in the Hugging Face cache" in line
    assert "hf download sentence-transformers/all-mpnet-base-v2" in line


@pytest.mark.integration
def test_sensitivity_command_table_fits_100_columns(tmp_path, capsys):
    folders = [store_run(tmp_path / f"run-{k}", [predict(REFERENCE, [(10 + k, "put the cup")])]) for k in range(6)]
    assert evaluate("sensitivity", *folders) == 0
    out = capsys.readouterr().out
    assert "A>B" in out or "=" in out
    table = [line for line in out.splitlines() if ">0." in line]
    assert len(table) == 9
    assert max(map(len, table)) <= 100
    assert "content_accuracy: undefined in every run" in out
    assert "the ranking of the runs differs" in out
