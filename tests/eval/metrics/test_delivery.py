"""Latency-aware scores by hand, and with the compute time of a plain pass."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prospect_core.records import EpisodeLatency
from prospect_core.util.errors import UserError
from prospect_core.util.json_io import read_json
from prospect_eval.diagnostics.latency import store_delivery_by_measured_latency, store_latency_diagnostics
from prospect_eval.matching.settings import ScoreSettings
from prospect_eval.metrics import Scored, delivery
from prospect_eval.metrics.delivery import compute_delivery_delays, delivery_times
from prospect_eval.scoring.score import score_records
from tests.helpers.predictions import TOOLS, episode, predict, say

SECONDS = st.floats(0, 3, allow_nan=False)


def scores(record, resources=TOOLS):
    """Return the values of the family for one record."""
    scored = Scored(record, resources)
    table = {
        metric.name: metric.compute([scored], intervals=False)
        for metric in delivery.delivery_metrics(resources.settings)
    }
    return {name: entry["value"] for name, entry in table.items()}


def test_delivery_times_ten_words_take_four_seconds():
    assert delivery_times([5.0], ["one two three four five six seven eight nine ten"], 150) == [(5.0, 9.0)]


def test_delivery_times_overlapping_speech_waits():
    # 2, 1 and 1 seconds of speech; the second utterance is ready during the first, the third is not
    assert delivery_times([0.0, 1.0, 10.0], ["a b", "c", "d"], 60) == [(0.0, 2.0), (2.0, 3.0), (10.0, 11.0)]


def test_delivery_delays_slow_step_delays_next_frames():
    # frames arrive at 0, .5, 1, 1.5 s; the first step takes 1.2 s and delays the next two
    assert compute_delivery_delays([1.2, 0.1, 0.1, 0.1], 2) == pytest.approx([1.2, 0.8, 0.4, 0.1])


@given(st.lists(SECONDS, max_size=20), st.sampled_from([1.0, 2.0, 10.0]))
@settings(max_examples=100, deadline=None)
def test_delivery_delays_are_at_least_the_step(steps, fps):
    delays = compute_delivery_delays(steps, fps)
    assert all(delay >= step - 1e-9 for delay, step in zip(delays, steps, strict=True))
    if all(step <= 1 / fps for step in steps):
        assert delays == pytest.approx(steps, abs=1e-9)


@given(st.lists(st.tuples(SECONDS, st.integers(0, 8)), max_size=12))
@settings(max_examples=100, deadline=None)
def test_delivery_times_never_overlap(rows):
    moments = sorted(moment for moment, _ in rows)
    texts = ["word " * count for _, count in rows]
    spoken = delivery_times(moments, texts, 120)
    for (begin, end), moment, (_, count) in zip(spoken, moments, rows, strict=True):
        assert begin >= moment
        assert end - begin == pytest.approx(count / 2)
    assert all(left[1] <= right[0] for left, right in itertools.pairwise(spoken))


def test_delivery_metrics_by_hand():
    # 5 words take 2 s: the reference ends at 7 and 17 s
    reference = episode(say(5.0, "now put the cup away"), say(15.0, "now put the cup away"))
    # on time with 10 words: ends at 9 s, 2 s late; decided at 14 s with 5 words: ends at 16 s, 1 s early
    record = predict(reference, [(10, "now put the red cup away into the big box"), (28, "take the cup from here")])
    got = scores(record)
    assert got["delivered_event_f1@1s"] == pytest.approx(0.5)
    assert got["delivered_event_f1@2s"] == 1.0
    assert got["delivered_delay_median_s"] == pytest.approx(0.5, abs=1 / 60)
    assert got["delivered_overlap_share"] == 0.0


def test_delivery_metrics_reference_repeated_is_perfect():
    reference = episode(say(5.0, "one two three four five six"), say(6.0, "seven eight nine"))
    record = predict(reference, [(turn.frame, turn.text) for turn in reference.utterances()])
    got = scores(record)
    assert got["delivered_event_f1@1s"] == 1.0
    assert got["delivered_delay_median_s"] == 0.0
    assert got["delivered_overlap_share"] == 0.5


def test_delivery_metrics_slower_voice_is_later():
    reference = episode(say(5.0, "stop"))
    record = predict(reference, [(10, "please do stop now")])
    slow = replace(TOOLS, settings=ScoreSettings(words_per_minute=60))
    assert scores(record)["delivered_event_f1@2s"] == 1.0
    assert scores(record, slow)["delivered_event_f1@2s"] == 0.0


def test_delivery_signatures_have_rate_and_compute():
    slow = ScoreSettings(words_per_minute=120)
    plain = {metric.name: metric.signature_text for metric in delivery.delivery_metrics(slow)}
    measured = {metric.name: metric.signature_text for metric in delivery.delivery_metrics(slow, measured=True)}
    assert "wpm:120|compute:0" in plain["delivered_event_f1@2s"]
    assert "wpm:120|compute:plain pass" in measured["delivered_event_f1@2s_with_compute"]


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_score_settings_speech_rate_must_be_positive(rate):
    with pytest.raises(UserError, match="words a minute"):
        ScoreSettings(words_per_minute=rate)


def test_delivery_with_compute_is_in_timings_only(tmp_path):
    reference = episode(say(5.0, "stop"), frames=40)
    other = episode(say(5.0, "stop"), frames=40, id_="unmeasured", video="w")
    records = [predict(each, [(10, "stop")]) for each in (reference, other)]
    # the step of frame 10 takes 3 s
    steps = tuple(3.0 if frame == 10 else 0.01 for frame in range(40))
    store_latency_diagnostics(tmp_path, [("v", EpisodeLatency("e", steps, (3.0,), 0.1, 20.0, 1, 1, 1, None))])
    store_delivery_by_measured_latency(tmp_path, records, TOOLS)
    got = read_json(tmp_path / "timings.json")["metrics"]
    assert got["delivered_event_f1@2s_with_compute"]["value"] == 0.0
    assert got["delivered_event_f1@5s_with_compute"]["value"] == 1.0
    assert got["delivered_delay_median_s_with_compute"]["value"] == pytest.approx(3.0, abs=1 / 60)
    assert got["delivered_event_f1@5s_with_compute"]["n_undefined"] == 1
    assert "real_time_factor" in got
    plain = score_records(records, TOOLS)["metrics"]
    assert plain["delivered_event_f1@2s"]["value"] == 1.0
    assert not any(name.endswith("_with_compute") for name in plain)


def test_delivery_with_compute_other_frames_are_ignored(tmp_path):
    record = predict(episode(say(5.0, "stop")), [(10, "stop")])
    store_latency_diagnostics(tmp_path, [("v", EpisodeLatency("e", (0.1,) * 7, (), 0.1, 3.5, 1, 1, 1, None))])
    store_delivery_by_measured_latency(tmp_path, [record], TOOLS)
    entry = read_json(tmp_path / "timings.json")["metrics"]["delivered_event_f1@2s_with_compute"]
    assert entry["value"] is None
    assert "run --latency" in entry["reason"]


def test_delivery_with_compute_no_timings_writes_nothing(tmp_path):
    store_delivery_by_measured_latency(tmp_path, [predict(episode(say(5.0)))], TOOLS)
    assert json.dumps([path.name for path in tmp_path.iterdir()]) == "[]"
