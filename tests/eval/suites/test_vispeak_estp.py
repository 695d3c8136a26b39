"""ViSpeak-Bench's tests of time and letter by the handed cases, and the timing part of ESTP-F1 by hand."""

from __future__ import annotations

import pytest

from prospect_eval.suites.estp_bench.timing import count_span_hits, round_up_to_grid
from prospect_eval.suites.vispeak_bench.official import is_vispeak_reply_in_time, read_vispeak_letter
from tests.helpers.field_cases import each_field_case


@each_field_case("vispeak_bench", "in_time.json")
def test_vispeak_time_of_a_handed_case_is_the_official_one(case):
    reference = case["reference"]
    reference = tuple(reference) if isinstance(reference, list) else reference
    assert is_vispeak_reply_in_time(case["response_time"], reference) == case["in_time"]


@each_field_case("vispeak_bench", "letters.json")
def test_vispeak_letter_of_a_handed_text_is_the_official_one(case):
    assert read_vispeak_letter(case["text"]) == case["letter"]


def test_vispeak_prefix_that_is_not_removed_reads_as_b():
    assert read_vispeak_letter("Best answer: C") == "B"
    assert read_vispeak_letter("The best answer is C") == "C"


@pytest.mark.parametrize(("time", "hits"), [(8.9, 0), (9.0, 1), (12.0, 1), (16.0, 1), (16.1, 0)])
def test_estp_window_reaches_from_1_s_before_to_2_s_after_the_span(time, hits):
    found = count_span_hits([time], [(10.0, 14.0)])
    assert (found.hits, found.misses, found.false_alarms) == (hits, 1 - hits, 1 - hits)


def test_estp_repeated_replies_in_a_window_cost_nothing():
    found = count_span_hits([10, 11, 12, 30], [(10.0, 14.0), (13.0, 20.0)])
    # the first window is hit three times, the second one, from 12 to 22 s, one time
    assert (found.hits, found.misses, found.false_alarms) == (2, 0, 1)
    assert found.f1 == pytest.approx(4 / 5)


def test_estp_f1_is_undefined_without_spans_and_replies():
    assert count_span_hits([], []).f1 is None
    assert count_span_hits([], [(1, 2)]).f1 == 0.0


@pytest.mark.parametrize(("time", "rounded"), [(10.0, 10.0), (10.1, 10.5), (10.5, 10.5), (0.7, 1.0)])
def test_estp_times_are_rounded_up_to_the_grid(time, rounded):
    assert round_up_to_grid(time) == rounded
