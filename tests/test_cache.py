"""How keys and values are stored: exact bytes, bounded errors, and everything that a cache does, in every way of storing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from prospect_core.records import Knobs
from prospect_core.stream.cache import STORES, StreamCache, turn
from prospect_core.stream.replay import replay
from prospect_core.stream.runner import VLMStreamRunner
from tests.streams import TASK, busy_episode, busy_runner, least, pictures
from tests.test_run import evaluate

#: the largest error of a number, in units of the largest one of its token and head
ERROR = {"model": 0.0, "int8": 0.5 / 127, "fp8": 2**-4}


def states(tokens, seed=0):
    return torch.randn((1, 2, tokens, 8), generator=torch.Generator().manual_seed(seed)) * 3


@pytest.mark.parametrize("store", STORES)
def test_what_is_stored_comes_back_within_its_error(store):
    cache = StreamCache(store)
    keys, values = states(300, 1), states(300, 2)
    for start, end in ((0, 5), (5, 6), (6, 290), (290, 300)):
        found = cache.update(keys[..., start:end, :], values[..., start:end, :], 0)
    for given, back in zip((keys, values), found, strict=True):
        allowed = ERROR[store] * given.abs().amax(-1, keepdim=True) + 1e-6
        assert bool(((back - given).abs() <= allowed).all())
        assert (store == "model") == torch.equal(back, given)
        assert bool(torch.isfinite(back).all())
    # an empty token does not divide by nothing
    assert torch.equal(
        StreamCache(store).update(keys[..., :1, :] * 0, values[..., :1, :] * 0, 0)[0], keys[..., :1, :] * 0
    )


@pytest.mark.parametrize("store", STORES)
def test_bytes_are_those_of_what_is_stored(model, tokenizer, store):
    runner = VLMStreamRunner(model, tokenizer, Knobs(cache_dtype=store))
    runner.reset(TASK)
    text = model.config.text_config
    width = text.hidden_size // text.num_attention_heads
    each = {"model": 4 * width, "int8": width + 4, "fp8": width + 4}[store]
    output = runner.step(pictures(1)[0])
    assert output.cache_bytes == output.cache_tokens * 2 * text.num_hidden_layers * text.num_key_value_heads * each


@pytest.mark.parametrize("store", STORES)
def test_truncating_keeping_and_forking_work_on_what_is_stored(store):
    frequencies = torch.tensor([1.0, 0.1, 0.01, 0.001])
    cache = StreamCache(store)
    for layer in range(2):
        cache.update(states(20, layer), states(20, 9 + layer), layer)
    fork = cache.fork()
    cache.truncate(12)
    kept = [0, 1, 5, 11]
    held = [(k[..., kept, :].clone(), v[..., kept, :].clone()) for k, v in cache.tensors()]
    cache.keep(kept, frequencies)
    assert (cache.length, fork.length) == (4, 20)
    assert cache.nbytes * 5 == fork.nbytes
    moved = torch.arange(4) - torch.tensor(kept)
    for (keys, values), (old_keys, old_values) in zip(cache.tensors(), held, strict=True):
        assert torch.equal(values, old_values)
        expected = turn(old_keys, moved, frequencies)
        assert bool(((keys - expected).abs() <= ERROR[store] * expected.abs().amax(-1, keepdim=True) + 1e-6).all())
    # the fork has none of it
    assert torch.equal(fork.tensors()[1][1], filled(store).tensors()[1][1])


def filled(store):
    cache = StreamCache(store)
    for layer in range(2):
        cache.update(states(20, layer), states(20, 9 + layer), layer)
    return cache


@pytest.mark.parametrize("store", ["int8", "fp8"])
@pytest.mark.parametrize("name", ["none", "keydiff", "dst_refresh"])
def test_streams_run_on_a_small_cache_close_to_the_whole_one(model, tokenizer, store, name):
    """Same decisions where they are scripted, probabilities near, reading ahead or not, within the budget."""
    budget = None if name == "none" else least(model, tokenizer, name) + 40
    episode = busy_episode(60)
    records = []
    for kind, longest in (("model", 8), (store, 8), (store, 1)):
        runner = busy_runner(model, tokenizer, name, budget)
        runner.knobs = replace(runner.knobs, cache_dtype=kind)
        records.append(replay(runner, episode, pictures(120)[:60], runner.knobs, "x", longest)[0])
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


def test_a_run_names_how_its_cache_is_stored(checkpoint, short_world, tmp_path, capsys):
    out = tmp_path / "run"
    given = ("run", "--ckpt", checkpoint, "--data", short_world.root, "--limit", 1, "--output", out)
    assert evaluate(*given, "--cache-dtype", "int8") == 0
    assert "cache in <b>int8</b>" in (out / "report.html").read_text()
    capsys.readouterr()
    assert evaluate(*given) == 2
    assert "knobs.cache_dtype: int8 there, model now" in capsys.readouterr().err
    assert evaluate("run", "--ckpt", "baseline:silent", "--data", short_world.root, "--cache-dtype", "fp8") == 2
    assert "--cache-dtype" in capsys.readouterr().err
