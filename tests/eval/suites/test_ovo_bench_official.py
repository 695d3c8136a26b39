"""Official scores of OVO-Bench: formula, quirks, and totals of items."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prospect_eval.suites.ovo_bench.annotations import CATEGORIES, OvoBenchAnnotations, ReadCounts
from prospect_eval.suites.ovo_bench.official import (
    score_choice,
    score_count,
    score_ovo_bench,
    score_yes_no,
)
from prospect_eval.suites.ovo_bench.results import ChoiceRow, ForwardRow, OvoBenchResults, PollRow
from tests.helpers.ovo_bench_items import choice_entry, clue_entry, count_entry, step_entry, write_ovo_bench

NO_ANNOTATIONS = OvoBenchAnnotations((), ReadCounts({}))


def choice_row(name, response, truth="B", task="EPM", category="backward"):
    return ChoiceRow(id=name, task=task, category=category, video="v", response=response, ground_truth=truth)


def forward_row(name, task, *polls):
    return ForwardRow(name, task, "v", tuple(PollRow(gold, response) for gold, response in polls))


def values_of(choices=(), forward=()):
    return score_ovo_bench(NO_ANNOTATIONS, OvoBenchResults(tuple(choices), tuple(forward))).values


@pytest.mark.parametrize(
    ("response", "letter", "score"),
    [
        ("B", "B", 1),
        ("(B)", "B", 1),
        ("b", "B", 0),
        ("ABCDE", "C", 1),
        ("BECAUSE", "C", 1),
        ("", "A", 0),
        (None, "A", 0),
    ],
)
def test_score_choice_searches_letter(response, letter, score):
    assert score_choice(response, letter) == score


@pytest.mark.parametrize(
    ("response", "count", "score"),
    [
        ("2", 2, 1), ("There are 2.", 2, 1), ("1-2", 12, 1), ("1-2", 2, 0), ("3.0", 30, 1), ("3.0", 3, 0), ("02", 2, 0),
        ("two", 2, 0), ("-1", 1, 1), ("", 0, 0), (None, 0, 0), ("\u0661", 1, 0),
    ],
)  # fmt: skip
def test_score_count_joins_all_digits(response, count, score):
    assert score_count(response, count) == score


@pytest.mark.parametrize(
    ("response", "type_", "score"),
    [
        ("Yes", 1, 1), ("Yes", 0, 0), ("No", 0, 1), ("No", 1, 0), ("Y", 1, 1), ("N", 0, 1), ("Y.", 1, 0), ("yes", 1, 0),
        ("Yes or No", 1, 1), ("Yes or No", 0, 1), ("Not sure.", 0, 1), ("None", 0, 1), ("Noodles", 0, 1), (None, 0, 0),
    ],
)  # fmt: skip
def test_score_yes_no_searches_word(response, type_, score):
    assert score_yes_no(response, type_) == score


def test_score_functions_one_element_list():
    assert score_choice(["B"], "B") == 1
    assert score_choice(["B."], "B") == 0
    assert score_yes_no(["Yes"], 1) == 1
    with pytest.raises(TypeError):
        score_count(["2"], 2)


def test_score_ovo_bench_categories_are_means_of_tasks():
    values = values_of(
        [
            choice_row("1", "B"),
            choice_row("2", "B"),
            choice_row("3", "A", task="ASI"),
            choice_row("4", "B", task="OCR", category="realtime"),
        ],
        [forward_row("5", "REC", (1, "1"), (2, "1")), forward_row("6", "CRR", (0, "No"))],
    )
    assert (values["EPM"], values["ASI"], values["HLD"]) == (1.0, 0.0, None)
    assert (values["backward"], values["realtime"], values["forward"]) == (0.5, 1.0, 0.75)
    assert values["total"] == pytest.approx((0.5 + 1.0 + 0.75) / 3)


def test_score_ovo_bench_empty_category_is_undefined():
    score = score_ovo_bench(NO_ANNOTATIONS, OvoBenchResults((choice_row("1", "B"),), ()))
    assert (score.values["backward"], score.values["forward"], score.values["total"]) == (1.0, None, None)
    assert any("forward has no row" in note for note in score.notes)


def test_score_ovo_bench_unknown_task_counts_in_its_list():
    values = values_of([choice_row("1", "B", task="NEW"), choice_row("2", "A")])
    assert (values["NEW"], values["EPM"], values["backward"]) == (1.0, 0.0, 0.5)


@pytest.fixture
def annotations(tmp_path):
    return write_ovo_bench(tmp_path / "a.json", [choice_entry(1), count_entry(2), step_entry(3), clue_entry(4)])


def test_score_ovo_bench_items_have_annotated_videos(annotations):
    results = OvoBenchResults((choice_row("1", "B"),), (forward_row("2", "REC", (1, "1"), (2, None)),))
    score = score_ovo_bench(annotations, results)
    found = {item.id: (item.video, item.task, item.status) for item in score.items}
    assert found == {
        "1": ("v1.mp4", "EPM", "scored"),
        "2.0": ("v2.mp4", "REC", "scored"),
        "2.1": ("v2.mp4", "REC", "failed"),
        "3.0": ("v3.mp4", "SSR", "missing"),
        "3.1": ("v3.mp4", "SSR", "missing"),
        "4.0": ("v4.mp4", "CRR", "missing"),
        "4.1": ("v4.mp4", "CRR", "missing"),
    }
    assert score.values["REC"] == 0.5


def test_score_ovo_bench_repeated_and_unknown_ids_are_noted(annotations):
    rows = (choice_row("1", "B"), choice_row("1", "A"), choice_row("99", "B"))
    score = score_ovo_bench(annotations, OvoBenchResults(rows, ()))
    assert score.values["EPM"] == pytest.approx(2 / 3)
    assert [item.id for item in score.items[:3]] == ["1", "1#2", "99"]
    assert "ids of several rows, all scored: 1 (1)" in score.notes
    assert "ids that the annotations lack, scored as they stand: 1 (99)" in score.notes


def test_score_ovo_bench_letter_of_results_is_noted(annotations):
    score = score_ovo_bench(annotations, OvoBenchResults((choice_row("1", "A", truth="A"),), ()))
    assert score.values["EPM"] == 1.0
    assert "rows scored against another letter than the annotation's: 1 (1)" in score.notes


def test_score_ovo_bench_other_counts_are_noted(annotations):
    score = score_ovo_bench(annotations, OvoBenchResults((), (forward_row("2", "REC", (1, "1"), (3, "3")),)))
    assert score.values["REC"] == 1.0
    assert "forward rows scored against other numbers than the annotation's: 1 (2)" in score.notes


RESPONSES = st.sampled_from(
    [None, "", "A", "B.", "(C)", "AB", "Yes", "No", "Y", "N", "yes", "None", "1", "2", "1 2", "02", "Yes or No"]
)
CHOICES = st.tuples(st.sampled_from(["EPM", "ASI", "HLD", "OCR", "OJR"]), RESPONSES, st.sampled_from("ABC"))
POLLS = st.tuples(
    st.sampled_from(["REC", "SSR", "CRR"]), st.lists(st.tuples(st.sampled_from([0, 1, 2, 12]), RESPONSES))
)


def transcribe_poll(task, gold, response):
    """The published rule, word for word."""
    if response is None:
        return 0
    if task == "REC":
        return int("".join(re.findall("[0-9]+", response)) == str(gold))
    wanted = "No" if gold == 0 else "Yes"
    return int((response == wanted[0] and gold in (0, 1)) or wanted in response)


@settings(max_examples=50)
@given(st.lists(CHOICES), st.lists(POLLS))
def test_score_ovo_bench_equals_plain_transcription(choices, forward):
    of_task = {task: category for category, tasks in CATEGORIES.items() for task in tasks}
    scores = {}
    for task, response, letter in choices:
        right = 0 if response is None else int(response.find(letter) >= 0)
        scores.setdefault(of_task[task], {}).setdefault(task, []).append(right)
    for task, polls in forward:
        for gold, response in polls:
            scores.setdefault("forward", {}).setdefault(task, []).append(transcribe_poll(task, gold, response))
    means = {}
    for category in CATEGORIES:
        tasks = [sum(found) / len(found) for found in scores.get(category, {}).values()]
        means[category] = sum(tasks) / len(tasks) if tasks else None
    values = values_of(
        [choice_row(str(k), r, letter, task, of_task[task]) for k, (task, r, letter) in enumerate(choices)],
        [forward_row(f"f{k}", task, *polls) for k, (task, polls) in enumerate(forward)],
    )
    for name, mean in means.items():
        assert values[name] == (None if mean is None else pytest.approx(mean, abs=1e-12))
    whole = None if None in means.values() else pytest.approx(sum(means.values()) / 3, abs=1e-12)
    assert values["total"] == whole
