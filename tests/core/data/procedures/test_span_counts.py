"""Counts of spans against values counted by hand."""

from __future__ import annotations

import pytest

from prospect_core.data.procedures.span_counts import (
    count_most_open_spans,
    count_overlapping_span_pairs,
    measure_span_sum,
    measure_span_union,
)

SPANS = [(0, 10), (5.0, 12.0), (9.5, 9.75), (12.0, 20.0), (30.0, 31.0)]


def test_span_counts_small_list_equals_hand_counts():
    assert count_overlapping_span_pairs(SPANS) == 3
    assert count_most_open_spans(SPANS) == 3
    assert measure_span_sum(SPANS) == pytest.approx(26.25)
    assert measure_span_union(SPANS) == pytest.approx(21.0)


def test_span_counts_end_at_next_start_is_no_overlap():
    # 3.00004 and 3.0001 are both 3.000 after rounding to the millisecond
    spans = [(1.0, 3.0001), (3.00004, 4.0)]
    assert count_overlapping_span_pairs(spans) == 0
    assert count_most_open_spans(spans) == 1


def test_span_counts_empty_list_gives_zeros():
    assert count_overlapping_span_pairs([]) == count_most_open_spans([]) == measure_span_union([]) == 0
