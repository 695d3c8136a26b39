"""Detection of mistakes by hand, with properties over random procedures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from prospect_core.records import PredictedMistake
from prospect_core.timeline import Mistake
from prospect_eval.metrics.base import Scored
from prospect_eval.metrics.mistake_scores import METRICS, merge_reference_mistakes, normalize_mistake_tag
from prospect_eval.models.baselines.trivial import BASELINES, make_trivial_baseline
from tests.helpers.predictions import TOOLS, predict
from tests.helpers.procedures import TAGS, procedure, procedure_values, procedures

MISTAKES = (
    Mistake("m1", "Technique Error", "S1", (5.0, 10.0)),
    Mistake("m2", "Order Error", "S1", (5.0, 10.0)),
    Mistake("m3", "Order Error", "S2", (8.0, 20.0)),
    Mistake("m4", "Missing Step", "S3"),
)


def report(*mistakes, reference=MISTAKES, **more):
    """Return the values for predicted mistakes (frame, step, tag) of an episode at one frame per second."""
    predicted = tuple(PredictedMistake(*item) for item in mistakes)
    return procedure_values(predict(procedure(mistakes=reference), mistakes=predicted, **more))


@pytest.mark.parametrize(
    ("tag", "name"), [("Order Error", "order_error"), (" Missing  Step", "missing_step"), ("other", "other")]
)
def test_normalize_mistake_tag_by_hand(tag, name):
    assert normalize_mistake_tag(tag) == name


def test_merge_reference_mistakes_by_step_and_start():
    merged = merge_reference_mistakes(procedure(mistakes=MISTAKES))
    assert [(span.step, span.frames, span.tags) for span in merged] == [
        ("S1", range(5, 11), {"technique_error", "order_error"}),
        ("S2", range(8, 21), {"order_error"}),
    ]


@pytest.mark.parametrize("ends", [(8.0, 20.0), (20.0, 8.0)])
def test_merge_reference_mistakes_keeps_longest_span(ends):
    mistakes = [Mistake(f"m{end}", "Other", "S1", (5.0, end)) for end in ends]
    (span,) = merge_reference_mistakes(procedure(mistakes=mistakes))
    assert span.frames == range(5, 21)


def test_merge_reference_mistakes_substep_counts_as_no_step():
    (span,) = merge_reference_mistakes(procedure(mistakes=[Mistake("m", "Other", "B1", (1.0, 2.0))]))
    assert span.step == ""


def test_mistake_scores_by_hand():
    # in S1; in both spans, but of another step; in S2; outside
    values = report((6, "S1", "Order Error"), (9, "S4", "Other"), (15, "", "Timing Error"), (30, "", ""))
    assert values["mistake_precision"] == pytest.approx(2 / 4)
    assert values["mistake_recall"] == 1.0
    assert values["mistake_f1"] == pytest.approx(2 * 2 / (4 + 2))
    # (S1, technique), (S1, order), (S2, order); only (6, S1, order) has the right tag
    assert values["mistake_tag_f1"] == pytest.approx(2 * 1 / (4 + 3))
    # 1 s and 7 s
    assert values["mistake_delay_median_s"] == pytest.approx(4.0)
    assert values["mistake_average_precision"] is None


def test_mistake_recall_by_tag_ignores_predicted_tag():
    values = report((6, "S1", "Other"))
    assert values["mistake_recall@technique_error"] == 1.0
    assert values["mistake_recall@order_error"] == 0.5
    assert values["mistake_recall@missing_step"] is None
    assert values["mistake_recall@other"] is None


@pytest.mark.parametrize(("frame", "hits"), [(4, 0), (5, 1), (10, 1), (11, 0)])
def test_mistake_recall_ends_of_span_are_included(frame, hits):
    assert report((frame, "", ""), reference=MISTAKES[:1])["mistake_recall"] == hits


def test_mistake_scores_second_alarm_is_false():
    values = report((6, "S1", ""), (7, "S1", ""), reference=MISTAKES[:1])
    assert (values["mistake_precision"], values["mistake_delay_median_s"]) == (0.5, 1.0)


def test_mistake_scores_pairs_as_many_as_possible():
    """The first alarm fits both mistakes, the second one only the first mistake."""
    reference = [Mistake("m1", "Other", "", (1.0, 9.0)), Mistake("m2", "Other", "", (4.0, 5.0))]
    assert report((5, "", ""), (8, "", ""), reference=reference)["mistake_f1"] == 1.0


def test_mistake_scores_alarms_with_several_tags_are_one():
    values = report((6, "S1", "Order Error"), (6, "S1", "Technique Error"), reference=MISTAKES[:2])
    assert (values["mistake_f1"], values["mistake_tag_f1"]) == (1.0, 1.0)


def test_mistake_scores_model_without_mistakes():
    values = report()
    assert (values["mistake_recall"], values["mistake_f1"], values["mistake_precision"]) == (0.0, 0.0, None)


def test_mistake_scores_false_alarm_without_reference_counts():
    clean = predict(procedure(), mistakes=(PredictedMistake(3),))
    found = predict(procedure(mistakes=MISTAKES[:1]), mistakes=(PredictedMistake(6),))
    other = replace(found, episode=replace(found.episode, id="f", video="w"))
    assert procedure_values(clean, other)["mistake_precision"] == 0.5
    assert procedure_values(clean)["mistake_f1"] == 0.0


def test_mistake_scores_without_mistakes_are_undefined():
    values = procedure_values(predict(procedure()))
    assert {name for name, value in values.items() if name.startswith("mistake") and value is not None} == set()


def test_mistake_scores_mistake_without_time_is_left_out():
    assert report((39, "S3", "Missing Step"), reference=MISTAKES[3:])["mistake_recall"] is None
    assert report((39, "S3", "Missing Step"), reference=MISTAKES[3:])["mistake_precision"] == 0.0


def test_mistake_delay_median_long_delay_is_limited():
    episode = procedure(mistakes=[Mistake("m", "Other", "", (0.0, 900.0))], frames=1000)
    record = predict(episode, mistakes=(PredictedMistake(800),))
    assert procedure_values(record)["mistake_delay_median_s"] == 600.0


def test_mistake_average_precision_equals_scikit_learn():
    probabilities = np.random.default_rng(0).random(40).round(2)
    labels = [5 <= frame <= 20 for frame in range(40)]
    record = predict(procedure(mistakes=MISTAKES), mistake_prob=tuple(probabilities.tolist()))
    expected = average_precision_score(labels, probabilities)
    assert procedure_values(record)["mistake_average_precision"] == pytest.approx(expected, abs=1e-12)


def test_mistake_average_precision_clip_counts_its_own_frames():
    clip = procedure(mistakes=MISTAKES[:1]).window(3, 13)
    record = predict(clip, mistake_prob=tuple(float(5 <= frame <= 10) for frame in range(3, 13)))
    assert procedure_values(record)["mistake_average_precision"] == 1.0


def test_mistake_average_precision_failed_episode_is_worst():
    episode = procedure(mistakes=MISTAKES)
    failed = replace(predict(episode), status="failed", error="x")
    # all 24 other frames rank above the 16 of the mistakes
    assert procedure_values(failed)["mistake_average_precision"] == pytest.approx(16 / 40)


@given(procedures())
@settings(max_examples=60, deadline=None)
def test_procedure_metrics_oracle_is_perfect(episode):
    record = make_trivial_baseline("oracle", [episode])(episode)
    assert record.problems() == []
    values = procedure_values(record)
    assert values.pop("order_violations_per_episode") is not None or not episode.task.order_edges
    assert values.pop("mistake_delay_median_s") in (None, 0.0)
    assert {name: value for name, value in values.items() if value not in (None, pytest.approx(1.0))} == {}
    timed = [mistake for mistake in episode.mistakes if mistake.span is not None]
    assert (values["mistake_f1"] is None) == (not timed)
    assert (values["occurrence_f1@50"] is None) == (not episode.occurrences)


@given(procedures())
@settings(max_examples=25, deadline=None)
def test_trivial_baselines_without_reference_report_no_mistake(episode):
    for name in set(BASELINES) - {"oracle"}:
        record = make_trivial_baseline(name, [episode])(episode)
        assert (record.mistakes, record.mistake_prob, record.next_steps) == ((), (), ())


ALARMS = st.lists(
    st.tuples(st.integers(0, 20), st.sampled_from(["", "S1"]), st.sampled_from(TAGS)).map(
        lambda item: PredictedMistake(*item)
    ),
    max_size=8,
)
RECALLS = ("mistake_recall", *(f"mistake_recall@{normalize_mistake_tag(tag)}" for tag in TAGS))


@given(procedures(), ALARMS, st.data())
@settings(max_examples=60, deadline=None)
def test_mistake_recall_fewer_predictions_never_raise_it(episode, alarms, data):
    ordered = sorted(alarms, key=lambda alarm: alarm.frame)
    kept = [alarm for alarm in ordered if data.draw(st.booleans())]
    many, few = (procedure_values(predict(episode, mistakes=tuple(some))) for some in (ordered, kept))
    for name in RECALLS:
        assert (many[name] is None) == (few[name] is None)
        assert few[name] is None or few[name] <= many[name]


@given(procedures(), ALARMS)
@settings(max_examples=60, deadline=None)
def test_procedure_metrics_values_are_within_range(episode, alarms):
    record = predict(episode, mistakes=tuple(sorted(alarms, key=lambda alarm: alarm.frame)))
    values = procedure_values(record)
    limits = {"mistake_delay_median_s": 600.0, "order_violations_per_episode": np.inf}
    for name, value in values.items():
        assert value is None or 0 <= value <= limits.get(name, 1.0), name


def test_mistake_delay_median_interval_of_few_hits_stays_in_range():
    """Few hits do not bound a median: the interval then reaches the ends of the range, not beyond them."""
    episode = procedure(mistakes=MISTAKES)
    records = [
        predict(replace(episode, id=name, video=name), mistakes=(PredictedMistake(frame, "S2"),))
        for name, frame in (("a", 9), ("b", 15), ("c", 19))
    ]
    metric = next(metric for metric in METRICS if metric.name == "mistake_delay_median_s")
    low, high = metric.compute(Scored.over(records, TOOLS))["ci95"]
    assert metric.range[0] <= low < high <= metric.range[1]
