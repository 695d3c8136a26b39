"""Context strategies: the cache, the tokens that each strategy keeps, and speculation."""

from __future__ import annotations

from dataclasses import replace
from itertools import repeat
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from prospect_core.model.modeling import DSTSmolVLM
from prospect_core.records import Knobs
from prospect_core.sequence.layout import Context
from prospect_core.stream.kv_cache import StreamCache
from prospect_core.stream.replay import replay_episode
from prospect_core.stream.runner import VLMStreamRunner
from prospect_core.stream.strategies import registry
from prospect_core.stream.strategies.registry import BUILT_IN
from prospect_core.stream.strategies.text import text_strategy_state_summary, text_strategy_summary_contradicts
from prospect_core.stream.strategies.tokens import (
    TEXT_SHARE,
    TOKEN_STRATEGIES,
    round_token_strategy_scores,
    token_strategy_even_spread,
    token_strategy_unlike_mean,
    token_strategy_unlike_newest,
    token_strategy_value_norm,
)
from prospect_core.stream.token_metadata import Kind, TokenMeta
from prospect_core.timeline import DialogState
from prospect_core.util.errors import UserError
from tests.helpers.small_models import small_config
from tests.helpers.streams import STRATEGIES, TASK, Scripted, busy_episode, busy_runner, least, pictures, says

pytestmark = pytest.mark.integration

TOKEN = {s.name: s for s in TOKEN_STRATEGIES}


def filled(model, count=24):
    cache = StreamCache()
    with torch.no_grad():
        model.read(model.joint_embed(torch.arange(count)[None] + 10), past_key_values=cache)
    return cache


@pytest.mark.parametrize("heads", [2, 4])
def test_strategy_kept_keys_are_rotated_to_new_positions(tokenizer, heads):
    """With grouped-query and full attention. The published caches kept the old rotary angles."""
    torch.manual_seed(0)
    config = small_config(tokenizer)
    config.text_config.num_key_value_heads = heads
    model = DSTSmolVLM(config).eval()
    text = model.model.text_model
    inputs = []
    hooks = [
        layer.self_attn.k_proj.register_forward_hook(lambda _, args, out: inputs.append(out)) for layer in text.layers
    ]
    cache = filled(model)
    for hook in hooks:
        hook.remove()
    before = [values for _, values in cache.tensors()]
    kept = [0, 1, 2, 7, 8, 15, 23]
    cache.keep(kept, text.rotary_emb.inv_freq)
    assert cache.length == len(kept)
    positions = torch.arange(len(kept))[None]
    for (keys, values), raw, old in zip(cache.tensors(), inputs, before, strict=True):
        unturned = raw.view(1, -1, heads, keys.shape[-1]).transpose(1, 2)[..., kept, :]
        cos, sin = text.rotary_emb(unturned, positions)
        expected, _ = apply_rotary_pos_emb(unturned, unturned, cos, sin)
        torch.testing.assert_close(keys, expected, atol=1e-5, rtol=0)
        assert torch.equal(values, old[..., kept, :])
    # errors do not accumulate over repeated compressions
    once = cache.tensors()[0][0].clone()
    for _ in range(20):
        cache.keep(range(len(kept)), text.rotary_emb.inv_freq)
    assert torch.equal(cache.tensors()[0][0], once)
    with torch.no_grad():
        model.read(model.joint_embed(torch.tensor([[11]])), past_key_values=cache)
    assert cache.length == len(kept) + 1


def test_strategy_streams_of_one_pool_are_independent(model):
    cache = filled(model)
    other = StreamCache(cache.storage, cache.pool)
    with torch.no_grad():
        model.read(model.joint_embed(torch.tensor([[11, 12, 13, 14, 15, 16]])), past_key_values=other)
    other.keep(range(5), model.model.text_model.rotary_emb.inv_freq)
    again = filled(model)
    assert (cache.length, other.length) == (24, 5)
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(cache.tensors(), again.tensors(), strict=True))
    empty = StreamCache()
    empty.keep([], model.model.text_model.rotary_emb.inv_freq)
    assert (empty.length, empty.nbytes) == (0, 0)


@pytest.mark.parametrize("name", STRATEGIES[1:])
def test_strategy_cache_stays_within_budget(model, tokenizer, name):
    budget = least(model, tokenizer, name)
    runner = busy_runner(model, tokenizer, name, budget)
    runner.reset(TASK)
    users = {e.frame + 1: e.text for e in busy_episode().events}
    for n, frame in enumerate(pictures(120)):
        output = runner.step(frame, users.get(n))
        assert runner.stream.context.cache.length <= runner.length <= budget
        # an end token or an update is read with the next tokens but counted immediately
        assert output.cache_tokens == runner.length
        if output.compression:
            assert output.compression.tokens_after <= budget // 2 < output.compression.tokens_before
    assert runner.stream.peak_tokens <= budget


@pytest.mark.parametrize("name", TOKEN)
def test_token_strategy_keeps_prompt_and_newest_text(model, tokenizer, name):
    runner = busy_runner(model, tokenizer, name, least(model, tokenizer, name) + 40)
    runner.reset(TASK)
    prompt, before, compression = list(runner.stream.prompt.ids), [], None
    users = {e.frame + 1: e.text for e in busy_episode().events}
    for n, frame in enumerate(pictures(120)):
        before = list(runner.stream.context.ids)
        compression = runner.step(frame, users.get(n)).compression
        if compression:
            break
    assert compression is not None
    after = runner.stream.context.ids
    assert after[: len(prompt)] == prompt
    kind = runner.stream.context.meta.kind
    assert [int(k) for k in kind[: len(prompt)]] == [Kind.PROMPT] * len(prompt)
    text = [i for i, k in zip(after, kind, strict=True) if k in (Kind.USER, Kind.UPDATE, Kind.REPLY)]
    special = runner.builder.special
    was = [i for i in before[len(prompt) :] if i != special.image]
    # the newest whole pieces: a suffix of the previous text
    assert text
    assert text[0] in (special.user, special.dst, special.asst)
    assert "".join(map(chr, was)).find("".join(map(chr, text[:-20]))) >= 0
    assert len(text) <= TEXT_SHARE * (runner.knobs.budget // 2 - len(prompt))
    assert all((after[k] == special.image) == (kind[k] == Kind.FRAME) for k in range(len(after)))


def test_drop_middle_keeps_newest_and_uniform_keeps_even(model, tokenizer):
    kept = {}
    for name in ("drop_middle", "uniform"):
        runner = busy_runner(model, tokenizer, name, least(model, tokenizer, name) + 200)
        runner.speaks = set()
        runner.reset(TASK)
        number = -1
        while not runner.step(pictures(1)[0]).compression:
            number += 1
        frames = np.unique(runner.stream.context.meta.frame[runner.stream.context.meta.kind == Kind.FRAME])
        assert frames[-1] == number + 1
        kept[name] = frames
    newest = kept["drop_middle"]
    assert (np.diff(newest) == 1).all()
    gaps = np.diff(kept["uniform"])
    assert kept["uniform"][0] < newest[0]
    assert gaps.max() - gaps.min() <= 2


def meta_of(frames, each, text=0):
    meta = TokenMeta()
    meta.add(Kind.PROMPT, -1, 3)
    for frame in range(frames):
        meta.add(Kind.FRAME, frame, each)
    meta.add(Kind.REPLY, frames, text)
    return meta


def layers_of(meta, seed=0, heads=2, width=4, number=2):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(1, heads, len(meta), width, generator=generator) for _ in range(number)]


def test_token_strategy_scores_equal_brute_force():
    meta = meta_of(6, 2, text=2)
    keys = layers_of(meta)
    arrays = [layer[0].double().numpy() for layer in keys]
    unit = [a / np.linalg.norm(a, axis=-1, keepdims=True) for a in arrays]
    frames = [k for k in range(len(meta)) if meta.kind[k] == Kind.FRAME]
    for k in range(len(meta)):
        cosines, norms = [], []
        for u, a in zip(unit, arrays, strict=True):
            for head in range(2):
                mean = u[head, frames].mean(0)
                cosines.append(u[head, k] @ mean / np.linalg.norm(mean))
                norms.append(np.linalg.norm(a[head, k]) / np.linalg.norm(a[head], axis=-1).mean())
        assert token_strategy_unlike_mean(keys, keys, meta, 8)[k] == pytest.approx(-np.mean(cosines), abs=1e-6)
        assert token_strategy_value_norm(keys, keys, meta, 8)[k] == pytest.approx(np.mean(norms), abs=1e-6)
    # room for 8 tokens: one eighth is one token, so the others are compared with one newest frame
    tar = token_strategy_unlike_newest(keys, keys, meta, 8)
    assert [k for k in frames if tar[k] == 2.0] == frames[-2:]
    for k in frames[:-2]:
        same_patch = frames[-2 + (k - 3) % 2]
        expected = -np.mean([u[head, k] @ u[head, same_patch] for u in unit for head in range(2)])
        assert tar[k] == pytest.approx(expected, abs=1e-6)


def test_token_strategy_even_spread_by_hand():
    meta = meta_of(10, 2)
    chosen = np.unique(meta.frame[token_strategy_even_spread([], [], meta, 8) > 0])
    assert chosen.tolist() == [2, 4, 7, 9]


@given(
    st.integers(1, 30),
    st.integers(1, 4),
    st.integers(0, 12),
    st.integers(4, 90),
    st.integers(0, 99),
    st.sampled_from(sorted(TOKEN)),
)
@settings(max_examples=60, deadline=None)
def test_token_strategy_selection_is_bounded_and_stable(frames, each, text, most, seed, name):
    meta = meta_of(frames, each, text)
    keys, values = layers_of(meta, seed), layers_of(meta, seed + 1)
    kept = TOKEN[name].select(keys, values, meta, most)
    assert kept == sorted(set(kept))
    assert kept[:3] == [0, 1, 2]
    assert len(kept) <= most
    assert kept[-1] < len(meta)
    kinds = meta.kind[kept]
    assert (kinds == Kind.REPLY).sum() in (0, text)
    noisy = [k + 1e-7 * torch.randn(k.shape, generator=torch.Generator().manual_seed(5)) for k in keys]
    # a score near a line of the grid can change one or two tokens
    moved = set(TOKEN[name].select(noisy, values, meta, most)) ^ set(kept)
    assert len(moved) <= 2


def test_token_strategy_rounding_prefers_newest():
    assert round_token_strategy_scores(np.array([3.0, 3.0 + 1e-9, 3.0])).tolist() == [0, 0, 0]
    assert len(round_token_strategy_scores(np.array([]))) == 0
    meta = meta_of(8, 1)
    equal = [torch.ones(1, 1, len(meta), 4)]
    assert TOKEN["keydiff"].select(equal, equal, meta, 6) == [0, 1, 2, 8, 9, 10]


def first_compression(runner):
    runner.reset(TASK, fps=2)
    for n, frame in enumerate(pictures(200)):
        event = runner.step(frame, "Where is it?" if n == 8 else None).compression
        if event:
            return event
    raise AssertionError("it was never compressed")


def test_summarize_strategy_summary_is_in_next_context(model, tokenizer, monkeypatch):
    """The origin wrote summaries and then dropped them: two of its strategies equaled `drop_all`
    plus 24 s.
    """
    runner = Scripted(model, tokenizer, Knobs("summarize_and_drop", least(model, tokenizer, "summarize_and_drop")))
    asked_over = says(monkeypatch, runner, repeat("Nothing is done yet."))
    event = first_compression(runner)
    expected = runner.builder.prompt(TASK, Context(None, "Nothing is done yet."))
    assert runner.stream.context.ids == list(expected.ids)
    assert "Summary: Nothing is done yet." in event.text
    # the summary was written over the whole cache, after its marker
    assert asked_over[0][-1] == runner.builder.special.sum
    assert runner.builder.special.image in asked_over[0]


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("Done: Put the red cube in the box.", "Done: Put the red cube in the box."),
        ("All is done.", "Done in this order: put the red cube in the box."),
        (
            "put the red cube in the box; put the blue ball in the bin",
            "Done in this order: put the red cube in the box.",
        ),
    ],
)
def test_summarize_with_dst_contradiction_is_replaced(model, tokenizer, monkeypatch, written, kept):
    knobs = Knobs("summarize_with_dst", least(model, tokenizer, "summarize_with_dst"))
    runner = Scripted(model, tokenizer, knobs, {4: ("in_progress", "not_started"), 5: ("completed", "not_started")})
    asked_over = says(monkeypatch, runner, repeat(written))
    event = first_compression(runner)
    assert f"Summary: {kept}\nUser: Where is it?\n" in event.text
    prompt = runner.builder.prompt(TASK, Context(runner.state, kept, (("User", "Where is it?"),)))
    assert runner.stream.context.ids == list(prompt.ids)
    # the tracked state was in the context before the summary
    assert "(completed 1st, 2 s)" in tokenizer.decode(asked_over[0])


def test_summary_contradictions_by_hand():
    state = DialogState(TASK.step_ids, ("completed", "in_progress"), (("S1", 3.0),))
    assert not text_strategy_summary_contradicts(
        "I put The Red Cube in the box. no: put the red cube in the box", TASK, state
    )
    assert text_strategy_summary_contradicts("nothing", TASK, state)
    assert text_strategy_summary_contradicts("put the red cube in the box", TASK, DialogState.initial(TASK))
    assert text_strategy_state_summary(TASK, state) == (
        "Done in this order: put the red cube in the box. Begun: put the blue ball in the bin."
    )
    assert text_strategy_state_summary(TASK, DialogState.initial(TASK)) == "Nothing is done yet."


def with_plugin(monkeypatch, thing):
    point = SimpleNamespace(value="mine:thing", load=lambda: thing)
    monkeypatch.setattr(registry, "list_entry_points", lambda group: [point] if group == "prospect.strategies" else [])
    registry.list_registered_strategies.cache_clear()


@pytest.fixture(autouse=True)
def own_registry():
    yield
    registry.list_registered_strategies.cache_clear()


def test_registered_strategy_is_found_and_bounded(model, tokenizer, monkeypatch):
    class Newest:
        name, keeps, limited, writes = "mine", "the newest tokens of all kinds", True, False
        extra = 0

        def select(self, keys, values, meta, most):
            prompt = int((meta.kind == Kind.PROMPT).sum())
            return [*range(prompt), *range(len(meta) - (most - prompt) - self.extra, len(meta))]

    with_plugin(monkeypatch, Newest())
    budget = least(model, tokenizer, "mine") + 40
    runner = busy_runner(model, tokenizer, "mine", budget)
    record, _ = replay_episode(runner, busy_episode(), pictures(120), runner.knobs, "x")
    assert {c.strategy for c in record.compressions} == {"mine"}
    greedy = Newest()
    greedy.extra = 1
    with_plugin(monkeypatch, greedy)
    runner = busy_runner(model, tokenizer, "mine", budget)
    with pytest.raises(UserError, match="at most"):
        replay_episode(runner, busy_episode(), pictures(120), runner.knobs, "x")


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (SimpleNamespace(name="x", keeps="", limited=True, writes=False), "neither rebuild"),
        (SimpleNamespace(name="x"), "lacks keeps, limited, writes"),
        (replace(TOKEN_STRATEGIES[0], name="drop_all"), "'drop_all' is taken"),
    ],
)
def test_registered_strategy_invalid_is_named(monkeypatch, thing, message):
    with_plugin(monkeypatch, thing)
    with pytest.raises(UserError, match=message):
        registry.find_registered_strategy("none", None)


def test_strategies_command_lists_built_in(capsys):
    from prospect_core.cli.commands import prospect

    with pytest.raises(SystemExit) as stop:
        prospect(["strategies"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    for strategy in BUILT_IN:
        assert f" {strategy.name} " in out


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_token_strategy_dynamic_rope_raises(model, tokenizer, kind):
    model.config.text_config.rope_parameters = {"rope_type": kind, "rope_theta": 10000.0, "factor": 2.0}
    with pytest.raises(
        UserError, match=rf"strategy 'keydiff': moves keys in the cache, which .* of type '{kind}' do not"
    ):
        VLMStreamRunner(model, tokenizer, Knobs("keydiff", 10**6))
    # a rebuilt prompt is read from its tokens, so no key moves
    VLMStreamRunner(model, tokenizer, Knobs("dst_refresh", 10**6))
