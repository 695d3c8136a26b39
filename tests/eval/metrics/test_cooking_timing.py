"""Timing scores of Interactive Cooking by hand."""

from __future__ import annotations

import pytest

from prospect_core.records import PredictedMistake
from prospect_eval.metrics.cooking_timing import classify_cooking_utterances, find_cooking_kinds
from prospect_eval.metrics.scored import Scored
from tests.helpers.predictions import TOOLS, predict
from tests.helpers.procedures import MISTAKE, SUCCESS, procedure, procedure_values, turn

TURNS = (
    turn(5.0, "Now chop the onion.", "instruction"),
    turn(50.0, "You are chopping too coarsely today.", MISTAKE),
    turn(80.0, "Nice chopping.", SUCCESS),
    turn(80.0, "Now boil some water.", "instruction"),
    turn(140.0, "The water boils.", SUCCESS),
)
EPISODE = procedure(turns=TURNS, frames=200)
ACCURACY = "interactive_cooking_completion_accuracy"


def kinds(*said):
    (scored,) = Scored.over([predict(EPISODE, said)], TOOLS)
    return [set(found) for found in classify_cooking_utterances(scored)]


def mistake_values(record):
    values = procedure_values(record)
    return [values[f"interactive_cooking_mistake_{name}"] for name in ("precision", "recall", "f1")]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["instruction"], {"instruction"}),
        ([SUCCESS], {"success"}),
        ([MISTAKE], {"mistake"}),
        (["feedback_action_unaligned_mistake_order_error"], {"mistake"}),
        (["feedback_action_unaligned_success"], set()),
        (["feedback_finish_all"], set()),
        (["mistake"], set()),
        ([SUCCESS, "instruction"], {"success", "instruction"}),
    ],
)
def test_find_cooking_kinds_by_hand(labels, expected):
    assert find_cooking_kinds(labels) == expected


def test_classify_cooking_utterances_equal_words_before_prefix_before_similarity():
    assert kinds(
        (1, "Nice chopping. Now boil some water."),  # the joined turn of one frame
        (2, "Feedback: Nice chopping."),
        (3, "You are chopping too finely today."),  # 5 of 7 words are common
        (4, "Zebra."),
        (5, "Success: good. Instruction: go on."),
    ) == [{"success", "instruction"}, {"mistake"}, {"mistake"}, set(), {"success", "instruction"}]


def test_classify_cooking_utterances_equal_words_take_nearest_turn():
    turns = [turn(5.0, "Good.", MISTAKE), turn(30.0, "Good.", SUCCESS)]
    record = predict(procedure(turns=turns), [(6, "Good."), (29, "Good.")])
    (scored,) = Scored.over([record], TOOLS)
    assert [set(found) for found in classify_cooking_utterances(scored)] == [{"mistake"}, {"success"}]


@pytest.mark.parametrize(("frame", "value"), [(65, 0.5), (64, 0.0), (95, 0.5), (96, 0.0)])
def test_cooking_completion_accuracy_window_is_centered(frame, value):
    assert procedure_values(predict(EPISODE, [(frame, "Success: yes")]))[ACCURACY] == value


@pytest.mark.parametrize(("frame", "value"), [(130, 1.0), (131, 0.0)])
def test_cooking_completion_accuracy_window_is_in_seconds(frame, value):
    episode = procedure(turns=[turn(50.0, "Nice.", SUCCESS)], frames=200, fps=2)
    assert procedure_values(predict(episode, [(frame, "Success: yes")]))[ACCURACY] == value


def test_cooking_mistake_scores_by_hand():
    record = predict(EPISODE, [(40, "Feedback: too coarse"), (60, "Feedback: still"), (120, "Feedback: no")])
    precision, recall, f1 = mistake_values(record)
    assert (precision, recall, f1) == (pytest.approx(1 / 3), 1.0, pytest.approx(2 / 4))


def test_cooking_f1_pairs_within_kind_by_hand():
    # a completion and a mistake on time; a completion where a mistake is annotated; a late completion
    said = [(45, "Success: x"), (55, "Feedback: x"), (82, "Success: x"), (160, "Success: x")]
    values = procedure_values(predict(EPISODE, said))
    assert values["interactive_cooking_f1"] == pytest.approx(2 * 2 / (4 + 3))


def test_cooking_mistake_scores_silent_model_without_tracking():
    assert mistake_values(predict(EPISODE)) == [None, 0.0, 0.0]
    assert procedure_values(predict(EPISODE))[ACCURACY] == 0.0


def test_cooking_scores_record_without_utterance_uses_tracking():
    moves = [(70, "S1", "start"), (85, "S1", "complete")]
    record = predict(EPISODE, (), moves, mistakes=(PredictedMistake(45, "S1", "Other"),))
    assert procedure_values(record)[ACCURACY] == 0.5
    assert mistake_values(record) == [1.0, 1.0, 1.0]


def test_cooking_scores_speaking_model_is_judged_by_its_words():
    record = predict(EPISODE, [(3, "Zebra.")], mistakes=(PredictedMistake(45),))
    assert mistake_values(record) == [None, 0.0, 0.0]


def test_cooking_scores_without_labels_are_undefined():
    record = predict(procedure(turns=[turn(5.0, "Go on.", "initiative|feedback")]), [(5, "Feedback: x")])
    assert procedure_values(record)[ACCURACY] is None
    assert procedure_values(record)["interactive_cooking_f1"] is None
    assert mistake_values(record) == [None, None, None]


def test_cooking_mistake_scores_false_alarm_in_clean_episode_counts():
    record = predict(procedure(turns=TURNS[2:], frames=200), [(60, "Feedback: x")])
    assert mistake_values(record) == [0.0, None, 0.0]
