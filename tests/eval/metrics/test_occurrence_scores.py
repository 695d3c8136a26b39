"""F1 of executions of steps, by hand."""

from __future__ import annotations

import pytest

from prospect_core.timeline import DialogState
from prospect_eval.metrics.occurrence_scores import count_occurrence_hits, find_occurrence_spans
from prospect_eval.models.baselines.trivial import make_trivial_baseline
from tests.helpers.predictions import predict, score
from tests.helpers.procedures import SOUP, procedure, procedure_values


def test_find_occurrence_spans_repeated_and_open_steps():
    episode = procedure(frames=20)
    moves = [(2, "S1", "start"), (5, "S1", "complete"), (5, "S1", "reopen"), (9, "S1", "complete"), (12, "S2", "start")]
    assert find_occurrence_spans(episode, moves) == {"S1": [range(2, 6), range(5, 10)], "S2": [range(12, 20)]}


def test_find_occurrence_spans_step_in_progress_begins_with_episode():
    whole = procedure(("S1", 2.0, 9.0))
    clip = whole.window(4, 20)
    assert isinstance(clip.initial, DialogState)
    assert find_occurrence_spans(clip, clip.transitions()) == {"S1": [range(4, 10)]}


@pytest.mark.parametrize(("percent", "hits"), [(10, 1), (25, 1), (50, 1), (51, 0)])
def test_count_occurrence_hits_limit_is_included(percent, hits):
    # 5 common frames of 10
    assert count_occurrence_hits([range(5)], [range(10)], percent) == hits


def test_count_occurrence_hits_apart_is_no_hit():
    assert count_occurrence_hits([range(3)], [range(3, 6)], 10) == 0


def test_count_occurrence_hits_pairs_as_many_as_possible():
    """The first prediction overlaps both references; the second one only the first reference."""
    assert count_occurrence_hits([range(20), range(8)], [range(10), range(10, 20)], 25) == 2


def test_occurrence_f1_by_hand():
    episode = procedure(("S1", 0.0, 9.0), ("S2", 10.0, 19.0), ("S1", 20.0, 29.0))
    moves = [
        (0, "S1", "start"),
        (4, "S1", "complete"),  # 5 of 10 frames
        (13, "S4", "start"),  # never executed; to the end
        (16, "S2", "start"),
        (25, "S2", "complete"),  # 4 of 16 frames
    ]
    values = procedure_values(predict(episode, (), moves))
    assert values["occurrence_f1@10"] == pytest.approx(2 * 2 / (3 + 3))
    assert values["occurrence_f1@25"] == pytest.approx(2 * 2 / (3 + 3))
    assert values["occurrence_f1@50"] == pytest.approx(2 * 1 / (3 + 3))


def test_occurrence_f1_silent_model_is_zero():
    episode = procedure(("S1", 0.0, 9.0))
    assert procedure_values(make_trivial_baseline("silent", [])(episode))["occurrence_f1@10"] == 0.0


def test_occurrence_f1_failed_episode_is_zero():
    episode = procedure(("S1", 0.0, 9.0)).window(4, 20)
    assert procedure_values(predict(episode, status="failed", error="x"))["occurrence_f1@10"] == 0.0


def test_occurrence_f1_nothing_executed_is_undefined():
    assert procedure_values(predict(procedure(task=SOUP)))["occurrence_f1@10"] is None


def test_transition_f1_thirty_seconds_by_hand():
    episode = procedure(("S1", 5.0, 20.0), frames=80)
    record = predict(episode, (), [(35, "S1", "start"), (51, "S1", "complete")])
    # 30 s and 31 s late
    assert score(record, name="transition_f1@30s") == pytest.approx(0.5)
    assert score(record, name="transition_f1@5s") == 0.0
