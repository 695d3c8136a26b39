"""The verdict on a run: the gate's, or paired differences from the trivial baselines."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from prospect_core.timeline import Task
from prospect_eval.gate.verdict import (
    decide_run_verdict,
    decide_verdict_against_baselines,
    is_above_baseline_for_verdict,
)
from prospect_eval.metrics import all_metrics
from prospect_eval.metrics.base import Metric, f1
from prospect_eval.models.baselines.trivial import make_trivial_baseline
from prospect_eval.scoring.score import score_records, write_score_metrics
from tests.helpers.predictions import TOOLS, episode, say, step

METRICS = all_metrics(TOOLS)
SHARE = Metric("share", lambda scored: "unused", f1, headline=True)
COST = replace(SHARE, name="cost", better="lower")


def counts(rows):
    return {f"v{k}": list(map(float, row)) for k, row in enumerate(rows)}


def stored(run, rivals, videos=12, failed=0, metric=SHARE):
    """Contents of metrics.json of one metric, with counts."""
    entry = {"value": 0.5, "n_videos": videos}
    tables = {name: {metric.name: {"value": 0.25}} for name in rivals}
    return {
        "episodes": {"scored": videos, "failed": failed},
        "metrics": {metric.name: entry},
        "baselines": tables,
        "counts": {metric.name: run},
        "clusters": {episode: episode for side in (run, *rivals.values()) for episode in side},
        "baseline_counts": {name: {metric.name: rows} for name, rows in rivals.items()},
    }


def above(metric, run, rival):
    return is_above_baseline_for_verdict(metric, run, rival, {episode: episode for episode in (*run, *rival)})


GOOD = counts([(9, 10, 10 + k % 3) for k in range(12)])
POOR = counts([(2 + k % 2, 10, 10) for k in range(12)])


def test_run_verdict_better_everywhere_is_above_all(tmp_path):
    found = decide_run_verdict(tmp_path, stored(GOOD, {"silent": POOR, "periodic": POOR}), [SHARE])
    assert (found.word, found.kind, found.by) == ("Above all baselines", "good", "report")
    assert found.reasons[0].startswith("Better than every trivial baseline in share")


def test_run_verdict_not_above_names_baseline(tmp_path):
    found = decide_run_verdict(tmp_path, stored(POOR, {"silent": POOR, "periodic": GOOD}), [SHARE])
    assert (found.word, found.kind) == ("Not above all baselines", "off")
    assert found.reasons == ("share: not shown to be better than silent (0.250) and 1 other baseline.",)


def test_run_verdict_lower_cost_is_better(tmp_path):
    assert above(COST, POOR, GOOD) is True
    assert above(COST, GOOD, POOR) is False


def test_run_verdict_few_videos_or_failures_take_precedence(tmp_path):
    few = decide_run_verdict(tmp_path, stored(GOOD, {"silent": POOR}, videos=2), [SHARE])
    assert (few.word, few.reasons[0]) == (
        "Only 2 videos: too few to conclude anything",
        "At least 10 videos are needed.",
    )
    broken = decide_run_verdict(tmp_path, stored(GOOD, {"silent": POOR}, failed=1), [SHARE])
    assert (broken.word, broken.kind, broken.reasons[0]) == ("Incomplete", "bad", "1 of 13 episodes failed.")
    nothing = stored(GOOD, {}) | {"episodes": {"scored": 0, "failed": 2}}
    assert decide_run_verdict(tmp_path, nothing, [SHARE]).word == "Nothing scored"


def test_run_verdict_gate_takes_precedence(tmp_path):
    checks = [
        {"name": "dst_jga", "verdict": "FAIL", "baseline": 0.5, "now": 0.25, "margin": 0.03, "reason": "lost"},
        {"name": "bleu", "verdict": "PASS", "reason": ""},
    ]
    (tmp_path / "gate.json").write_text(json.dumps({"verdict": "FAIL", "checks": checks}))
    found = decide_run_verdict(tmp_path, stored(GOOD, {"silent": POOR}), [SHARE])
    assert (found.word, found.kind, found.by, found.reasons) == (
        "FAIL",
        "bad",
        "gate",
        ("dst_jga FAIL: 0.25, in the baseline 0.5 (allowed loss: 0.03); lost",),
    )


def test_run_verdict_undefined_metric_is_left_out(tmp_path):
    metrics = stored(GOOD, {"silent": POOR})
    metrics["metrics"]["cost"] = {"value": None, "n_videos": 0}
    found = decide_run_verdict(tmp_path, metrics, [SHARE, COST])
    assert found.word == "Above all baselines"
    assert "cost" not in found.reasons[0]


def test_run_verdict_ignores_baselines_with_reference(tmp_path):
    metrics = stored(POOR, {"oracle": GOOD, "prior_text_at_reference_times": GOOD, "silent": counts([(0, 0, 10)] * 12)})
    metrics["baseline_info"] = {"prior_text_at_reference_times": {"sees": "time"}, "silent": {"sees": "nothing"}}
    assert decide_run_verdict(tmp_path, metrics, [SHARE]).word == "Above all baselines"


def test_run_verdict_ignores_pairs_only_metrics():
    """One pair that a baseline matches by chance makes its pairs perfect."""
    pairs = replace(SHARE, turns="pairs")
    assert decide_verdict_against_baselines(None, stored(POOR, {"silent": GOOD}), [pairs]) == ([], [])


def test_is_above_baseline_missing_counts_are_left_out():
    run = {**GOOD, "extra": [0.0, 100.0, 100.0]}
    assert above(SHARE, run, POOR) is True
    assert above(SHARE, {"a": [1.0, 1.0, 1.0]}, {"b": [1.0, 1.0, 1.0]}) is None


def test_is_above_baseline_constant_difference_is_significant():
    assert above(SHARE, counts([(5, 5, 5)] * 12), counts([(0, 0, 5)] * 12)) is True
    assert above(SHARE, counts([(5, 5, 5)] * 12), counts([(5, 5, 5)] * 12)) is False


def test_is_above_baseline_equal_systems_false_positive_rate():
    """400 draws of two equal systems over 20 videos: 2.5 % expected, 99.9 % of such counts are at
    most 5.3 %.
    """
    rng = np.random.default_rng(5)
    calls = 0
    for _ in range(400):
        difficulty = rng.beta(4, 4, 20)
        sides = []
        for _side in range(2):
            hits = rng.binomial(12, difficulty)
            sides.append(counts(zip(hits, rng.integers(12, 16, 20), [14] * 20, strict=True)))
        calls += bool(above(SHARE, *sides))
    assert 1 <= calls <= 21


def test_run_verdict_oracle_without_steps_is_above_all(tmp_path):
    """Dialogues of different length whose tasks have neither steps nor questions."""
    rng = np.random.default_rng(1)
    references = []
    for k in range(12):
        times = sorted({float(t) for t in rng.integers(2, 95, 6 + k % 4)})
        turns = [say(t, f"word{rng.integers(40)} word{rng.integers(40)} {k}") for t in times]
        references.append(episode(*turns, frames=200, steps=Task("watch"), video=f"v{k}", id_=f"e{k:02d}"))
    metrics = score_records([make_trivial_baseline("oracle", references)(e) for e in references], TOOLS)
    found = decide_run_verdict(tmp_path, metrics, METRICS)
    assert (found.word, found.reasons[0].partition("(")[0]) == (
        "Above all baselines",
        "Better than every trivial baseline in speaking_event_f1@2s, proactive_event_f1@1s, matched_f1 ",
    )
    # the same result from the files of a run folder
    write_score_metrics(tmp_path, metrics)
    read = json.loads((tmp_path / "metrics.json").read_text())
    assert decide_run_verdict(tmp_path, read, METRICS) == found


def test_run_verdict_silent_model_is_not_above(tmp_path):
    references = [
        episode(say(4.0), step(6.0, "S1", "start"), say(12.0), video=f"v{k}", id_=f"e{k:02d}") for k in range(12)
    ]
    metrics = score_records([make_trivial_baseline("silent", references)(e) for e in references], TOOLS)
    assert decide_run_verdict(tmp_path, metrics, METRICS).word == "Not above all baselines"
