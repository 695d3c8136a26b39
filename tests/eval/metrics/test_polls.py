"""Poll accuracy and reply spans by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from prospect_core.records import SCHEMA, EpisodeRecord, Knobs, PolledAnswer, PredictedUtterance
from prospect_core.timeline import Episode, Event, Poll, Task
from prospect_eval.metrics.polls import METRICS, find_poll_choices, is_poll_answer_right, pair_reply_spans
from prospect_eval.metrics.resources import make_scoring_resources
from prospect_eval.metrics.scored import Scored

CHOICE = Poll("p", 1.0, "Which colour?", ("red", "dark blue", "blue"), ("C",))
FREE = Poll("f", 1.0, "How many?", (), ("two", "2"))


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("C", {"C"}), ("(C)", {"C"}), ("C. blue", {"C"}), ("The answer is C.", {"C"}), ("A or C", {"A", "C"}), ("ABC", set()),
        ("blue", {"C"}), ("It is dark blue.", {"B"}), ("Blue!", {"C"}), ("", set()), ("D", set()), ("It's red", {"A"}),
    ],
)  # fmt: skip
def test_find_poll_choices_by_hand(text, letters):
    assert find_poll_choices(text, CHOICE) == letters


@pytest.mark.parametrize(
    ("text", "right"), [("two", True), ("There are 2 cups.", True), ("one or two", False), ("12", False), ("", False)]
)
def test_is_poll_answer_right_free_text(text, right):
    assert is_poll_answer_right(text, FREE, ("one", "two", "2", "three")) is right


def scores(episode, utterances=(), answers=(), status="ok"):
    record = EpisodeRecord(
        SCHEMA, "m", Knobs(), episode, utterances=tuple(utterances), answers=tuple(answers), status=status
    )
    (scored,) = Scored.over([record], make_scoring_resources())
    return {metric.name: metric.compute([scored], intervals=False)["value"] for metric in METRICS}


def test_poll_accuracy_missing_answer_is_wrong():
    polls = (CHOICE, replace(CHOICE, id="q"), replace(FREE, id="r", accepted=("one",)), FREE)
    episode = Episode("e", "v", 2, 0, 20, Task("t"), polls=polls).validate()
    answers = [PolledAnswer("p", 2, "C"), PolledAnswer("q", 2, ""), PolledAnswer("f", 2, "one, no two")]
    found = scores(episode, answers=answers)
    assert found["poll_accuracy"] == 0.25
    assert found["poll_answered"] == 0.5
    assert found["span_f1"] is None


def test_span_metrics_by_hand():
    turns = (
        Event("a", 1.0, "assistant", "x", reply_span=(1.0, 2.0)),
        Event("b", 4.0, "assistant", "y", reply_span=(3.6, 5.4)),
        Event("c", 8.0, "assistant", "z", reply_span=(8.0, 8.0)),
    )
    episode = Episode("e", "v", 2, 0, 20, Task("t"), turns).validate()
    said = [PredictedUtterance(frame, "x") for frame in (2, 3, 7, 8, 11)]
    found = scores(episode, said)
    assert found["span_precision"] == 2 / 5
    assert found["span_recall"] == 2 / 3
    assert found["span_f1"] == 2 * 2 / (5 + 3)


@given(
    st.lists(st.integers(0, 20), max_size=7, unique=True),
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 6)), max_size=7),
)
def test_pair_reply_spans_is_maximal(frames, sizes):
    spans = [(start, start + length) for start, length in sizes]
    expected = 0
    if frames and spans:
        fits = [[first <= frame <= last for first, last in spans] for frame in frames]
        rows, columns = linear_sum_assignment(fits, maximize=True)
        expected = sum(fits[row][column] for row, column in zip(rows, columns, strict=True))
    assert pair_reply_spans(frames, spans) == expected
