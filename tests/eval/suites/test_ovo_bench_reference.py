"""OVO-Bench against the values that its published scorer gave on its published files."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest

from prospect_eval.suites.benchmark import open_benchmark
from prospect_eval.suites.constant_answers import rank_constant_answer
from prospect_eval.suites.official_score import pool_item_totals
from prospect_eval.suites.ovo_bench.annotations import CATEGORY_OF_TASK, gold_of_poll
from prospect_eval.suites.ovo_bench.constants import (
    CONSTANT_ANSWERS,
    ConstantAnswer,
    answer_annotation_times,
    answer_oracle,
    answer_ovo_bench,
    make_ovo_bench_constant,
)
from prospect_eval.suites.ovo_bench.official import score_choice, score_poll
from prospect_eval.suites.ovo_bench.results import find_result_facts
from tests.helpers.field_cases import find_field_file, read_field_file

pytestmark = pytest.mark.integration
NAME = "ovo_bench"
BENCHMARK = open_benchmark(NAME)


@cache
def annotations():
    return BENCHMARK.read_annotations(find_field_file(NAME, "data/ovo_bench_new.json"))


@cache
def model_scores():
    """Results and scores by model, of every folder of results."""
    found = {}
    for folder in sorted(find_field_file(NAME, "results").iterdir()):
        results = BENCHMARK.read_results([folder], annotations())
        found[folder.name] = results, BENCHMARK.score(annotations(), results)
    return found


def model_facts(model):
    return find_result_facts(annotations(), model_scores()[model][0])


def assert_same_numbers(score, expected):
    """All values of a block of expected values, and nothing else."""
    totals = pool_item_totals(score.items)
    wanted = {name: task["accuracy"] for name, task in expected["tasks"].items()}
    for name, task in expected["tasks"].items():
        place = f"{CATEGORY_OF_TASK[name]}.{name}"
        assert (totals.get(f"{place}.right", 0), totals[f"{place}.number"]) == (task["correct"], task["total"]), name
    wanted |= {name: category["accuracy"] for name, category in expected["categories"].items()}
    wanted["total"] = expected["total"]
    defined = {name: value for name, value in score.values.items() if value is not None}
    assert defined == pytest.approx(wanted, abs=1e-12, rel=1e-12)


def expected_models():
    """Expected values of the models whose results are there."""
    expected = read_field_file(NAME, "expected.json")["models"]
    return {model: block for model, block in expected.items() if model in model_scores()}


def test_ovo_bench_published_models_values_are_equal():
    assert expected_models()
    for model, block in expected_models().items():
        assert_same_numbers(model_scores()[model][1], block)


def test_ovo_bench_published_models_facts_are_equal():
    for model, block in expected_models().items():
        results, facts, wanted = model_scores()[model][0], model_facts(model), block["facts"]
        assert facts.rows == wanted["rows"]
        assert (facts.polls, facts.null_responses) == (wanted["polls_forward"], wanted["null_responses"])
        assert sorted(map(int, facts.repeated_ids)) == wanted["ids_twice"]
        assert {task: len(ids) for task, ids in facts.absent_ids.items()} == wanted["gold_ids_absent"]
        choices = [ids for task, ids in facts.absent_ids.items() if CATEGORY_OF_TASK[task] != "forward"]
        assert sorted(int(name) for ids in choices for name in ids) == wanted["gold_ids_absent_multiple_choice"]
        unwrapped = [note for note in results.notes if note.startswith("one-element lists")]
        number = block.get("unwrapped_one_element_lists")
        assert [int(note.rpartition(": ")[2]) for note in unwrapped] == ([number] if number else [])


def test_ovo_bench_published_models_other_golds_are_equal():
    for model, block in expected_models().items():
        found = [
            {"id": int(truth.id), "task": truth.task, "in_results": truth.in_results, "in_gold": truth.in_annotations}
            for truth in model_facts(model).other_ground_truths
        ]
        wanted = block["facts"]["ground_truth_differs_from_gold"]
        assert sorted(found, key=lambda truth: truth["id"]) == sorted(wanted, key=lambda truth: truth["id"])


def test_ovo_bench_synthetic_sets_values_are_equal():
    expected = read_field_file(NAME, "expected.json")["synthetic"]
    for file in sorted(find_field_file(NAME, "synthetic").glob("*.json")):
        responses = read_field_file(NAME, f"synthetic/{file.name}")["responses"]

        def answer(item, responses=responses):
            return responses[str(item.id)]

        score = BENCHMARK.score(annotations(), answer_ovo_bench(annotations(), answer, answer))
        assert_same_numbers(score, expected[file.stem])


def test_ovo_bench_single_responses_scores_are_equal():
    for case in read_field_file(NAME, "responses.json")["cases"]:
        task, response, gold = case["task"], case["response"], case["gold"]

        def score(task=task, response=response, gold=gold):
            return score_choice(response, gold) if task == "MC" else score_poll(task, response, gold)

        if "raises" in case:
            with pytest.raises(TypeError):
                score()
        else:
            assert score() == case["score"], case


#: answers that are rules and not one text for each kind of item
RULES = {"oracle": answer_oracle, "annotation_times": answer_annotation_times}


def constant_results(name, responses):
    if isinstance(responses, str):
        return RULES[name](annotations())
    choice = responses["multiple_choice"]
    by_task = choice if isinstance(choice, dict) else {}
    answer = ConstantAnswer(
        choice=None if by_task else choice,
        count=responses["REC"],
        step=responses["SSR"],
        clue=responses["CRR"],
        choice_of_task=by_task,
    )
    return make_ovo_bench_constant(annotations(), answer)


def test_ovo_bench_constants_values_are_equal():
    for name, block in read_field_file(NAME, "constants.json")["constants"].items():
        results = constant_results(name, block["responses"])
        assert_same_numbers(BENCHMARK.score(annotations(), results), block)
        own = BENCHMARK.constants[name](annotations()) if name in BENCHMARK.constants else results
        if own != results:
            # of equally frequent letters of a task either is a most frequent one
            assert_same_numbers(BENCHMARK.score(annotations(), own), block)


def test_ovo_bench_constants_include_reference_constants():
    handed = read_field_file(NAME, "constants.json")["constants"]
    assert set(handed) - set(RULES) <= set(BENCHMARK.constants)
    assert set(CONSTANT_ANSWERS) <= set(BENCHMARK.constants)


def test_ovo_bench_constant_yes_and_one_rank():
    constant = BENCHMARK.score(annotations(), BENCHMARK.constants["rec_1"](annotations()))
    assert constant.values["forward"] == pytest.approx(0.4924556952, abs=1e-9)
    scores = {model: score for model, (_, score) in model_scores().items()}
    rank = rank_constant_answer(constant, scores, "forward")
    forward = {model: block["categories"]["forward"]["accuracy"] for model, block in expected_models().items()}
    assert set(rank.below) & set(forward) == {m for m, value in forward.items() if value < constant.values["forward"]}
    assert rank.models == len(scores)


def test_ovo_bench_annotation_counts_equal_reference():
    facts = read_field_file(NAME, "facts.json")
    items, choices, forward = annotations().items, annotations().choices, annotations().forward
    assert annotations().counts.read == facts["items_by_task"]
    assert annotations().counts.refused == {}
    assert (len(items), len({item.video for item in items})) == (facts["items"], facts["videos"])
    polls, yes, counts = Counter(), Counter(), Counter()
    for item in forward:
        polls[item.task] += len(item.test_info)
        golds = [gold_of_poll(poll) for poll in item.test_info]
        if item.task == "REC":
            counts.update(str(gold) for gold in golds)
        else:
            yes[item.task] += golds.count(1)
    assert (polls, yes, counts) == (facts["polls"], facts["polls_yes"], facts["rec_count_histogram"])
    letters = {task: Counter(i.letter for i in choices if i.task == task) for task in facts["gt_letter_by_task"]}
    assert letters == facts["gt_letter_by_task"]
    assert Counter(str(len(item.options)) for item in choices) == facts["options_per_item"]
    same = Counter(item.task for item in choices if item.answer == item.options[item.gt])
    assert same == facts["answer_text_equals_option_at_gt"]
    fractions = [poll for item in forward for poll in item.test_info if not isinstance(poll.realtime, int)]
    assert len(fractions) == facts["realtime_not_int"]


def test_ovo_bench_annotation_problems_equal_reference():
    facts = read_field_file(NAME, "facts.json")
    found = {}
    for problem in BENCHMARK.find_problems(annotations()):
        found.setdefault(problem.kind, []).append(int(problem.id))
    wanted = {
        "the answer is the text of another option": [e["id"] for e in facts["answer_text_equals_another_option"]],
        "an option is listed twice": [e["id"] for e in facts["same_option_twice"]],
        "the count is not the number of ends passed": [
            e["id"] for e in facts["rec_count_is_not_number_of_ends_so_far"]
        ],
        "a poll is repeated": facts["items_with_the_same_poll_twice"],
        "polls are not in the order of time": facts["polls_not_sorted_by_realtime"],
    }
    assert {kind: found[kind] for kind in wanted} == wanted
    assert not [kind for kind in found if kind.startswith("the type contradicts")]
