"""Every metric has a family, definition, range and failure mode, and tables need no list of names."""

from __future__ import annotations

import math

import pytest

from prospect_core.timeline import Event
from prospect_eval.cli.handbook import make_handbook_metrics_page
from prospect_eval.cli.tables import print_scores_table
from prospect_eval.metrics import all_metrics
from prospect_eval.models.baselines.trivial import BASELINES, make_trivial_baseline
from prospect_eval.runs.metric_tables import (
    best_metric_table_baseline,
    group_metric_table_families,
    metric_table_headlines,
    metric_table_leading_names,
)
from prospect_eval.scoring.score import score_records, score_timing_agreement
from tests.helpers.predictions import TOOLS, episode, predict, say, score, step

METRICS = all_metrics(TOOLS)


@pytest.fixture(scope="module")
def table():
    """Scores of a flawed model over two videos with steps, questions and both kinds of turns."""
    events = (
        say(2.0, "put the cup away"),
        step(3.0, "S1", "start"),
        Event("u", 5.0, "user", "How many?", question="remainder", accepted=("two",)),
        say(6.0, "two left"),
        step(8.0, "S1", "complete"),
        say(15.0, "stop now"),
    )
    records = [
        predict(
            episode(*events, id_=f"e{k}", video=f"v{k}"), [(4, "put the cup away"), (30 + k, "x")], [(7, "S1", "start")]
        )
        for k in range(2)
    ]
    return score_records(records, TOOLS)


def test_metrics_have_family_definition_failure_mode():
    lacking = [m.name for m in METRICS if not (m.definition and m.failure_mode) or m.family.name == "other"]
    assert lacking == []


def test_metrics_values_are_within_range(table):
    for metric in METRICS:
        for name, scores in ({"run": table["metrics"]} | table["baselines"]).items():
            value = scores[metric.name]["value"]
            low, high = metric.range
            assert value is None or low <= value <= high, (name, metric.name, value)
    assert all(not math.isnan(bound) for metric in METRICS for bound in metric.range)


def test_metrics_json_describes_metrics_and_families(table):
    entry = table["metrics"]["matched_f1"]
    assert (entry["family"], entry["headline"], entry["companion"]) == ("matched", True, "content_accuracy")
    assert "cosine above 0.5" in entry["definition"]
    assert "every object swapped" in entry["failure_mode"]
    assert table["families"]["matched"] == "Matched dialogue"
    assert "definition" not in table["baselines"]["silent"]["matched_f1"]


def test_metric_table_headlines_order_after_requested():
    plain = {"family": "a", "headline": True, "value": 0.5}
    stored = {"x": plain, "y": {"family": "a", "headline": False}, "z": {**plain, "family": "b"}}
    assert metric_table_headlines(stored) == ["x", "z"]
    assert metric_table_headlines(stored, ["y", "gone"]) == ["y", "x", "z"]
    assert metric_table_leading_names(stored | {"w": plain}) == ["x", "z"]
    assert group_metric_table_families(stored, {"a": "Alpha"}) == [("Alpha", ["x", "y"]), ("Other", ["z"])]


def test_metric_table_headlines_undefined_ones_yield_to_requested():
    stored = {"x": {"value": None}, "y": {"value": 0.5}, "z": {"value": None}}
    assert metric_table_headlines(stored) == ["x", "y", "z"]
    assert metric_table_headlines(stored, ["z"]) == ["z", "y"]


def test_metric_table_headlines_companion_follows_metric():
    stored = {
        "content": {"headline": True, "value": 0.5},
        "matched": {"headline": True, "value": 0.5, "companion": "content"},
        "last": {"headline": True, "value": 0.5},
    }
    assert metric_table_headlines(stored) == ["matched", "content", "last"]
    assert metric_table_headlines(stored, ["content", "last", "matched"]) == ["last", "matched", "content"]
    assert metric_table_headlines(stored, ["matched", "last"]) == ["matched", "content", "last"]
    assert metric_table_leading_names(stored) == ["matched", "content", "last"]


def test_metric_table_headlines_content_accuracy_follows_matched_f1(table):
    names = metric_table_headlines(table["metrics"])
    assert names[names.index("matched_f1") + 1] == "content_accuracy"


def test_metric_table_headlines_old_table_shows_all():
    assert metric_table_headlines({"a": {"value": 1.0}, "b": {"value": None}}) == ["a", "b"]


def test_handbook_metrics_page_has_metrics_by_family():
    page = make_handbook_metrics_page()
    for metric in METRICS:
        assert page.count(f"`{metric.name}`") >= 1
    assert "**`matched_f1`**" in page
    assert (
        page.index("## Matched dialogue")
        < page.index("ProAssist's matched dialogue scores.")
        < page.index("`matched_f1`")
    )


def test_responsive_event_f1_always_talk_is_low():
    """Each of the 10 frames within 5 s of the user turn (2 fps) except the paired one is a false
    answer.
    """
    reference = episode(Event("u", 4.0, "user", "What now?"), say(4.5))
    talks = make_trivial_baseline("always_talk", [])(reference)
    assert score(talks, name="responsive_event_f1@1s") == pytest.approx(2 * 1 / (10 + 1))
    assert score(make_trivial_baseline("oracle", [])(reference), name="responsive_event_f1@1s") == 1.0


def test_responsive_event_f1_proactive_turn_is_no_false_answer():
    reference = episode(Event("u", 4.0, "user", "What now?"), say(4.5), say(7.0))
    assert score(make_trivial_baseline("oracle", [])(reference), name="responsive_event_f1@1s") == 1.0
    # the answer is missing, and the proactive turn is paired with its own reference
    assert score(predict(reference, [(14, "x")]), name="responsive_event_f1@1s") == 0.0


def test_timing_agreement_equal_systems_count_once():
    def scores(value):
        return {"a": {"value": value}, "b": {"value": value}}

    found = score_timing_agreement({"x": scores(0.1), "y": scores(0.1), "z": scores(0.4), "w": scores(0.6)}, ["a", "b"])
    assert found["systems"] == ["x", "z", "w"]
    assert found["kendall_tau_b"]["a"]["b"] == pytest.approx(1.0)


def test_score_records_has_every_baseline(table):
    assert set(table["baselines"]) == set(BASELINES)


def test_best_metric_table_baseline_ignores_baselines_with_reference():
    metrics = {
        "metrics": {"up": {"better": "higher"}, "down": {"better": "lower"}, "none": {"better": ""}},
        "baselines": {
            "oracle": {"up": {"value": 1.0}, "down": {"value": 0.0}},
            "silent": {"up": {"value": None}, "down": {"value": 0.25}},
            "periodic": {"up": {"value": 0.5}, "down": {"value": 0.75}},
            "reference_times": {"up": {"value": 0.9}, "down": {"value": 0.0}},
        },
        "baseline_info": {"reference_times": {"sees": "time"}},
    }
    assert best_metric_table_baseline(metrics, "up") == ("periodic", 0.5)
    assert best_metric_table_baseline(metrics, "down") == ("silent", 0.25)
    assert best_metric_table_baseline(metrics, "none") is None


def test_print_scores_table_fits_100_columns(table, capsys):
    print_scores_table("my_model:x:", table)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert "my_model:x:: 2 episodes, 0 failed" in lines[0]
    row = next(line for line in lines if "speaking_event_f1@2s" in line)
    best = best_metric_table_baseline(table, "speaking_event_f1@2s")
    assert f"{best[0]} {best[1]:.3f}" in row
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert (cells[0], cells[-1]) == ("speaking_event_f1@2s", "1.000")
