"""Every metric states its definition and its failure mode."""

from __future__ import annotations

import pytest

from prospect_eval.metrics import all_metrics
from prospect_eval.metrics.families import CONTENT, CONTEXT, FIELD_TIMING, TEXT
from tests.helpers.predictions import TOOLS

METRICS = [metric for metric in all_metrics(TOOLS) if metric.family in (TEXT, CONTENT, FIELD_TIMING, CONTEXT)]
HEADLINE = {"content_accuracy", "answer_accuracy@past", "bleu", "meteor", "similarity", "cache_peak_tokens"}


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_metrics_have_definition_and_failure_mode(metric):
    for text in (metric.definition, metric.failure_mode):
        assert text.endswith(".")
        assert "\n" not in text


def test_metrics_headlines_of_text_content_context():
    families = (TEXT, CONTENT, FIELD_TIMING, CONTEXT)
    found = [metric for metric in all_metrics(TOOLS) if metric.family in families]
    assert {metric.name for metric in found if metric.headline} == HEADLINE
