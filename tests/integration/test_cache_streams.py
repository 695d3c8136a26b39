"""Streams and runs on caches of other storage types: exact bytes, scripted decisions, name in the
report.
"""

from __future__ import annotations

import pytest

from prospect_core.records import Knobs
from prospect_core.stream.kv_storage import STORAGES
from prospect_core.stream.replay import replay_episode
from prospect_core.stream.runner import VLMStreamRunner
from tests.helpers.commands import evaluate
from tests.helpers.streams import TASK, busy_episode, busy_runner, least, pictures


@pytest.mark.parametrize("store", STORAGES)
def test_stream_cache_bytes_equal_storage(model, tokenizer, store):
    runner = VLMStreamRunner(model, tokenizer, Knobs(cache_dtype=store))
    runner.reset(TASK)
    text = model.config.text_config
    width = text.hidden_size // text.num_attention_heads
    each = {"model": 4 * width, "int8": width + 4, "fp8": width + 4}[store]
    output = runner.step(pictures(1)[0])
    assert output.cache_bytes == output.cache_tokens * 2 * text.num_hidden_layers * text.num_key_value_heads * each


@pytest.mark.parametrize("store", ["int8", "fp8"])
@pytest.mark.parametrize("name", ["none", "keydiff", "dst_refresh"])
def test_streams_small_cache_is_close_to_full(model, tokenizer, store, name):
    """Same scripted decisions and close probabilities, with and without spans, within the budget."""
    budget = None if name == "none" else least(model, tokenizer, name) + 40
    episode = busy_episode(60)
    records = []
    for kind, longest in (("model", 8), (store, 8), (store, 1)):
        runner = busy_runner(model, tokenizer, name, budget, cache_dtype=kind)
        records.append(replay_episode(runner, episode, pictures(120)[:60], runner.knobs, "x", longest)[0])
    whole, ahead, plain = records
    assert [u.frame for u in ahead.utterances] == [u.frame for u in whole.utterances]
    assert ahead.transitions == whole.transitions == plain.transitions
    assert (
        0.2
        < max(ahead.cache_bytes) / max(ahead.cache_tokens) / (max(whole.cache_bytes) / max(whole.cache_tokens))
        < 0.6
    )
    if budget:
        assert max(ahead.cache_tokens) <= budget
        assert ahead.compressions
    assert [u.text for u in ahead.utterances] == [u.text for u in plain.utterances]


def test_run_command_reports_cache_dtype(checkpoint, short_world, tmp_path, capsys):
    out = tmp_path / "run"
    given = ("run", "--ckpt", checkpoint, "--data", short_world.root, "--limit", 1, "--output", out)
    assert evaluate(*given, "--cache-dtype", "int8") == 0
    assert "cache in <b>int8</b>" in (out / "report.html").read_text()
    capsys.readouterr()
    assert evaluate(*given) == 2
    assert "knobs.cache_dtype: int8 before, model now" in capsys.readouterr().err
    assert evaluate("run", "--ckpt", "baseline:silent", "--data", short_world.root, "--cache-dtype", "fp8") == 2
    assert "--cache-dtype" in capsys.readouterr().err
