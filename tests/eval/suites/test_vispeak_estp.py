"""ViSpeak-Bench's tests of time and letter by the handed cases, and the timing part of ESTP-F1 by hand."""

from __future__ import annotations

import pytest

from prospect_eval.suites.estp_bench.timing import count_span_hits, round_up_to_grid
from prospect_eval.suites.vispeak_bench.official import is_vispeak_reply_in_time, read_vispeak_letter
from tests.helpers.field_cases import each_field_case


@each_field_case("vispeak_bench", "in_time.json")
def test_is_vispeak_reply_in_time_equals_reference(case):
    reference = case["reference"]
    reference = tuple(reference) if isinstance(reference, list) else reference
    assert is_vispeak_reply_in_time(case["response_time"], reference) == case["in_time"]


@each_field_case("vispeak_bench", "letters.json")
def test_read_vispeak_letter_equals_reference(case):
    assert read_vispeak_letter(case["text"]) == case["letter"]


def test_read_vispeak_letter_kept_prefix_is_b():
    assert read_vispeak_letter("Best answer: C") == "B"
    assert read_vispeak_letter("The best answer is C") == "C"


@pytest.mark.parametrize(("time", "hits"), [(8.9, 0), (9.0, 1), (12.0, 1), (16.0, 1), (16.1, 0)])
def test_count_span_hits_window_by_hand(time, hits):
    found = count_span_hits([time], [(10.0, 14.0)])
    assert (found.hits, found.misses, found.false_alarms) == (hits, 1 - hits, 1 - hits)


def test_count_span_hits_repeated_replies_have_no_cost():
    found = count_span_hits([10, 11, 12, 30], [(10.0, 14.0), (13.0, 20.0)])
    # the first window is hit three times, the second one, from 12 to 22 s, one time
    assert (found.hits, found.misses, found.false_alarms) == (2, 0, 1)
    assert found.f1 == pytest.approx(4 / 5)


def test_count_span_hits_empty_f1_is_undefined():
    assert count_span_hits([], []).f1 is None
    assert count_span_hits([], [(1, 2)]).f1 == 0.0


@pytest.mark.parametrize(("time", "rounded"), [(10.0, 10.0), (10.1, 10.5), (10.5, 10.5), (0.7, 1.0)])
def test_round_up_to_grid_by_hand(time, rounded):
    assert round_up_to_grid(time) == rounded
