"""ProactiveVideoQA: official values of reference cases, readers, LLM judge and scorer quirks."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prospect_core.util.errors import DataError
from prospect_eval.suites.benchmark import open_benchmark
from prospect_eval.suites.cached_judge import NoVerdictError
from prospect_eval.suites.proactivevideoqa.annotations import make_proactivevideoqa_annotations
from prospect_eval.suites.proactivevideoqa.official import (
    SCORE_RULES,
    compute_area_share,
    compute_turn_pauc,
    count_replay_rounds,
    find_turn_scores,
    make_judge_requests,
    read_last_digit_score,
    score_proactivevideoqa_replies,
)
from prospect_eval.suites.proactivevideoqa.problems import find_proactivevideoqa_problems
from prospect_eval.suites.proactivevideoqa.reply_judge import compare_reply_judges, judge_proactivevideoqa_replies
from prospect_eval.suites.proactivevideoqa.results import (
    match_proactivevideoqa_rows,
    read_proactivevideoqa_results,
)
from prospect_eval.suites.proactivevideoqa.scores import score_proactivevideoqa
from prospect_eval.suites.result_rows import ResultRow
from tests.helpers.field_cases import each_field_case

NAME = "proactivevideoqa"


def rows(values):
    return [ResultRow(f"row {number}", value) for number, value in enumerate(values)]


def table_rows(case):
    """The predictions of a case as the published table has them: JSON in a cell, next to the question's id."""
    ids = [row["question_id"] for row in case["gold"]]
    cells = [row if isinstance(row, str) else json.dumps(row) for row in case["predictions"]]
    return rows(
        {"question_id": ids[number] if number < len(ids) else "", "prediction": cell}
        for number, cell in enumerate(cells)
    )


@each_field_case(NAME, "cases.json")
def test_proactivevideoqa_reference_case_score_is_equal(case):
    annotations = make_proactivevideoqa_annotations(rows(case["gold"]))
    results = match_proactivevideoqa_rows(table_rows(case), annotations)
    expected = case["expected"]
    if "raises" in expected:
        assert results.counts.refused or annotations.counts.refused
        return
    omegas = sorted(map(float, expected["pauc"]))
    found = score_proactivevideoqa_replies(annotations.questions, results.replies, case["verdicts"], omegas=omegas)
    for omega, share in expected["pauc"].items():
        assert found.values[f"omega={float(omega):g}"] / 100 == pytest.approx(share, rel=1e-12, abs=1e-12)
    official = expected["official"]
    assert official["num_videos"] == len(found.items)
    assert official["num_turns"] == sum(item.totals.get("turns", 0) for item in found.items)
    for name in ("omega=0", "omega=0.5", "omega=1"):
        assert round(found.values[name], 2) == pytest.approx(official[name], abs=1e-9)


@each_field_case(NAME, "cases.json", keep=lambda case: "raises" not in case["expected"])
def test_proactivevideoqa_judged_texts_equal_reference(case):
    annotations = make_proactivevideoqa_annotations(rows(case["gold"]))
    results = match_proactivevideoqa_rows(table_rows(case), annotations)
    requests = make_judge_requests(annotations.questions, results.replies)
    judged = [{"id": request.id, "predicted_answer": request.predicted} for request in requests]
    assert judged == case["expected"]["judged"]
    for number, question in enumerate(annotations.questions):
        for turn, reference in enumerate(question.turns):
            own = [request for request in requests if (request.question_id, request.turn) == (question.id, turn)]
            scores = find_turn_scores(reference, own, case["verdicts"], read_last_digit_score)
            assert {str(time): score for time, score in scores.items()} == case["expected"]["judge_scores"][number][
                turn
            ]
            for omega, per_turn in case["expected"]["pauc_per_turn"].items():
                share = compute_turn_pauc(reference, scores, float(omega))
                assert share == pytest.approx(per_turn[number][turn], rel=1e-12, abs=1e-12)


@each_field_case(NAME, "verdicts.json")
def test_read_last_digit_score_equals_reference(case):
    assert read_last_digit_score(case["text"]) == case["score"]


@each_field_case(NAME, "areas.json")
def test_compute_area_share_equals_reference(case):
    share = compute_area_share([tuple(point) for point in case["points"]], case["span"], case["omega"])
    assert share == pytest.approx(case["ratio"], rel=1e-12, abs=1e-12)


@each_field_case(NAME, "rounds.json")
def test_count_replay_rounds_equals_reference(case):
    assert count_replay_rounds(case["duration"], case["last_reply_end"], case["fps"]) == case["rounds"]


# quirks, each by its smallest example


def question(*spans, question_id="q", **more):
    answer = [{"content": "gold", "related_timespan": list(s), "reply_timespan": list(s)} for s in spans or [(10, 30)]]
    conversation = [{"role": "user", "content": "What?", "time": 0}]
    return {"question_id": question_id, "video": "v", "conversation": conversation, "answer": answer, **more}


def record(time, text="a", answerable="Yes"):
    return {"video_span": [time - 1, time], "answerable": answerable, "model_response": text}


def score(questions, predictions, verdicts=None):
    annotations = make_proactivevideoqa_annotations(rows(questions))
    results = match_proactivevideoqa_rows(rows(predictions), annotations)
    return score_proactivevideoqa_replies(annotations.questions, results.replies, verdicts or {})


def predict(*records, question_id="q"):
    return {"question_id": question_id, "records": list(records)}


def test_score_proactivevideoqa_silence_is_25():
    assert set(score([question()], [predict()]).values.values()) == {25.0}
    assert set(score([question()], [predict(record(10))], {"q=0=10": "1", "q=0=10.0": "1"}).values.values()) == {0.0}


@pytest.mark.parametrize(
    ("verdict", "scores"),
    [
        ("2/3", (2, 1, 1)),
        ("0.3", (2, -1, None)),
        ("Score 3 (1 is worst)", (0, None, None)),
        ("10", (None, 0, 0)),
        ("4", (None, 3, None)),
        (" 3", (2, None, 2)),
        ("", (None, None, None)),
    ],
)
def test_score_rules_differ_by_verdict(verdict, scores):
    assert tuple(rule(verdict) for rule in SCORE_RULES.values()) == scores


def test_score_proactivevideoqa_empty_span():
    point = question((10, 10))
    answered = score([point], [predict(record(10))], {"q=0=10.0": "3"})
    silent = score([point], [predict()])
    assert (answered.values["omega=0.5"], silent.values["omega=0.5"]) == (0.0, 25.0)
    assert any("without length" in note for note in answered.notes)


def test_make_proactivevideoqa_annotations_last_row_of_id_counts():
    annotations = make_proactivevideoqa_annotations(rows([question((10, 30)), question((40, 60))]))
    assert [turn.reply for turn in annotations.questions[0].turns] == [(40, 60)]
    assert annotations.counts.refused == {"question that a later row with its id replaces": 1}
    assert find_proactivevideoqa_problems(annotations)[0].kind == "duplicate question id"


def test_score_proactivevideoqa_mean_is_over_turns():
    questions = [question((10, 30), (40, 60)), question((10, 30), question_id="r")]
    found = score(questions, [predict(), predict(record(10), question_id="r")], {"r=0=10.0": "3"})
    assert found.values["omega=0.5"] == pytest.approx((25 + 25 + 100) / 3)


def test_score_proactivevideoqa_unreadable_verdict_is_noted():
    found = score([question()], [predict(record(10))], {"q=0=10.0": "ten"})
    assert found.values["omega=0"] == 25.0
    assert found.count("failed") == 1
    assert any("without a readable verdict count as not said: 1 of 1" in note for note in found.notes)


def test_score_proactivevideoqa_without_verdicts_is_undefined():
    annotations = make_proactivevideoqa_annotations(rows([question()]))
    results = match_proactivevideoqa_rows(rows([predict(record(10))]), annotations)
    found = score_proactivevideoqa(annotations, results)
    assert set(found.values.values()) == {None}
    assert any("give an LLM judge" in note for note in found.notes)


@pytest.mark.parametrize(
    ("faulty", "reason"),
    [
        ("x", "record of another kind"),
        ({**record(10), "answerable": None}, "record whose 'answerable' is not a text"),
        ({**record(10), "model_response": ["a"]}, "reply that is not a text"),
        ({**record(10), "video_span": [9]}, "reply without a time"),
        ({"answerable": "yes", "model_response": "a"}, "reply without a time"),
    ],
)
def test_match_proactivevideoqa_rows_unscorable_record_is_counted(faulty, reason):
    annotations = make_proactivevideoqa_annotations(rows([question()]))
    results = match_proactivevideoqa_rows(rows([predict(faulty, record(11))]), annotations)
    assert len(results.replies["q"]) == 1
    assert results.counts.refused == {reason: 1}


@pytest.mark.parametrize(
    "silent", [record(10, answerable="No"), record(10, ""), record(10, None), record(10, answerable="Yes.")]
)
def test_match_proactivevideoqa_rows_record_without_answer_is_silence(silent):
    annotations = make_proactivevideoqa_annotations(rows([question()]))
    results = match_proactivevideoqa_rows(rows([predict(silent)]), annotations)
    assert results.replies == {"q": ()}
    assert results.counts.refused == {}


def test_score_proactivevideoqa_has_values_by_task(tmp_path):
    for task, name in (("EGO", "a"), ("TV", "b")):
        (tmp_path / task).mkdir()
        (tmp_path / task / "anno.json").write_text(json.dumps([question(question_id=name, new_key=1)]))
    benchmark = open_benchmark(NAME)
    annotations = benchmark.read_annotations(tmp_path)
    results = match_proactivevideoqa_rows(
        rows(
            [predict(record(10), question_id="a"), predict(question_id="b"), {"custom_id": "a=0=10.0", "content": "3"}]
        ),
        annotations,
    )
    values = benchmark.score(annotations, results).values
    assert (values["EGO/omega=0"], values["TV/omega=0"], values["omega=0"]) == (100.0, 25.0, 62.5)
    assert benchmark.score(annotations, benchmark.constants["silent"](annotations)).values["omega=1"] == 25.0


def test_make_proactivevideoqa_annotations_id_in_two_tasks_raises(tmp_path):
    for task in ("EGO", "TV"):
        (tmp_path / task).mkdir()
        (tmp_path / task / "anno.json").write_text(json.dumps([question()]))
    with pytest.raises(DataError, match="several tasks have the question ids q; give one task"):
        open_benchmark(NAME).read_annotations(tmp_path)


SCORES = st.lists(st.tuples(st.integers(0, 40), st.sampled_from([0, 1, 2])), max_size=6)


@given(SCORES, st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_compute_area_share_is_between_worst_and_best_reply(points, omega):
    share = compute_area_share([(time / 2, score) for time, score in points], 20.0, omega)
    assert 0 <= share <= 1
    if points:
        heights = [0.5, *(score for _, score in points)]
        assert min(heights) / 2 - 1e-12 <= share <= max(heights) / 2 + 1e-12


# the LLM judge


def judged_replies():
    annotations = make_proactivevideoqa_annotations(rows([question()]))
    results = match_proactivevideoqa_rows(
        rows([predict(record(11, "a"), record(12, "b"), record(13, "a"))]), annotations
    )
    return annotations.questions, results.replies


def test_judge_replies_requests_each_new_text_once(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    questions, replies = judged_replies()
    asked = []

    def ask(prompt):
        asked.append(prompt)
        return "2" if prompt.endswith("Predicted Answer: a") else "3"

    first = judge_proactivevideoqa_replies(questions, replies, ask, "one")
    assert first == {"q=0=11.0": "2", "q=0=12.0": "3"}
    assert "Ground Truth Answer: gold\nPredicted Answer: a b" in asked[1]
    assert judge_proactivevideoqa_replies(questions, replies, ask, "one") == first
    assert len(asked) == 2
    judge_proactivevideoqa_replies(questions, replies, ask, "another")
    judge_proactivevideoqa_replies(questions, replies, ask, "one", instruction="Grade from 1 to 3.")
    assert len(asked) == 6


def test_judge_replies_unreadable_reply_is_requested_again(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    questions, replies = judged_replies()

    def refuse(prompt):
        if prompt.endswith("Predicted Answer: a"):
            raise NoVerdictError("a content filter withheld the reply")
        return "I would say three"

    assert judge_proactivevideoqa_replies(questions, replies, refuse, "one") == {
        "q=0=11.0": "",
        "q=0=12.0": "I would say three",
    }
    again = judge_proactivevideoqa_replies(questions, replies, lambda prompt: "1", "one")
    assert set(again.values()) == {"1"}


def test_judge_replies_error_keeps_earlier_verdicts(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    questions, replies = judged_replies()
    asked = []

    def fail(prompt):
        asked.append(prompt)
        if len(asked) == 2:
            raise ConnectionError("gone")
        return "3"

    with pytest.raises(ConnectionError):
        judge_proactivevideoqa_replies(questions, replies, fail, "one")
    judge_proactivevideoqa_replies(questions, replies, fail, "one")
    assert len(asked) == 3


def test_compare_reply_judges_by_hand():
    first = {"a": "1", "b": "2", "c": "3", "d": "?", "e": "3"}
    second = {"a": "1", "b": "3", "c": "3", "d": "1", "f": "1"}
    found = compare_reply_judges(first, second)
    assert (found.compared, found.unreadable) == (3, 1)
    assert found.exact == pytest.approx(2 / 3)
    # scores (0, 1, 2) and (0, 2, 2): mean squared difference 1 / 3 observed, (8 + 3 + 4) / 9 over all pairs
    assert found.kappa == pytest.approx(1 - (1 / 3) / (15 / 9))


def test_compare_reply_judges_constant_scores_have_no_kappa():
    found = compare_reply_judges({"a": "1", "b": "1"}, {"a": "1", "b": "1"})
    assert (found.exact, found.kappa) == (1.0, None)
    assert compare_reply_judges({"a": "?"}, {"a": "1"}).exact is None


# readers


def test_read_proactivevideoqa_results_each_file_type(tmp_path):
    annotations = make_proactivevideoqa_annotations(rows([question()]))
    expected = {"q": (10.0,)}

    def times(name, text):
        file = tmp_path / name
        file.write_text(text)
        results = read_proactivevideoqa_results([file], annotations)
        return {question_id: tuple(reply.time for reply in replies) for question_id, replies in results.replies.items()}

    prediction = predict(record(10))
    assert times("a.json", json.dumps([prediction])) == expected
    assert times("b.jsonl", json.dumps(prediction) + "\n") == expected
    assert times("c.jsonl", json.dumps({"question_id": "q", **record(10)}) + "\n") == expected
    cell = json.dumps(prediction).replace('"', '""')
    assert times("d.tsv", f'index\tquestion_id\tprediction\n0\tq\t"{cell}"\n') == expected
    assert times("e.csv", f'question_id,prediction\nq,"{cell}"\nq,broken\n') == expected


def test_read_proactivevideoqa_results_large_cell(tmp_path):
    annotations = make_proactivevideoqa_annotations(rows([question()]))
    records = [record(10 + number / 1000, "word " * 20) for number in range(2000)]
    cell = json.dumps(predict(*records)).replace('"', '""')
    file = tmp_path / "big.tsv"
    file.write_text(f'question_id\tprediction\nq\t"{cell}"\n')
    assert len(read_proactivevideoqa_results([file], annotations).replies["q"]) == 2000


def test_read_proactivevideoqa_results_both_forms_of_verdicts(tmp_path):
    annotations = make_proactivevideoqa_annotations(rows([question()]))
    batch = {"custom_id": "b", "response": {"body": {"choices": [{"message": {"content": "2"}}]}}}
    file = tmp_path / "judge.jsonl"
    file.write_text("\n".join(map(json.dumps, [{"custom_id": "a", "content": "3"}, batch, {"custom_id": "c"}])))
    assert read_proactivevideoqa_results([file], annotations).verdicts == {"a": "3", "b": "2", "c": ""}


@pytest.mark.parametrize(
    ("name", "text"), [("a.json", "[]"), ("a.json", '{"x": 1}'), ("a.tsv", "a\tb\n1\t2\n"), ("a.xlsx", "")]
)
def test_read_proactivevideoqa_results_other_file_raises(tmp_path, name, text):
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(DataError, match=r"no ProactiveVideoQA predictions|a spreadsheet") as error:
        read_proactivevideoqa_results([file], make_proactivevideoqa_annotations(rows([question()])))
    assert "\n" not in str(error.value)


def test_match_proactivevideoqa_rows_of_one_question_are_joined():
    annotations = make_proactivevideoqa_annotations(rows([question()]))
    twice = match_proactivevideoqa_rows(rows([predict(record(10)), predict(record(11))]), annotations)
    assert len(twice.replies["q"]) == 2
    assert any("several rows" in note for note in score_proactivevideoqa(annotations, twice).notes)
    flat = [{"question_id": "q", **record(time)} for time in (10, 11)]
    assert match_proactivevideoqa_rows(rows(flat), annotations).notes == ()


def test_match_proactivevideoqa_rows_unknown_question_is_refused():
    annotations = make_proactivevideoqa_annotations(rows([question()]))
    results = match_proactivevideoqa_rows(rows([predict(record(10), question_id="z"), {"a": 1}]), annotations)
    assert results.counts.refused == {"predictions of an unknown question": 1, "row of another kind": 1}


def test_find_proactivevideoqa_problems_names_each_fault():
    first = question((10, 30), (20, 20), (5, 8), duration=9.0)
    first["answer"][0]["content"] = "what"
    first["answer"][1]["content"] = None
    first["answer"][2]["related_timespan"] = [1, 2]
    empty = {**question(question_id="r"), "answer": [], "conversation": []}
    broken = {**question(question_id="s"), "answer": [{"content": "a"}]}
    annotations = make_proactivevideoqa_annotations(rows([first, empty, broken, {"answer": []}]))
    kinds = {problem.kind for problem in find_proactivevideoqa_problems(annotations)}
    assert kinds == {
        "answer in its question",
        "null answer",
        "reply span without length",
        "reply span outside the video",
        "related span outside the reply span",
        "reply spans overlap",
        "turns out of order",
        "question without answers",
        "question without text",
    }
    assert annotations.counts.refused == {
        "question with an answer without a reply span": 1,
        "row without a question id": 1,
    }
