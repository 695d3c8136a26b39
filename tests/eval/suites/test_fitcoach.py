"""FitCoach's temporal F-score: official values of the handed cases and streams, and each quirk."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prospect_core.util.errors import DataError
from prospect_eval.suites.fitcoach.official import (
    FeedbackList,
    FeedbackSession,
    StreamTokens,
    count_feedback_matches,
    match_feedback,
    read_stream_feedback,
    score_fitcoach_sessions,
)
from prospect_eval.suites.official_score import pool_item_totals
from tests.helpers.field_cases import assert_equal_values, each_field_case

NAME = "fitcoach"
SPECIAL = StreamTokens(frame=-1, begin=-2, end=-3)


def feedback(times, texts=None):
    return FeedbackList(tuple(times), tuple(f"t{k}" for k in range(len(times))) if texts is None else tuple(texts))


def sessions_of(case):
    return [
        FeedbackSession(
            id=str(number),
            video=str(number),
            reference=feedback(session["gt_timestamps"], session["gt_feedbacks"]),
            predicted=feedback(session["pred_timestamps"], session["pred_feedbacks"]),
        )
        for number, session in enumerate(case["sessions"])
    ]


@each_field_case(NAME, "cases.json")
def test_fitcoach_reference_case_score_is_equal(case):
    sessions, expected = sessions_of(case), case["expected"]
    found = score_fitcoach_sessions(sessions)
    if "raises" in expected:
        assert 0 <= found.values["t_f_score"] <= 1
        return
    assert found.values["t_f_score"] == pytest.approx(expected["t_f_score"], rel=1e-12, abs=1e-15)
    totals = pool_item_totals(found.items)
    stats = {
        "total_num_gt_feedbacks": totals["references"],
        "total_num_pred_feedbacks": totals["predictions"],
        "total_matched_gt_feedbacks": totals["matched references"],
        "total_matched_pred_feedbacks": totals["matched predictions"],
    }
    assert_equal_values(stats, expected["stats"])
    for number, (session, wanted) in enumerate(zip(sessions, expected["sessions"], strict=True)):
        matches = match_feedback(session.reference, session.predicted)
        assert [[session.reference.text(a), session.predicted.text(b)] for a, b in matches] == wanted["matched"]
        so_far = score_fitcoach_sessions(sessions[: number + 1]).values["t_f_score"]
        assert so_far == pytest.approx(wanted["t_f_score_so_far"], rel=1e-12, abs=1e-15)


@each_field_case(NAME, "streams.json")
def test_read_stream_feedback_equals_reference(case):
    def read():
        decode = lambda tokens: " ".join(map(str, tokens))  # noqa: E731
        return read_stream_feedback(case["tokens"], case["frames_per_second"], SPECIAL, decode)

    if "raises" in case["expected"]:
        with pytest.raises(DataError, match="no frame"):
            read()
        return
    found = read()
    assert list(found.texts) == case["expected"]["responses"]
    assert found.times == pytest.approx(case["expected"]["timestamps"], rel=1e-12, abs=1e-12)


# quirks, each by its smallest example


def t_f(reference, predicted):
    return score_fitcoach_sessions([FeedbackSession("s", "s", reference, predicted)]).values["t_f_score"]


def test_score_fitcoach_perfect_run_is_below_1():
    assert t_f(feedback([1, 5, 9]), feedback([1, 5, 9])) == pytest.approx(0.99999999999917, abs=1e-14)


def test_score_fitcoach_empty_session_is_zero():
    assert t_f(feedback([]), feedback([])) == 0.0
    assert score_fitcoach_sessions([]).values["t_f_score"] == 0.0


@pytest.mark.parametrize(("time", "matches"), [(11.5, 0), (11.4999, 1), (8.5, 0), (8.5001, 1)])
def test_match_feedback_is_closer_than_1_5_s(time, matches):
    assert len(match_feedback(feedback([10.0]), feedback([time]))) == matches


def test_match_feedback_tries_only_nearest_prediction():
    assert match_feedback(feedback([10.0, 10.6]), feedback([10.4, 11.8])) == [(0, 0)]


def test_match_feedback_unsorted_predictions_lose_matches():
    assert match_feedback(feedback([5.0, 10.0]), feedback([10.0, 5.0])) == [(0, 1)]


def test_score_fitcoach_recall_and_precision_use_other_matches():
    found = score_fitcoach_sessions([FeedbackSession("s", "s", feedback([10, 11, 12]), feedback([11.1, 12.9]))])
    assert (found.items[0].totals["matched references"], found.items[0].totals["matched predictions"]) == (1, 2)


def test_match_feedback_time_without_text_is_unmatched():
    assert match_feedback(feedback([10.0]), feedback([10.0], [])) == []
    assert t_f(feedback([10.0]), feedback([10.0], ["a", "b"])) == pytest.approx(2 / 3)


TIMES = st.lists(st.integers(0, 80).map(lambda quarter: quarter / 4), max_size=8, unique=True).map(sorted)


@given(TIMES)
def test_match_feedback_sorted_list_matches_itself(times):
    assert match_feedback(feedback(times), feedback(times)) == [(k, k) for k in range(len(times))]


@given(TIMES, TIMES)
def test_match_feedback_is_ascending_and_near(first, second):
    matches = match_feedback(feedback(first), feedback(second))
    assert all(abs(first[a] - second[b]) < 1.5 for a, b in matches)
    assert all(a < c and b < d for (a, b), (c, d) in pairwise(matches))


@pytest.mark.parametrize(
    ("times", "texts", "matched"),
    [((2.0, 5.5), (), 0), ((2.0, 5.5), ("Go.",), 1), ((5.5, 2.0), ("Go.",), 1), ((2.0, 5.5), ("Go.", "Stop."), 2)],
)
def test_count_feedback_matches_times_without_text_never_match(times, texts, matched):
    """The published scorer stops on such a time; a match without a text would make the recall exceed 1."""
    predicted = FeedbackList((2.0, 5.5), ("Go.", "Stop."))
    totals = count_feedback_matches(FeedbackList(times, texts), predicted)
    assert totals["matched references"] == matched
    assert totals["matched references"] <= totals["references"]
