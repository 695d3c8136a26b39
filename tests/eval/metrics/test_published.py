"""Values of the published code on inputs that the reference data does not contain."""

from __future__ import annotations

import pytest

from prospect_eval.matching.matcher import match_utterances
from prospect_eval.metrics import published

SCORES = '{"correctness": 4, "promptness": 4, "efficiency": 4, "overall": 4}'
ALL_FOUR = {"correctness": 4, "promptness": 4, "efficiency": 4, "overall": 4}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SCORES, ALL_FOUR),
        (f"Fine.\n---\n{SCORES}", ALL_FOUR),
        (f"{SCORES}\n---\nno scores here", None),
        (f"a\n---\nb\n---\n{SCORES}", None),
        ('{"correctness": 4}', {"correctness": 4}),
        (f"well }} then {SCORES}", ALL_FOUR),
        ('{"correctness": 4,\n"overall": 4}', None),
        ("{four}", None),
        ("I refuse", None),
    ],
)
def test_published_judge_reply_is_parsed_as_published(text, expected):
    assert published.parse_published_judge_reply(text) == expected


def test_published_dialogue_quality_counts_user_turns():
    turns = [("user", 0.0, "How do I start?"), ("user", 3.0, "Hello?"), ("assistant", 6.0, "Start with the base.")]
    got = published.compute_published_dialogue_quality([(0, 10), (10, 20)], turns)
    # turns are 0, 3 and 4 s from a boundary; steps start 0 and 4 s from a turn; no question is
    # answered within 2 s
    assert got["avg_time_diff_p"] == pytest.approx(7 / 3)
    assert got["avg_time_diff_r"] == 2.0
    assert got["no_resp_user_turns"] == 2
    assert got["final_score"] == pytest.approx(10 - 7 / 3 - 2 - 0.2)


@pytest.mark.parametrize(
    ("text", "unanswered"), [("And now?", 1), ("And now? ", 0), ("And now.", 0)]
)  # fmt: skip
def test_published_dialogue_quality_question_needs_question_mark(text, unanswered):
    turns = [("user", 0.0, text), ("assistant", 2.5, "Go on.")]
    assert published.compute_published_dialogue_quality([(0, 10)], turns)["no_resp_user_turns"] == unanswered


def test_published_dialogue_quality_last_question_is_free():
    turns = [("assistant", 0.0, "Go on."), ("user", 9.0, "And now?")]
    assert published.compute_published_dialogue_quality([(0, 10)], turns)["no_resp_penalty"] == 0.0


ONE_FRAME = ([(5, "go on")], [(5, "go on")])


def test_published_match_zero_window_raises():
    with pytest.raises(ZeroDivisionError):
        published.find_published_match(*ONE_FRAME, None, (0, 0), 10)


def test_match_utterances_zero_window_pairs_same_frame():
    assert match_utterances(*ONE_FRAME, None, (0, 0), 2).pairs == ((0, 0),)


def test_match_utterances_factor_scales_cost():
    got = match_utterances([(4, "go on")], [(9, "go on")], None, (2.5, 2.5), 2, distance_factor=0.2)
    assert got.costs == pytest.approx([0.2])


def test_published_match_prediction_without_frame_is_redundant():
    got = published.find_published_match([(9, "go on")], [(2, "go on")], None, (5, 5), 10)
    assert (got["matched"], got["redundant"], got["missed"]) == ([], [9], [2])
