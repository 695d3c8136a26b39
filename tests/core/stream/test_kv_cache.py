"""Storage of keys and values: exact bytes, bounded errors, and all cache operations for every
storage type.
"""

from __future__ import annotations

import math
from itertools import pairwise

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from prospect_core.stream.kv_cache import FIRST_ROOM, StreamCache, kv_cache_bucket_size
from prospect_core.stream.kv_pool import KVPool
from prospect_core.stream.kv_storage import STORAGES, rotate_kv_storage_keys

pytestmark = pytest.mark.integration

#: largest error of a value, in units of the largest value of its token and head
ERROR = {"model": 0.0, "int8": 0.5 / 127, "fp8": 2**-4}


def turned(keys_1HTD, moved_T, frequencies):
    return rotate_kv_storage_keys(keys_1HTD[0].transpose(0, 1), moved_T, frequencies).transpose(0, 1)[None]


def states(tokens, seed=0):
    return torch.randn((1, 2, tokens, 8), generator=torch.Generator().manual_seed(seed)) * 3


@pytest.mark.parametrize("store", STORAGES)
def test_stream_cache_storage_error_is_bounded(store):
    cache = StreamCache(store)
    keys, values = states(300, 1), states(300, 2)
    for start, end in ((0, 5), (5, 6), (6, 290), (290, 300)):
        found = cache.update(keys[..., start:end, :], values[..., start:end, :], 0)
    for stored, back in zip((keys, values), found, strict=True):
        allowed = ERROR[store] * stored.abs().amax(-1, keepdim=True) + 1e-6
        assert bool(((back - stored).abs() <= allowed).all())
        assert (store == "model") == torch.equal(back, stored)
        assert bool(torch.isfinite(back).all())
    # a zero token does not divide by 0
    assert torch.equal(
        StreamCache(store).update(keys[..., :1, :] * 0, values[..., :1, :] * 0, 0)[0], keys[..., :1, :] * 0
    )


@pytest.mark.parametrize("store", STORAGES)
def test_stream_cache_truncate_keeps_other_streams(store):
    frequencies = torch.tensor([1.0, 0.1, 0.01, 0.001])
    cache = StreamCache(store)
    for layer in range(2):
        cache.update(states(20, layer), states(20, 9 + layer), layer)
    other = StreamCache(store, cache.pool)
    for layer in range(2):
        other.update(states(20, layer), states(20, 9 + layer), layer)
    cache.truncate(12)
    kept = [0, 1, 5, 11]
    held = [(k[..., kept, :].clone(), v[..., kept, :].clone()) for k, v in cache.tensors()]
    cache.keep(kept, frequencies)
    assert (cache.length, other.length) == (4, 20)
    assert cache.nbytes * 5 == other.nbytes
    moved = torch.arange(4) - torch.tensor(kept)
    for (keys, values), (old_keys, old_values) in zip(cache.tensors(), held, strict=True):
        assert torch.equal(values, old_values)
        expected = turned(old_keys, moved, frequencies)
        assert bool(((keys - expected).abs() <= ERROR[store] * expected.abs().amax(-1, keepdim=True) + 1e-6).all())
    assert torch.equal(other.tensors()[1][1], filled(store).tensors()[1][1])


def filled(store):
    cache = StreamCache(store)
    for layer in range(2):
        cache.update(states(20, layer), states(20, 9 + layer), layer)
    return cache


def test_stream_cache_grows_or_moves_with_contents():
    pool = KVPool()
    first, second = StreamCache(pool=pool), StreamCache(pool=pool)
    first.update(states(10, 1), states(10, 2), 0)
    second.update(states(10, 7), states(10, 8), 0)
    assert (first.begin, first.end, second.begin, second.end) == (0, FIRST_ROOM, FIRST_ROOM, 2 * FIRST_ROOM)
    # the rows after the first cache belong to the second, so it moves; the rows after the second
    # are free
    first.update(states(60, 3), states(60, 4), 0)
    assert (first.begin, first.end) == (2 * FIRST_ROOM, 2 * FIRST_ROOM + 96)
    second.update(states(60, 5), states(60, 6), 0)
    assert (second.begin, second.end) == (2 * FIRST_ROOM + 96, 2 * FIRST_ROOM + 2 * 96)
    for cache, seeds in ((first, (1, 3)), (second, (7, 5))):
        assert torch.equal(cache.tensors()[0][0], torch.cat((states(10, seeds[0]), states(60, seeds[1])), -2))
        assert cache.nbytes == 2 * 70 * 2 * 8 * 4
    second.update(states(200, 9), states(200, 9), 0)
    assert second.end - second.begin == kv_cache_bucket_size(270) == 384
    # rows of deleted caches are reused
    begin = first.begin
    del first, cache
    third = StreamCache(pool=pool)
    third.update(states(100, 1), states(100, 2), 0)
    assert third.begin + third.end - third.begin <= pool.rows
    assert third.begin < begin


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 200), st.booleans()), max_size=40))
def test_stream_cache_streams_share_no_row(steps):
    pool, caches, held = KVPool(), {}, {}
    for number, (name, count, ends) in enumerate(steps):
        cache = caches.setdefault(name, StreamCache(pool=pool))
        new = torch.full((1, 1, count, 2), float(number + 1))
        cache.update(new, -new, 0)
        held[name] = [*held.get(name, []), *[number + 1] * count]
        if ends:
            del caches[name], held[name], cache
        spans = sorted((cache.begin, cache.end) for cache in caches.values())
        assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))
        assert not spans or spans[-1][1] <= pool.rows
        for other, wanted in held.items():
            keys, values = caches[other].tensors()[0]
            assert keys[0, 0, :, 0].tolist() == wanted
            assert torch.equal(values, -keys)


@given(st.integers(0, 10**6), st.integers(1, 300))
def test_kv_cache_bucket_size_wastes_at_most_half(count, least):
    size = kv_cache_bucket_size(count, least)
    assert max(count, least) <= size
    assert size <= 2 or size <= 1.5 * max(count, least)
    assert kv_cache_bucket_size(size, least) == size


def test_stream_cache_lengths_and_bytes_by_hand():
    cache = StreamCache("int8")
    assert (cache.length, cache.nbytes, cache.tensors()) == (0, 0, [])
    cache.update(states(3), states(3), 0)
    cache.update(states(3), states(3), 1)
    assert cache.length == cache.get_seq_length() == 3
    assert cache.get_mask_sizes(2, 0) == (5, 0)
    # one byte per value, four per scale, keys and values, two layers
    assert cache.nbytes == 2 * 2 * 3 * 2 * (8 + 4)
    cache.truncate(5)
    assert cache.length == 3
    cache.truncate(1)
    assert (cache.length, cache.nbytes) == (1, 2 * 2 * 2 * (8 + 4))
    half = StreamCache().update(states(2).half(), states(2).half(), 0)
    assert {part.dtype for part in half} == {torch.float16}
    half = StreamCache("fp8").update(states(2).half(), states(2).half(), 0)
    assert {part.dtype for part in half} == {torch.float16}


@pytest.mark.parametrize(("store", "largest", "kind"), [("int8", 127, torch.int8), ("fp8", 448, torch.float8_e4m3fn)])
def test_storage_codes_and_scales_by_hand(store, largest, kind):
    given = torch.tensor([[[[0.0, 1.0, -2.0, 0.26]]]])
    codes, scale = STORAGES[store].parts(given)
    assert codes.dtype == torch.uint8
    assert scale.shape == (1, 1, 1, 1)
    assert float(scale) == pytest.approx(2 / largest)
    numbers = codes.view(kind).float().flatten().tolist()
    assert numbers[2] == -largest
    assert numbers[0] == 0
    assert abs(numbers[3] - 0.26 / 2 * largest) <= (0.5 if store == "int8" else 2.0)
    # values below one use all codes too
    small = STORAGES[store].parts(given / 100)[0].view(kind).float().flatten().tolist()
    assert small == pytest.approx(numbers, abs=1 if store == "int8" else 16)
    assert small[2] == -largest
    # a token with tiny values keeps them
    tiny = torch.full((1, 1, 1, 4), 1e-14)
    back = STORAGES[store].states(STORAGES[store].parts(tiny), torch.float32)
    assert float(back.abs().max()) <= 1e-14 + 1e-12 / largest


def test_rotate_keys_equals_rotation_by_position():
    frequencies = torch.tensor([0.5, 0.25])
    key = torch.tensor([[[1.0, 0.0, 0.0, 2.0]]])
    found = rotate_kv_storage_keys(key, torch.tensor([-3]), frequencies)[0, 0].tolist()
    a, b = -1.5, -0.75
    # pairs are (0, 2) and (1, 3)
    assert found == pytest.approx([math.cos(a), -2 * math.sin(b), math.sin(a), 2 * math.cos(b)], abs=1e-6)
    assert rotate_kv_storage_keys(key.half(), torch.tensor([0]), frequencies).dtype == torch.float16
    back = rotate_kv_storage_keys(
        rotate_kv_storage_keys(key, torch.tensor([7]), frequencies), torch.tensor([-7]), frequencies
    )
    torch.testing.assert_close(back, key)


def test_stream_cache_second_stream_shares_no_rows():
    cache = StreamCache("fp8")
    cache.update(states(5, 1), states(5, 2), 0)
    other = StreamCache("fp8", cache.pool)
    other.update(states(5, 1), states(5, 2), 0)
    before = [part.clone() for pair in cache.tensors() for part in pair]
    other.update(states(4, 3), states(4, 4), 0)
    other.keep([0, 8], torch.tensor([1.0, 0.1, 0.01, 0.001]))
    assert (cache.length, other.length, other.storage) == (5, 2, "fp8")
    assert other.pool is cache.pool
    for old, new in zip(before, [part for pair in cache.tensors() for part in pair], strict=True):
        assert torch.equal(old, new)


@pytest.mark.parametrize("store", ["int8", "fp8"])
def test_stream_cache_key_error_is_constant_over_compressions(store):
    """The stored bytes do not change: only the angle of a key changes, always computed from its
    origin.
    """
    inv_freq = 1.0 / 100 ** (torch.arange(4) / 4)
    keys, rounded = states(60, 1), StreamCache(store)
    rounded.update(keys, states(60, 2), 0)
    exact = StreamCache()
    exact.update(keys, states(60, 2), 0)
    exact.update(rounded.tensors()[0][0], states(60, 2), 1)
    first = rounded.stored(0)[0].clone()
    kept = list(range(60))
    for number in range(40):
        drop = number % 3
        kept.pop(drop)
        for cache in (rounded, exact):
            cache.keep([k for k in range(cache.length) if k != drop], inv_freq)
        # later tokens are after the moved ones
        if number == 20:
            rounded.update(states(1, 5), states(1, 6), 0)
            rounded.truncate(rounded.length - 1)
    assert torch.equal(rounded.stored(0)[0], first[kept])
    (keys, _), (_, _) = rounded.tensors()[0], exact.tensors()[0]
    # one rotation from the stored base equals stepwise rotations without rounding
    torch.testing.assert_close(keys, exact.tensors()[1][0], atol=2e-5, rtol=0)
