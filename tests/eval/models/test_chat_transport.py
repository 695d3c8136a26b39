"""Retries, waits that a server asks for, and the search for log-probabilities."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest

from prospect_core.util.errors import DataError, UserError
from prospect_eval.models.chat_client import Endpoint
from prospect_eval.models.chat_transport import retry_after_seconds
from prospect_eval.models.silence_probability import silence_probability
from tests.helpers.chat_server import server, sglang_error, sglang_reply, vllm_error, vllm_reply

pytestmark = pytest.mark.integration

ASKED = [{"role": "user", "content": [{"type": "text", "text": "Now?"}]}]
TOKENS = (("SIL", 0.6, {"Take": 0.3}), ("ENT", 0.5, {}))


@pytest.fixture(autouse=True)
def own_network(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "200", "retry-after": "3"}, 0.2),
        ({"retry-after": "Mon, 01 Jan 2001 00:00:00 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, 0),
        ({}, None),
    ],
)
def test_retry_after_seconds_reads_every_form(headers, seconds):
    assert retry_after_seconds(headers) == seconds


def test_retry_after_seconds_date_is_relative_to_now():
    date = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=60), usegmt=True)
    assert retry_after_seconds({"retry-after": date}) == pytest.approx(60, abs=10)


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_endpoint_busy_server_is_asked_again_after_its_wait(status):
    busy = (status, vllm_error("busy", code=status), {"Retry-After": "0.3"})
    with server(lambda _, number: busy if number <= 2 else "SILENT") as (url, asked):
        begin = time.monotonic()
        reply = Endpoint(url, "m", retries=2).complete_greedily(ASKED, 8)
    assert (reply.text, reply.retries, len(asked)) == ("SILENT", 2, 3)
    assert time.monotonic() - begin >= 0.6


def test_endpoint_wait_of_hours_ends_with_one_line():
    busy = (429, vllm_error("quota"), {"Retry-After": "198300"})
    with server(lambda *_: busy) as (url, asked), pytest.raises(DataError, match=r"no usable answer .*quota"):
        Endpoint(url, "m").complete_greedily(ASKED, 8)
    assert len(asked) == 1


def test_endpoint_server_that_forbids_retries_is_asked_once():
    broken = (500, vllm_error("broken"), {"x-should-retry": "false"})
    with server(lambda *_: broken) as (url, asked), pytest.raises(DataError, match="broken"):
        Endpoint(url, "m").complete_greedily(ASKED, 8)
    assert len(asked) == 1


def test_endpoint_overload_halves_open_requests():
    """After an overload, at most half of the requests are open at the same time."""
    with server(lambda _, number: (503, vllm_error("busy"), {"Retry-After": "0.05"}) if number == 9 else "SILENT") as (
        url,
        asked,
    ):
        endpoint = Endpoint(url, "m", most=8)
        transport = endpoint._transport
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: endpoint.complete_greedily(ASKED, 8), range(30)))
    assert len(asked) == 31
    assert transport.limit.open == 0
    assert 1 <= transport.limit.limit <= 8


@pytest.mark.parametrize("made", [vllm_reply, sglang_reply])
def test_endpoint_probabilities_and_usage_are_read(made):
    with server(lambda *_: (200, made("SILENT", TOKENS, prompt=120, cached=112))) as (url, asked):
        reply = Endpoint(url, "m").complete_greedily(ASKED, 8)
    assert (asked[0][2]["logprobs"], asked[0][2]["top_logprobs"]) == (True, 20)
    assert silence_probability(reply.tokens, "SILENT") == pytest.approx(0.3)
    assert (reply.usage.prompt_tokens, reply.usage.cached_tokens, reply.usage.completion_tokens) == (120, 112, 2)


@pytest.mark.parametrize("error", [vllm_error, sglang_error])
def test_endpoint_server_with_five_tokens_is_asked_for_five(error):
    def answer(body, _):
        if body.get("top_logprobs", 0) > 5:
            return 400, error("Requested sample logprobs of 20, which is greater than max allowed: 5")
        return 200, vllm_reply("SILENT", TOKENS)

    with server(answer) as (url, asked):
        endpoint = Endpoint(url, "m")
        assert endpoint.complete_greedily(ASKED, 8).tokens
        assert endpoint.complete_greedily(ASKED, 8).tokens
    assert [body["top_logprobs"] for _, _, body in asked] == [20, 5, 5]


@pytest.mark.parametrize("status", [400, 422])
def test_endpoint_server_without_logprobs_is_asked_without(status):
    def answer(body, _):
        return (status, vllm_error("unknown field")) if "logprobs" in body else (200, vllm_reply("SILENT"))

    with server(answer) as (url, asked):
        endpoint = Endpoint(url, "m")
        assert endpoint.sends_probabilities
        assert endpoint.complete_greedily(ASKED, 8).tokens == ()
        endpoint.complete_greedily(ASKED, 8)
    assert ["logprobs" in body for _, _, body in asked] == [True, False, False]
    assert not endpoint.sends_probabilities


def test_endpoint_refused_request_without_logprobs_is_told():
    refused = (400, vllm_error("max_tokens is not supported"))
    told = r"max_tokens is not supported.*--request-option"
    with server(lambda *_: refused) as (url, _), pytest.raises(UserError, match=told):
        Endpoint(url, "m").complete_greedily(ASKED, 8)


def test_endpoint_thinking_has_no_probability():
    thinking = (("<think>", 0.9, {}), ("Hm", 0.9, {}))
    with server(lambda *_: (200, vllm_reply("<think>Hm</think>SILENT", thinking))) as (url, _):
        assert Endpoint(url, "m").complete_greedily(ASKED, 8).tokens == ()
    # a parser in the server takes the thinking out of the text, but not out of the log-probabilities
    with server(lambda *_: (200, vllm_reply("SILENT", thinking[1:]))) as (url, _):
        assert Endpoint(url, "m").complete_greedily(ASKED, 8).tokens == ()
