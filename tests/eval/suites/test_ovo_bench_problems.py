"""Faults of the annotations of OVO-Bench, and its constant answers, on small invented items."""

from __future__ import annotations

import pytest

from prospect_eval.suites.ovo_bench.benchmark import BENCHMARK
from prospect_eval.suites.ovo_bench.constants import ConstantAnswer, answer_annotation_times, make_ovo_bench_constant
from prospect_eval.suites.ovo_bench.problems import find_ovo_bench_problems
from tests.helpers.ovo_bench_items import choice_entry, clue_entry, count_entry, step_entry, write_ovo_bench


@pytest.fixture
def kinds(tmp_path):
    def find(*entries):
        problems = find_ovo_bench_problems(write_ovo_bench(tmp_path / "a.json", list(entries)))
        return [(problem.id, problem.kind) for problem in problems]

    return find


def test_find_problems_sound_items_have_none(kinds):
    assert kinds(choice_entry(1), count_entry(2), step_entry(3), clue_entry(4)) == []


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        (choice_entry(1, answer="in the box"), "the answer is the text of another option"),
        (choice_entry(1, options=["a", "on the table", "a"]), "an option is listed twice"),
        (choice_entry(1, question="Is it on the table?"), "the question holds the gold option"),
        (count_entry(1, test_info=[{"realtime": 3, "count": 1}] * 2), "a poll is repeated"),
        (
            count_entry(1, test_info=[{"realtime": 3, "count": 1}, {"realtime": 3.0, "count": 1}]),
            "a poll is repeated with its time in another form",
        ),
        (count_entry(1, test_info=[{"realtime": 2, "count": 1}]), "the count is not the number of ends passed"),
        (
            step_entry(1, test_info=[{"realtime": 9, "step": "pour", "type": 1}]),
            "the type contradicts the spans of the steps",
        ),
        (step_entry(1, test_info=step_entry(1)["test_info"][::-1]), "polls are not in the order of time"),
        (clue_entry(1, test_info=[{"realtime": 5, "type": 1}]), "the type contradicts the time of the clue"),
        (clue_entry(1, ask_time=9), "the clue is not after the question"),
        (count_entry(1, start_times=[1, 7]), "a span does not end after it starts"),
    ],
)
def test_find_problems_fault_names_item(kinds, entry, kind):
    assert kinds(entry) == [("1", kind)]


def test_find_problems_contradicting_polls(kinds):
    polls = [{"realtime": 3, "count": 1}, {"realtime": 3, "count": 2}]
    assert ("1", "polls at one time contradict each other") in kinds(count_entry(1, test_info=polls))


def test_find_problems_two_options_in_question_are_accepted(kinds):
    assert kinds(choice_entry(1, question="Is it on the table or on the floor?")) == []


def test_find_problems_repeated_question_names_later_item(kinds):
    first, other = choice_entry(1), choice_entry(3, video="v1.mp4", gt=0, answer="on the floor")
    assert kinds(first, choice_entry(2, video="v1.mp4"), other) == [
        ("2", "the question repeats an earlier item"),
        ("3", "the question repeats an earlier item with another gold option"),
    ]


@pytest.fixture
def annotations(tmp_path):
    entries = [choice_entry(1), choice_entry(5, gt=0), count_entry(2), step_entry(3), clue_entry(4)]
    return write_ovo_bench(tmp_path / "a.json", entries)


def test_ovo_bench_constant_answers_items_and_polls(annotations):
    results = make_ovo_bench_constant(annotations, ConstantAnswer("A", "1", "No", "Yes"))
    assert [row.response for row in results.choices] == ["A", "A"]
    assert [[poll.response for poll in row.polls] for row in results.forward] == [["1"] * 2, ["No"] * 2, ["Yes"] * 2]


def test_ovo_bench_constant_prefers_task_answer(annotations):
    answer = ConstantAnswer(choice="A", choice_of_task={"EPM": "B"})
    assert {row.response for row in make_ovo_bench_constant(annotations, answer).choices} == {"B"}


def test_ovo_bench_constant_refusal_scores_half_of_no_polls(annotations):
    values = BENCHMARK.score(annotations, BENCHMARK.constants["refusal"](annotations)).values
    assert (values["SSR"], values["CRR"], values["REC"], values["EPM"]) == (0.5, 0.5, 0.0, 0.0)


def test_ovo_bench_constant_all_letters_scores_every_choice(annotations):
    values = BENCHMARK.score(annotations, BENCHMARK.constants["all_letters"](annotations)).values
    assert (values["EPM"], values["SSR"], values["CRR"], values["REC"]) == (1.0, 1.0, 1.0, 0.0)


def test_ovo_bench_annotation_times_answer_consistent_items(annotations):
    values = BENCHMARK.score(annotations, answer_annotation_times(annotations)).values
    assert values["forward"] == 1.0


@pytest.mark.parametrize("name", sorted(BENCHMARK.constants))
def test_ovo_bench_every_constant_answers_all_items(annotations, name):
    score = BENCHMARK.score(annotations, BENCHMARK.constants[name](annotations))
    assert score.count("missing") == 0
    assert len(score.items) == 8
