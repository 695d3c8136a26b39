"""The adaptive limit of concurrent requests, against simulated servers on a virtual clock."""

from __future__ import annotations

import asyncio
import heapq
import time

import pytest

from prospect_eval.models.request_limit import RequestLimit


def simulate(limit, seconds_of, replies, streams=64):
    """Run ``streams`` loops of requests on a virtual clock.

    Args:
        limit: The limit.
        seconds_of: Returns the time of a reply by the number of open requests.
        replies: Number of replies until the end.
        streams: Number of streams, each with one request at a time.

    Returns:
        The largest number of open requests.
    """
    ends: list[tuple[float, int, asyncio.Future]] = []
    most, done = 0, 0

    async def stream():
        nonlocal most, done
        while done < replies:
            async with limit.place():
                most = max(most, limit.open)
                seconds = seconds_of(limit.open)
                reply = asyncio.get_running_loop().create_future()
                heapq.heappush(ends, (clock + seconds, id(reply), reply))
                await reply
                limit.note_reply(seconds)
                done += 1

    async def run():
        nonlocal clock
        tasks = [asyncio.ensure_future(stream()) for _ in range(streams)]
        while not all(task.done() for task in tasks):
            for _ in range(3):
                await asyncio.sleep(0)
            if ends:
                clock, _, reply = heapq.heappop(ends)
                reply.set_result(None)

    clock = 0.0
    asyncio.run(run())
    return most


def test_request_limit_constant_latency_grows_to_most():
    limit = RequestLimit(64)
    assert simulate(limit, lambda _: 1.0, 2000) == 64
    assert limit.limit == 64


def test_request_limit_one_at_a_time_server_stays_small():
    limit = RequestLimit(64)
    most = simulate(limit, lambda number: float(number), 4000)
    assert most <= 8
    assert limit.limit <= 5


def test_request_limit_stops_near_capacity():
    limit = RequestLimit(64)
    most = simulate(limit, lambda number: max(1.0, number / 16), 6000)
    assert most <= 32
    assert 12 <= limit.limit <= 24


def test_request_limit_few_streams_do_not_grow_it():
    limit = RequestLimit(64)
    simulate(limit, lambda _: 1.0, 500, streams=3)
    assert limit.limit == 4


def test_request_limit_overload_halves_once_per_round():
    limit = RequestLimit(64)
    limit.limit = 40
    began = time.monotonic()
    for _ in range(10):
        limit.note_overload(began)
    assert limit.limit == 20
    limit.note_overload(time.monotonic())
    assert limit.limit == 10
    for _ in range(9):
        limit.note_overload(time.monotonic())
    assert limit.limit == 1


def test_request_limit_pause_holds_requests():
    async def run():
        limit = RequestLimit(4)
        limit.note_overload(time.monotonic(), pause=0.1)
        begin = time.monotonic()
        await limit.wait_until_open()
        return time.monotonic() - begin

    assert asyncio.run(run()) == pytest.approx(0.1, abs=0.09)


def test_request_limit_cancelled_wait_frees_its_place():
    async def run():
        limit = RequestLimit(1)
        held = limit.place()
        await held.__aenter__()

        async def wait():
            async with limit.place():
                pass

        waits = [asyncio.ensure_future(wait()) for _ in range(2)]
        await asyncio.sleep(0)
        waits[0].cancel()
        await held.__aexit__(None, None, None)
        waits[1].cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        return limit.open

    assert asyncio.run(run()) == 0
