"""Metric families: groups of the report and the handbook, each with a version in every signature.

Increase a family's version if any of its values can change for the same records. `compare`, `gate`,
`pareto` and `leaderboard` refuse runs that were scored with another version and ask for
`prospect-eval score RUN`.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """A group of metrics.

    Attributes:
        name: Key in ``metrics.json`` and in signatures.
        title: Heading in reports and in the handbook.
        version: Number of changes of the metrics' definitions or implementation.
        module: Module that computes the metrics. Its docstring describes the family. Empty for no
            description.
    """

    name: str
    title: str
    version: int = 1
    module: str = ""

    @property
    def description(self) -> str:
        """Docstring of the family's module without code blocks; empty without a module."""
        text = (importlib.import_module(self.module).__doc__ if self.module else "") or ""
        parts = text.strip().split("\n\n")
        return "\n\n".join(part for part in parts if not part.startswith("    "))


SPEAKING = Family("speaking", "Speaking", 3, "prospect_eval.metrics.speaking")
CALIBRATION = Family("calibration", "Calibration of probabilities", 1, "prospect_eval.metrics.calibration")
DELIVERY = Family("delivery", "Latency-aware speaking", 1, "prospect_eval.metrics.delivery")
UTILITY = Family("utility", "Benefit against annoyance", 1, "prospect_eval.metrics.utility")
FIELD_TIMING = Family("field_timing", "Timing metrics of other benchmarks", 2, "prospect_eval.metrics.rival_timing")
MATCHED = Family("matched", "Matched dialogue", 2, "prospect_eval.metrics.dialogue")
TEXT = Family("text", "Text of matched pairs", 3, "prospect_eval.metrics.text")
CONTENT = Family("content", "Answers and content", 2, "prospect_eval.metrics.answers")
STATE = Family("state", "Dialog state by frame", 2, "prospect_eval.metrics.states")
TRANSITIONS = Family("transitions", "Transitions, segments, order", 2, "prospect_eval.metrics.transitions")
RETENTION = Family("retention", "Retention", 2, "prospect_eval.metrics.retention")
CONTEXT = Family("context", "Context", 2, "prospect_eval.metrics.context")
POLLS = Family("polls", "Polls and reply spans", 1, "prospect_eval.metrics.polls")
PROCEDURES = Family("procedures", "Procedures: occurrences, order, mistakes", 1, "prospect_eval.metrics.procedures")
PASSES = Family("passes", "Diagnostic passes", 2)
JUDGE = Family("judge", "LLM judge", 2)
#: metrics of installed packages without a family
OTHER = Family("other", "Other", 1)
