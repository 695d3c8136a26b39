"""StreamingBench, Proactive Output: readers, formula, quirks, polling loop and faults, on small invented questions."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prospect_core.util.errors import DataError, UserError
from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.streamingbench.annotations import (
    ProactiveAnnotations,
    ProactiveOutputQuestion,
    read_clock,
    read_proactive_annotations,
)
from prospect_eval.suites.streamingbench.benchmark import BENCHMARK
from prospect_eval.suites.streamingbench.official import is_answer_right, is_time_right, score_streamingbench
from prospect_eval.suites.streamingbench.polling import find_requested_output, play_polling, wait_and_output
from prospect_eval.suites.streamingbench.problems import compare_outputs
from prospect_eval.suites.streamingbench.results import LastTurn, ProactiveResults, ProactiveRow, read_proactive_results


def make_fields(ask="00:00:10", gold="00:00:20", output="40", **changes):
    fields = {
        "task_type": "Proactive Output", "question": f'When it shows, output "{output}".', "time_stamp": ask,
        "ground_truth_time_stamp": gold, "ground_truth_output": output, "required_ability": "memory",
    }  # fmt: skip
    return {**fields, **changes}


def make_entry(*questions, **changes):
    return {"time": "[0:00:05 - 0:00:25]", "questions": list(questions), "video_path": "./v.mp4", **changes}


def history(*turns):
    return {"answered": False, "dialog_history": [{"role": r, "content": c, "time": t, "cost": 0} for r, c, t in turns]}


@pytest.fixture
def write(tmp_path):
    def write_file(*entries, name="questions_proactive.json"):
        file = tmp_path / name
        file.write_text(json.dumps(entries))
        return file

    return write_file


@pytest.fixture
def score(write):
    def score_file(*questions, model="m"):
        file = write(make_entry(*questions))
        annotations = read_proactive_annotations(file)
        return score_streamingbench(annotations, read_proactive_results([file], annotations, model))

    return score_file


@pytest.mark.parametrize(("text", "seconds"), [("00:12:29", 749), ("0:01:50", 110), ("12:29", 749), ("01:00:00", 3600)])
def test_read_clock_by_hand(text, seconds):
    assert read_clock(text) == seconds


def test_read_clock_of_more_than_a_day_raises():
    assert read_clock("24:00:00") == 24 * 3600
    with pytest.raises(ValueError, match="more than a day"):
        read_clock("24:00:01")


def test_window_of_more_than_a_day_is_none(tmp_path):
    asked = {"question": "Say x.", "time_stamp": "0:01", "ground_truth_time_stamp": "0:05", "ground_truth_output": "x"}
    entry = {"video_path": "v.mp4", "time": "[99:00:00 - 99:00:10]", "questions": [asked]}
    file = tmp_path / "questions_proactive.json"
    file.write_text(json.dumps([entry]), "utf-8")
    (question,) = read_proactive_annotations(file).questions
    assert question.window is None


@pytest.mark.parametrize(
    ("time", "right"),
    [(18, True), (22, True), (17, False), (23, False), (22.0001, False), (17.9999, False), (20.5, True)],
)
def test_is_time_right_within_two_seconds(time, right):
    assert is_time_right(LastTurn(time, "x"), 20) is right


@pytest.mark.parametrize(
    ("text", "output", "right"),
    [
        ("40", "40", True),
        ("1407", "40", True),
        ("red", "Red", False),
        ("", "40", False),
        ("x", "", True),
        (None, "", False),
    ],
)
def test_is_answer_right_contains_output(text, output, right):
    assert is_answer_right(LastTurn(20, text), 20, output) is right
    assert not is_answer_right(LastTurn(30, text), 20, output)


def test_score_streamingbench_only_last_turn_counts(score):
    found = score(make_fields(m=history(("assistant", "nothing", 12), ("assistant", "40", 21))))
    assert found.values == {"time_accuracy": 1.0, "answer_accuracy": 1.0}


def test_score_streamingbench_last_user_turn_is_noted(score):
    found = score(make_fields(m=history(("user", "output 40", 20))))
    assert found.values["answer_accuracy"] == 1.0
    assert "histories that end with a turn of the user, scored all the same: 1" in found.notes


def test_score_streamingbench_no_at_gold_time_has_correct_time(score):
    assert score(make_fields(m=history(("assistant", "No, not yet 40", 20)))).values["answer_accuracy"] == 1.0


def test_score_streamingbench_question_without_key_is_not_counted(score):
    found = score(make_fields(m=history(("assistant", "40", 20))), make_fields("00:00:30", "00:00:40"))
    assert found.values["time_accuracy"] == 1.0
    assert found.count("missing") == 1
    assert "questions without the key m, left out: 1 (0.1)" in found.notes


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "null"),
        ({"dialog_history": []}, "empty history"),
        ({"dialog_history": None}, "unreadable"),
        ({"dialog_history": [{"content": "40"}]}, "unreadable"),
        ({"dialog_history": ["40"]}, "unreadable"),
        ({}, "unreadable"),
    ],
)
def test_score_streamingbench_unscorable_history_is_wrong(score, value, reason):
    found = score(make_fields(m=value), make_fields("00:00:30", "00:00:40", m=history(("assistant", "40", 40))))
    assert found.values == {"time_accuracy": 0.5, "answer_accuracy": 0.5}
    assert found.count("failed") == 1
    assert f"histories on which the published scorer stops, counted as wrong ({reason}): 1" in found.notes


def test_score_streamingbench_empty_last_turn_scores_only_time(score):
    found = score(make_fields(m=history(("assistant", None, 20))))
    assert found.values == {"time_accuracy": 1.0, "answer_accuracy": 0.0}
    assert "last turns without text, wrong in their answer: 1" in found.notes


def test_score_streamingbench_other_task_type_has_own_values(score):
    found = score(make_fields(m=history(("assistant", "40", 90)), task_type="Other"))
    assert found.values["Other.time_accuracy"] == 0.0
    assert found.values["time_accuracy"] is None


def test_score_streamingbench_gold_of_results_is_noted(write):
    annotations = read_proactive_annotations(write(make_entry(make_fields())))
    file = write(make_entry(make_fields(gold="00:00:30", m=history(("assistant", "40", 30)))), name="r.json")
    found = score_streamingbench(annotations, read_proactive_results([file], annotations))
    assert found.values["answer_accuracy"] == 1.0
    assert "questions whose gold is not the annotation's, scored as they stand: 1 (0.0)" in found.notes


def test_score_streamingbench_other_questions_are_noted(write):
    annotations = read_proactive_annotations(write(make_entry(make_fields(), make_fields("00:01:10", "00:01:20"))))
    asked = make_fields(m=history(("assistant", "40", 20)))
    unknown = make_fields("00:02:10", "00:02:20", m=history(("assistant", "40", 20)))
    file = write(make_entry(asked), make_entry(asked, unknown), name="r.json")
    found = score_streamingbench(annotations, read_proactive_results([file], annotations))
    assert [(item.id, item.status) for item in found.items] == [
        ("0.0", "scored"),
        ("0.0#2", "scored"),
        ("unknown 1.1", "scored"),
        ("0.1", "missing"),
    ]
    assert found.values["time_accuracy"] == pytest.approx(2 / 3)
    assert "questions that the files lack, left out: 1 (0.1)" in found.notes
    assert "questions that the annotations lack, scored as they stand: 1 (1.1)" in found.notes
    assert "questions of several rows, all scored: 1 (0.0)" in found.notes


def test_read_proactive_results_model_is_found_or_required(write):
    one = write(make_entry(make_fields(m=history(("assistant", "40", 20)))), name="one.json")
    assert read_proactive_results([one], ANNOTATIONS).model == "m"
    two = write(make_entry(make_fields(first=history(), second=history())), name="two.json")
    with pytest.raises(UserError, match="holds several models; name one of first, second"):
        read_proactive_results([two], ANNOTATIONS)
    with pytest.raises(UserError, match=r"no question has the model key 'secnd'.*did you mean 'second'"):
        read_proactive_results([two], ANNOTATIONS, "secnd")
    with pytest.raises(UserError, match="no question has the model key 'question'"):
        read_proactive_results([two], ANNOTATIONS, "question")
    none = write(make_entry(make_fields()), name="none.json")
    with pytest.raises(DataError, match="no question has a dialog_history"):
        read_proactive_results([none], ANNOTATIONS)


@pytest.mark.parametrize("content", ["{}", "[]", "[1]", '[{"video_path": "v"}]', "not json"])
def test_read_proactive_results_other_file_raises(tmp_path, content):
    file = tmp_path / "x.json"
    file.write_text(content)
    with pytest.raises(DataError) as caught:
        read_proactive_results([file], ANNOTATIONS)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_read_proactive_annotations_refused_entries_are_counted(write):
    good = make_entry(make_fields(), {**make_fields(), "extra": 1}, {"question": "x"}, make_fields(ask="soon"))
    found = read_proactive_annotations(write(good, {"video_path": "v"}, {"questions": []}, 7))
    assert found.counts.read == {"entries": 4, "questions": 1}
    assert sum(found.counts.refused.values()) == 6
    assert found.counts.refused["question: the same video, text and time as an earlier one"] == 1
    assert found.counts.refused["question: a time stamp is no clock time"] == 1


def question_of(ask=10, gold=20, output="40", text='output "40".', window=None):
    return ProactiveOutputQuestion("0.0", "v", "Proactive Output", text, ask, gold, output, window)


ANNOTATIONS = ProactiveAnnotations((question_of(),), ReadCounts({}))


def test_play_polling_ends_four_seconds_after_gold():
    dialog = play_polling(question_of(), lambda now: "No", lambda now: "40")
    assert (dialog.polls, dialog.answered, dialog.turn.time) == (14, None, 24)


def test_play_polling_yes_in_other_word_ends():
    dialog = play_polling(question_of(), lambda now: "No, yesterday", lambda now: "40")
    assert (dialog.polls, dialog.answered, dialog.turn) == (1, 11, LastTurn(11, "40"))


def test_play_polling_gold_before_question_has_empty_history():
    assert play_polling(question_of(gold=5), lambda now: "Yes", lambda now: "").turn is None


def test_wait_and_output_prints_requested_output():
    dialog = wait_and_output(question_of(), 7)
    assert (dialog.answered, dialog.turn.text) == (17, "40")
    assert wait_and_output(question_of(), 7, "other").turn.text == "other"
    assert wait_and_output(question_of(), 30).answered is None


@pytest.mark.parametrize("name", sorted(BENCHMARK.constants))
def test_streamingbench_constants_answer_every_question(name):
    score = BENCHMARK.score(ANNOTATIONS, BENCHMARK.constants[name](ANNOTATIONS))
    assert score.count("scored") == 1


@pytest.mark.parametrize(
    ("question", "output"),
    [
        ('When "5 AD" shows later, output "Fils Break Point".', "Fils Break Point"),
        ("When O'Sullivan scores, output 'AD'.", "AD"),
        ('When it ends, output "5."', "5."),
        ("When R. O'Sullivan's score changes, output \"24\".", "24"),
        ("Describe the scene.", None),
        ("When it ends, output the score.", None),
    ],
)
def test_find_requested_output_by_hand(question, output):
    assert find_requested_output(question) == output


@pytest.mark.parametrize(
    ("requested", "gold", "kind"),
    [
        ("40", "40", "equal"),
        ("5.", "5", "only a full stop or case"),
        ("Cue Ball", "cue ball", "only a full stop or case"),
        ("Nadal wins this point", "Nadal wins thi point", "spelling"),
        ("113", "1113", "contradicts"),
        ("Black Strike", "Yellow Strike", "contradicts"),
        ("Score for player 1 is up", "Score for player 2 is up", "contradicts"),
    ],
)
def test_compare_outputs_by_hand(requested, gold, kind):
    assert compare_outputs(requested, gold) == kind


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        (question_of(text="Tell me."), "the question quotes no output"),
        (question_of(output="50"), "contradicts"),
        (question_of(), "the question holds the gold output"),
    ],
)
def test_streamingbench_problems_name_output_fault(question, kind):
    found = BENCHMARK.find_problems(ProactiveAnnotations((question,), ReadCounts({})))
    assert [problem.kind for problem in found] == [kind]


def test_streamingbench_problems_name_time_faults():
    found = BENCHMARK.find_problems(ProactiveAnnotations((question_of(gold=10, window=(11, 30)),), ReadCounts({})))
    by_kind = {problem.kind: problem.text for problem in found}
    assert by_kind["a time lies outside the entry's window"] == "outside 11 to 30 s: ask time 10 s, gold time 10 s"
    assert "gold time is not after the ask time" in by_kind


TURNS = st.one_of(st.none(), st.tuples(st.integers(14, 26), st.sampled_from(["40", "1407", "4", ""])))


@given(st.lists(TURNS, min_size=1, max_size=8))
def test_score_streamingbench_equals_plain_transcription(turns):
    rows = []
    for turn in turns:
        last = None if turn is None else LastTurn(*turn)
        rows.append(ProactiveRow(question_of(), last, "null" if turn is None else "read"))
    values = score_streamingbench(ANNOTATIONS, ProactiveResults("m", tuple(rows))).values
    near = [turn for turn in turns if turn is not None and abs(turn[0] - 20) <= 2]
    assert values["time_accuracy"] == pytest.approx(len(near) / len(turns))
    assert values["answer_accuracy"] == pytest.approx(sum("40" in text for _, text in near) / len(turns))
