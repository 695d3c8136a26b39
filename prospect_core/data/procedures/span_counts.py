"""Counts and lengths of spans in seconds: pairs that overlap, most open at one moment, length of the union."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

#: a span: (start, end) in seconds
Span = tuple[float, float]


def count_overlapping_span_pairs(spans: Sequence[Span]) -> int:
    """Count the pairs of spans that share time, all times first rounded to the millisecond."""
    rounded = [_round_span(span) for span in spans]
    return sum(max(a[0], b[0]) < min(a[1], b[1]) for a, b in combinations(rounded, 2))


def count_most_open_spans(spans: Iterable[Span]) -> int:
    """Return the largest number of spans that are open at one moment.

    Times are first rounded to the millisecond. At one moment, ends are taken before starts.
    """
    rounded = [_round_span(span) for span in spans]
    moments = [(end, -1) for _, end in rounded] + [(start, 1) for start, _ in rounded]
    most = number = 0
    for _, change in sorted(moments):
        number += change
        most = max(most, number)
    return most


def measure_span_union(spans: Iterable[Span]) -> float:
    """Return the seconds that at least one span covers."""
    total, covered = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, covered))
        covered = max(covered, end)
    return total


def measure_span_sum(spans: Iterable[Span]) -> float:
    """Return the sum of the lengths of spans in seconds."""
    return sum(end - start for start, end in spans)


def _round_span(span: Span) -> Span:
    return round(span[0], 3), round(span[1], 3)
