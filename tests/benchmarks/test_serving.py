"""The stand-in server of the benchmark of served models: tokens counted by hand."""

from __future__ import annotations

from benchmarks.performance.serving_server import PICTURE_TOKENS, StandIn


def text(words):
    return {"type": "text", "text": words}


PICTURE = {"type": "image_url", "image_url": {"url": "data:1"}}
#: 8 tokens for each turn, 1 for 4 characters
SYSTEM = {"role": "system", "content": [text("12345678")]}
USER = {"role": "user", "content": [PICTURE]}
SILENT = {"role": "assistant", "content": [text("SILENT")]}


def test_stand_in_counts_tokens_and_reuse():
    stand_in = StandIn(0, 0)
    stand_in.read([SYSTEM, USER])
    first = 8 + 2 + 8 + PICTURE_TOKENS
    assert (stand_in.counts["prompt_tokens"], stand_in.counts["cached_tokens"]) == (first, 0)
    stand_in.read([SYSTEM, USER, SILENT])
    assert stand_in.counts["prompt_tokens"] == 2 * first + 8 + 2
    assert stand_in.counts["cached_tokens"] == stand_in.counts["prefix_tokens"] == first


def test_stand_in_prefix_ends_at_first_difference():
    stand_in = StandIn(0, 0)
    stand_in.read([SYSTEM, USER])
    stand_in.read([{"role": "system", "content": [text("other")]}, USER])
    # only the mark of the first turn is equal; equal parts after a difference are computed again
    assert stand_in.counts["cached_tokens"] == 8
    stand_in.read([SYSTEM, USER])
    # in the cache, but not the beginning of the request before
    assert stand_in.counts["cached_tokens"] == 8 + 8 + 2 + 8 + PICTURE_TOKENS
    assert stand_in.counts["prefix_tokens"] == 8 + 8
