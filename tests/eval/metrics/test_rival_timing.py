"""Timing metrics of other benchmarks, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from prospect_eval.metrics import Scored, all_metrics
from prospect_eval.metrics.rival_timing import rival_timing_estp_counts, rival_timing_weighted_counts
from prospect_eval.scoring.score import score_timing_agreement, score_timing_names
from tests.helpers.predictions import TOOLS, episode, predict, say

#: ego4d's window: 4.0 s late, 8.5 s early; 2 frames per second
UNEVEN = replace(episode(say(50.0, "take the cup now"), frames=200), dataset="ego4d")


def test_estp_perfect_hit_next_to_early_utterance_is_paired():
    record = predict(UNEVEN, [(96, "hello there friend of mine"), (100, "take the cup now")])
    # the hit scores (1 + 4 + 5) / 10, the unrelated utterance is the only false alarm
    assert rival_timing_estp_counts(Scored(record, TOOLS)) == pytest.approx([1.0, 1, 0])


@pytest.mark.parametrize(("frame", "pairs"), [(83, 1), (82, 0), (108, 1), (109, 0)])
def test_sw_f1_window_is_8_5_s_early_4_s_late(frame, pairs):
    assert rival_timing_weighted_counts(Scored(predict(UNEVEN, [(frame, "now")]), TOOLS))[0] == pairs


NAMES = score_timing_names(all_metrics(TOOLS))


def entries(**values):
    """Return a system's table: the named values, and 0.5 for every other timing metric."""
    return {name: {"value": values.get(name.partition("@")[0], 0.5)} for name in NAMES}


def test_timing_agreement_copies_count_once():
    first = entries(sw_f1=0.1, matched_f1=0.2)
    second = entries(sw_f1=0.3, matched_f1=0.1)
    third = entries(sw_f1=0.5, matched_f1=0.6)
    found = score_timing_agreement({"a": first, "b": second, "copy of a": dict(first), "c": third}, NAMES)
    assert found["systems"] == ["a", "b", "c"]
    assert found["copies"] == {"copy of a": "a"}
    # 2 of 3 pairs of systems have the same order
    assert found["kendall_tau_b"]["sw_f1"]["matched_f1"] == pytest.approx(1 / 3)


def test_timing_agreement_undefined_values_can_be_copies():
    silent = entries(sw_f1=None)
    found = score_timing_agreement({"silent": silent, "never_update": dict(silent), "c": entries()}, NAMES)
    assert found["copies"] == {"never_update": "silent"}
    assert not np.isnan(found["kendall_tau_b"]["sw_f1"]["sw_f1"] or 0.0)
