"""Metric families: the groups of the report and the handbook, each with a version that is part of every signature.

Raise a family's version whenever any of its numbers can change for the same records. Runs scored with another version
are refused by `compare`, `gate`, `front` and `leaderboard`, which then ask for `prospect-eval score RUN`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """A group of metrics. ``version`` counts changes of their definitions or of their implementation."""

    name: str
    title: str
    version: int = 1


SPEAKING = Family("speaking", "Speaking", 2)
CALIBRATION = Family("calibration", "Calibration of probabilities", 1)
DELIVERY = Family("delivery", "Latency-aware speaking", 1)
UTILITY = Family("utility", "Benefit against annoyance", 1)
FIELD_TIMING = Family("field_timing", "Timing metrics of other benchmarks", 2)
MATCHED = Family("matched", "Matched dialogue", 2)
TEXT = Family("text", "Text of matched pairs", 2)
CONTENT = Family("content", "Answers and content", 2)
STATE = Family("state", "Dialog state by frame", 2)
TRANSITIONS = Family("transitions", "Transitions, segments, order", 2)
RETENTION = Family("retention", "Retention", 2)
CONTEXT = Family("context", "Context", 2)
PASSES = Family("passes", "Diagnostic passes", 2)
JUDGE = Family("judge", "LLM judge", 2)
#: metrics of installed packages that name no family of their own
OTHER = Family("other", "Other", 1)
