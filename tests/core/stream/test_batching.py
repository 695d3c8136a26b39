"""Concurrent streams: each equals a single stream to the last bit."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch

from prospect_core.model.modeling import DSTSmolVLM
from prospect_core.stream.batching import StreamBatcher
from prospect_core.stream.forward import ForwardRequest, forward_stream_requests
from prospect_core.stream.kv_cache import StreamCache
from prospect_core.stream.replay import replay_episode
from prospect_core.util.errors import DataError
from tests.helpers.small_models import small_config
from tests.helpers.streams import STRATEGIES, busy_episode, busy_runner, least, pictures

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_stream_requests_batched_equal_single(tokenizer, heads):
    """Hidden states, words, keys and values equal those of a single stream and of a plain forward,
    bit for bit.

    With grouped-query and full attention.
    """
    text = {**small_config(tokenizer).text_config.to_dict(), "num_attention_heads": 4, "num_key_value_heads": heads,
            "hidden_size": 64}  # fmt: skip
    torch.manual_seed(2)
    model = DSTSmolVLM(small_config(tokenizer, text_config=text)).eval()
    draw = torch.Generator().manual_seed(0)

    def some(count):
        return torch.randint(10, 200, (count,), generator=draw).tolist()

    plan = [[some(n) for n in counts] for counts in ([40, 1, 5], [7, 1, 1], [300, 33, 2], [1, 16, 64], [3, 3, 1])]
    alone = [StreamCache() for _ in plan]
    distributed = [
        [forward_stream_requests(model, [ForwardRequest(ids, cache)])[0] for ids in turns]
        for turns, cache in zip(plan, alone, strict=True)
    ]
    caches = [StreamCache() for _ in plan]
    for turn in range(3):
        found = forward_stream_requests(
            model, [ForwardRequest(turns[turn], cache) for turns, cache in zip(plan, caches, strict=True)]
        )
        for mine, hidden in zip(distributed, found, strict=True):
            assert torch.equal(mine[turn], hidden)
    for one, other in zip(alone, caches, strict=True):
        for a, b in zip(one.tensors(), other.tensors(), strict=True):
            assert torch.equal(a[0], b[0])
            assert torch.equal(a[1], b[1])
    with torch.no_grad():
        for turns, mine in zip(plan, distributed, strict=True):
            whole = model.read(model.joint_embed(torch.tensor([[token for ids in turns for token in ids]])))
            torch.testing.assert_close(torch.cat(mine, 1), whole, atol=1e-5, rtol=0)
        words = forward_stream_requests(
            model, [ForwardRequest([11, 12], caches[0]), ForwardRequest([13], caches[1], banned=(5, 6))]
        )
        assert words[1] == model.likeliest(
            forward_stream_requests(model, [ForwardRequest([13], alone[1])])[0][0], (5, 6)
        )
    assert words[0].shape == (1, 2, 64)


@pytest.mark.parametrize("name", STRATEGIES)
def test_stream_batcher_records_equal_single_streams(model, tokenizer, name):
    """The streams have different lengths, user turns, updates, refusals, replies and compressions."""
    budget = None if name is None else least(model, tokenizer, name) + 40
    lengths = (80, 40, 15)
    episodes = [replace(busy_episode(n), id=f"e{n}") for n in lengths]
    alone = {}
    for episode, count in zip(episodes, lengths, strict=True):
        runner = busy_runner(model, tokenizer, name or "none", budget)
        alone[episode.id], _ = replay_episode(runner, episode, pictures(120)[:count], runner.knobs, "x")
    assert bool(alone["e80"].compressions) == (name is not None)
    for most in (2, 3):
        together = StreamBatcher(model)

        def job(episode, count, together=together):
            runner = busy_runner(model, tokenizer, name or "none", budget, reader=together)
            return replay_episode(runner, episode, pictures(120)[:count], runner.knobs, "x")

        jobs = [partial(job, *pair) for pair in zip(episodes, lengths, strict=True)]
        found = list(together.run(iter(jobs), most))
        assert {record.episode.id: record for record, _ in found} == alone
        for _, timing in found:
            assert sum(timing.stages.values()) == pytest.approx(timing.seconds)
            assert min(timing.stages.values()) >= 0


def test_stream_batcher_failing_stream_ends_all(model):
    def broken():
        raise DataError("this video breaks off")

    together = StreamBatcher(model)
    begun = []

    def fine():
        begun.append(together(ForwardRequest([11, 12], StreamCache())))
        return "done"

    assert list(together.run(iter([fine, fine]), 2)) == ["done", "done"]
    assert len(begun) == 2
    with pytest.raises(DataError, match="breaks off"):
        list(together.run(iter([fine, broken, fine]), 2))
    with pytest.raises(RuntimeError, match="run"):
        together(ForwardRequest([11], StreamCache()))
    assert list(together.run(iter(()), 3)) == []
