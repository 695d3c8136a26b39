"""Clocks on a real runner with a random model: packed streams, and equality with replay."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from prospect_core.records import ClockSettings, LatencyModel, ReplayProtocol
from prospect_core.stream.batching import StreamBatcher
from prospect_core.stream.replay import replay_episode
from tests.helpers.streams import busy_episode, busy_runner, pictures

pytestmark = pytest.mark.integration

LENGTHS = (16, 8)


def _protocol(**latency: float) -> ReplayProtocol:
    return ReplayProtocol(clock="simulated", timing=ClockSettings(latency=LatencyModel(**latency)))


def _replay(runner, frames, protocol=None):
    episode = replace(busy_episode(frames), id=f"e{frames}")
    knobs = replace(runner.knobs, protocol=protocol)
    return replay_episode(runner, episode, pictures(120)[:frames], knobs, "x")[0]


def test_runner_without_latency_equals_replay(model, tokenizer):
    plain = _replay(busy_runner(model, tokenizer, "none", None), 16)
    record = _replay(busy_runner(model, tokenizer, "none", None), 16, _protocol())
    utterances = tuple(replace(u, spoken=None, words_heard=None) for u in record.utterances)
    assert replace(record, knobs=plain.knobs, utterances=utterances) == plain


def test_runner_packed_clocked_streams_equal_single_streams(model, tokenizer):
    """Each stream has its own virtual clock."""
    protocol = _protocol(frame_ms=700, prompt_token_ms=1, output_token_ms=15)
    single = {}
    for frames in LENGTHS:
        single[f"e{frames}"] = _replay(busy_runner(model, tokenizer, "none", None), frames, protocol)
    batcher = StreamBatcher(model)

    def job(frames):
        return _replay(busy_runner(model, tokenizer, "none", None, reader=batcher), frames, protocol)

    packed = {record.episode.id: record for record in batcher.run((partial(job, n) for n in LENGTHS), 3)}
    assert packed == single
    assert all(record.problems() == [] and record.dropped for record in packed.values())
    assert any(u.decided is not None for record in packed.values() for u in record.utterances)
