"""Speculation over frames and words: the record of the plain loop with fewer forwards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prospect_core.model.generation import generate_greedily
from prospect_core.stream.kv_cache import StreamCache
from prospect_core.stream.replay import replay_episode
from prospect_core.stream.spans import replay_in_spans
from tests.helpers.streams import STRATEGIES, busy_episode, busy_runner, least, pictures

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("name", STRATEGIES)
def test_speculation_equals_plain_loop(model, tokenizer, name):
    """The spans contain updates, refusals, replies, user turns and compressions."""
    budget = None if name is None else least(model, tokenizer, name) + 40
    plain_runner = busy_runner(model, tokenizer, name or "none", budget)
    plain, _ = replay_episode(plain_runner, busy_episode(), pictures(120), plain_runner.knobs, "x", longest_span=1)
    assert set(plain_runner.spans) == {1}
    for longest in (5, 64):
        runner = busy_runner(model, tokenizer, name or "none", budget)
        fast, timing = replay_episode(runner, busy_episode(), pictures(120), runner.knobs, "x", longest_span=longest)
        assert max(runner.spans) > 3
        assert len(runner.spans) < 90
        for part in ("speaking_prob", "update_prob"):
            np.testing.assert_allclose(getattr(fast, part), getattr(plain, part), atol=1e-4)
        np.testing.assert_allclose(fast.state_probs, plain.state_probs, atol=1e-4)
        blank = {"speaking_prob": (), "update_prob": (), "state_probs": ()}
        assert replace(fast, **blank) == replace(plain, **blank)
        assert runner.stream.context.ids == plain_runner.stream.context.ids
        assert runner.length == len(runner.stream.context.meta) == len(runner.stream.context.ids)
        assert len(timing.compression_seconds) == len(plain.compressions)
        assert max(plain.cache_tokens) <= timing.physical_peak_tokens <= (budget or 10**6)
    assert (len(plain.compressions) >= 2) == (name is not None)
    assert len(plain.refusals) >= 1
    assert len(plain.transitions) >= 5


@given(st.lists(st.integers(1, 64), min_size=0, max_size=40), st.integers(1, 64))
def test_replay_in_spans_outputs_each_frame_once(stops, longest):
    """For any split of a span, the outputs are those of the frames, each once and in order."""
    frames, taken = list(range(len(stops) * 3)), iter([*stops, *[1] * 1000])

    def advance(span):
        assert 0 < len(span) <= max(4, longest)
        return span[: next(taken)]

    assert list(replay_in_spans(advance, iter(frames), longest)) == frames


def one_token_at_a_time(model, hidden, cache, limit, banned, eos):
    """Plain greedy decoding."""
    out = []
    with torch.no_grad():
        while len(out) < limit:
            logits = model.lm_logits(hidden)[0]
            logits[list(banned)] = -torch.inf
            token = int(logits.argmax())
            if token == eos:
                break
            out.append(token)
            hidden = model.read(model.joint_embed(torch.tensor([[token]])), past_key_values=cache)[:, -1]
        model.read(model.joint_embed(torch.tensor([[eos]])), past_key_values=cache)
    return out


@pytest.mark.parametrize("limit", [1, 2, 9, 40])
def test_prompt_lookup_changes_no_word(model, limit):
    """Random models repeat themselves: repeated words are drafted, and wrong drafts are rejected."""
    forwards, drafted = [], 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        ids = [*rng.integers(10, 200, 12).tolist()] * 3
        eos = int(rng.integers(10, 200))
        model.config.eos_token_id = eos
        banned = (3, 4, int(rng.integers(10, 200)))
        plain, fast = StreamCache(), StreamCache()
        with torch.no_grad():
            hidden = model.read(model.joint_embed(torch.tensor([ids])), past_key_values=plain)[:, -1]
            model.read(model.joint_embed(torch.tensor([ids])), past_key_values=fast)
        expected = one_token_at_a_time(model, hidden, plain, limit, banned, eos)
        reads = []
        append = model._append
        model._append = lambda tokens, cache, append=append, reads=reads: (
            reads.append(len(tokens)),
            append(tokens, cache),
        )[1]
        heard = []
        tokens, cut = model.fast_greedy_generate(hidden, fast, limit, banned, heard.append, ids)
        del model._append
        assert tokens == heard == expected
        assert cut == (len(expected) == limit)
        assert fast.length == plain.length == len(ids) + len(expected) + 1
        for (a, b), (c, d) in zip(fast.tensors(), plain.tensors(), strict=True):
            torch.testing.assert_close(a, c, atol=1e-5, rtol=0)
            torch.testing.assert_close(b, d, atol=1e-5, rtol=0)
        forwards.append((len(reads), len(expected) + 1))
        drafted += sum(n > 1 for n in reads)
    assert all(few <= many for few, many in forwards)
    if limit == 40:
        assert drafted
        assert sum(few for few, _ in forwards) < sum(many for _, many in forwards)


def test_prompt_lookup_drafts_last_continuation():
    from prospect_core.model.generation import Lookup

    lookup = Lookup([1, 2, 3, 4, 1, 2, 5, 6, 9, 7])
    assert lookup.draft(8, set()) == []
    for token in (1, 2):
        lookup.add(token)
    assert lookup.draft(8, set()) == [5, 6, 9, 7, 1, 2]
    assert lookup.draft(3, set()) == [5, 6, 9]
    assert lookup.draft(8, {9}) == [5, 6]
    assert Lookup([]).draft(4, set()) == []


def test_generate_greedily_wrong_draft_is_rejected():
    """The words differ from the draft at the fourth token: everything after it is rejected."""
    from prospect_core.model.generation import generate_greedily

    words, held, taken = [1, 2, 3, 7, 8, 0], [], []

    def following(tokens):
        out = []
        for token in tokens:
            held.append(token)
            out.append(words[len(held)] if held == words[: len(held)] else 99)
        return out

    def take_back(count):
        taken.append(count)
        del held[len(held) - count :]

    assert generate_greedily(1, following, take_back, 0, 40, context=[1, 2, 3, 4, 5]) == ([1, 2, 3, 7, 8], False)
    assert held == [1, 2, 3, 7, 8]
    # of the draft 3, 4, 5, 1, 2 the first token was correct
    assert taken == [4]


@pytest.mark.parametrize(("ends", "cut"), [(True, False), (False, True)])
def test_generate_greedily_reply_of_maximum_length_is_complete(ends, cut):
    """A reply of exactly the maximum length with an end token is complete."""
    eos, words = 1, [10, 11, 12]
    after = iter([*words[1:], eos if ends else 13])
    assert generate_greedily(words[0], lambda tokens: [next(after)], lambda count: None, eos, len(words), draft=0) == (
        words,
        cut,
    )
