"""How keys and values are stored: exact bytes, bounded errors, and everything that a cache does, in every way of storing."""

from __future__ import annotations

import math

import pytest
import torch

from prospect_core.stream.cache import FIRST_ROOM, STORES, StreamCache, turn

pytestmark = pytest.mark.integration

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


def test_buffers_have_room_to_grow_and_are_copied_only_when_full():
    cache = StreamCache()
    cache.update(states(10, 1), states(10, 2), 0)
    (keys,), (values,) = cache.layers[0].buffers
    assert keys.shape == values.shape == (1, 2, FIRST_ROOM, 8)
    cache.update(states(FIRST_ROOM - 10, 3), states(FIRST_ROOM - 10, 4), 0)
    assert cache.layers[0].buffers[0][0] is keys
    cache.update(states(44, 5), states(44, 6), 0)
    # a quarter beyond what is held
    assert [buffers[0].shape[-2] for buffers in cache.layers[0].buffers] == [300 + 75] * 2
    held, _ = cache.tensors()[0]
    assert torch.equal(held, torch.cat((states(10, 1), states(FIRST_ROOM - 10, 3), states(44, 5)), -2))
    assert cache.nbytes == 2 * 300 * 2 * 8 * 4


def test_lengths_sizes_and_layers_by_hand():
    cache = StreamCache("int8")
    assert (cache.length, cache.nbytes, cache.tensors()) == (0, 0, [])
    # the second layer first: both are there, each with its own length
    cache.update(states(3), states(3), 1)
    assert [layer.get_seq_length() for layer in cache.layers] == [0, 3]
    cache.update(states(3), states(3), 0)
    assert cache.length == 3
    # a byte a number, four a scale, keys and values, two layers
    assert cache.nbytes == 2 * 2 * 3 * 2 * (8 + 4)
    cache.truncate(5)
    assert cache.length == 3
    cache.truncate(1)
    assert [layer.length for layer in cache.layers] == [1, 1]
    half = StreamCache().update(states(2).half(), states(2).half(), 0)
    assert {part.dtype for part in half} == {torch.float16}
    half = StreamCache("fp8").update(states(2).half(), states(2).half(), 0)
    assert {part.dtype for part in half} == {torch.float16}


@pytest.mark.parametrize(("store", "largest", "kind"), [("int8", 127, torch.int8), ("fp8", 448, torch.float8_e4m3fn)])
def test_codes_and_scales_by_hand(store, largest, kind):
    given = torch.tensor([[[[0.0, 1.0, -2.0, 0.26]]]])
    codes, scale = STORES[store].parts(given)
    assert codes.dtype == torch.uint8
    assert scale.shape == (1, 1, 1, 1)
    assert float(scale) == pytest.approx(2 / largest)
    numbers = codes.view(kind).float().flatten().tolist()
    assert numbers[2] == -largest
    assert numbers[0] == 0
    assert abs(numbers[3] - 0.26 / 2 * largest) <= (0.5 if store == "int8" else 2.0)
    # smaller than one, they use all codes too
    small = STORES[store].parts(given / 100)[0].view(kind).float().flatten().tolist()
    assert small == pytest.approx(numbers, abs=1 if store == "int8" else 16)
    assert small[2] == -largest
    # a token that is all but nothing keeps what it has
    tiny = torch.full((1, 1, 1, 4), 1e-14)
    back = STORES[store].states(STORES[store].parts(tiny), torch.float32)
    assert float(back.abs().max()) <= 1e-14 + 1e-12 / largest


def test_a_turn_is_a_rotation_by_position_times_frequency():
    frequencies = torch.tensor([0.5, 0.25])
    key = torch.tensor([[[[1.0, 0.0, 0.0, 2.0]]]])
    turned = turn(key, torch.tensor([-3]), frequencies)[0, 0, 0].tolist()
    a, b = -1.5, -0.75
    # pairs are (0, 2) and (1, 3)
    assert turned == pytest.approx([math.cos(a), -2 * math.sin(b), math.sin(a), 2 * math.cos(b)], abs=1e-6)
    assert turn(key.half(), torch.tensor([0]), frequencies).dtype == torch.float16
    back = turn(turn(key, torch.tensor([7]), frequencies), torch.tensor([-7]), frequencies)
    torch.testing.assert_close(back, key)


def test_a_fork_shares_nothing_and_stores_alike():
    cache = StreamCache("fp8")
    cache.update(states(5, 1), states(5, 2), 0)
    fork = cache.fork()
    before = [part.clone() for pair in cache.tensors() for part in pair]
    fork.update(states(4, 3), states(4, 4), 0)
    fork.keep([0, 8], torch.tensor([1.0, 0.1, 0.01, 0.001]))
    assert (cache.length, fork.length, fork.store) == (5, 2, "fp8")
    assert fork.layers[0].store is cache.layers[0].store
    for old, new in zip(before, [part for pair in cache.tensors() for part in pair], strict=True):
        assert torch.equal(old, new)


@pytest.mark.parametrize("store", ["int8", "fp8"])
def test_errors_of_stored_keys_do_not_grow_with_compressions(store):
    """Bytes stay what they were: only the angle of a key changes, which is worked out at once from where it began."""
    inv_freq = 1.0 / 100 ** (torch.arange(4) / 4)
    given, rounded = states(60, 1), StreamCache(store)
    rounded.update(given, states(60, 2), 0)
    exact = StreamCache()
    exact.update(given, states(60, 2), 0)
    exact.update(rounded.tensors()[0][0], states(60, 2), 1)
    first = rounded.layers[0].parts()[0][0].clone()
    kept = list(range(60))
    for number in range(40):
        drop = number % 3
        kept.pop(drop)
        for cache in (rounded, exact):
            cache.keep([k for k in range(cache.length) if k != drop], inv_freq)
        # what is read later lies behind what was moved
        if number == 20:
            rounded.update(states(1, 5), states(1, 6), 0)
            rounded.truncate(rounded.length - 1)
    assert torch.equal(rounded.layers[0].parts()[0][0], first[..., kept, :])
    (keys, _), (_, _) = rounded.tensors()[0], exact.tensors()[0]
    # turned once from the stored base, or step by step without rounding: the same
    torch.testing.assert_close(keys, exact.tensors()[1][0], atol=2e-5, rtol=0)
    fork = rounded.fork()
    assert torch.equal(fork.tensors()[0][0], keys)
