"""StreamingBench, multiple choice: readers, formula, episodes and records, on small invented questions."""

from __future__ import annotations

import json

import pytest

from prospect_core.records import ReplayProtocol
from prospect_core.util.errors import DataError, UserError
from prospect_eval.suites.episode_window import AFTER_END
from prospect_eval.suites.streamingbench_choices.annotations import (
    read_choice_options,
    read_streaming_choice_annotations,
)
from prospect_eval.suites.streamingbench_choices.benchmark import BENCHMARK
from prospect_eval.suites.streamingbench_choices.episodes import make_streaming_choice_episodes
from prospect_eval.suites.streamingbench_choices.official import score_streaming_choices
from prospect_eval.suites.streamingbench_choices.records import (
    score_streaming_choice_records,
    streaming_choice_constants_of_records,
)
from prospect_eval.suites.streamingbench_choices.results import read_streaming_choice_results
from prospect_eval.suites.suite import open_suite
from tests.helpers.replayed_benchmarks import (
    KnownLengths,
    answering_record,
    assert_sound,
    failed_record,
    oracle_records,
    run_oracle,
    write_tiny_videos,
)

PROTOCOLS = open_suite("streamingbench_choices").protocols
ONE_PASS, OFFICIAL = PROTOCOLS["one_pass"], PROTOCOLS["official"]


def ask(question, clock, answer, options=("A. x", "B. y", "C. z", "D. w"), task="Object Perception", **changes):
    asked = {"task_type": task, "question": question, "time_stamp": clock, "answer": answer, "options": list(options)}
    return {**asked, **changes}


def entry(video, *questions):
    return {"time": "[0:00:00 - 0:01:00]", "video_path": f"./{video}.mp4", "questions": list(questions)}


REAL = [
    entry("a", ask("What is it?", "00:01:20", "B"), ask("Who is it?", "00:00:10", "A. x", task="Counting")),
    entry("b", ask("Where is it?", "00:00:05", "D", ("x", "y", "z", "the longest one"))),
]
WON = ask("Who won?", "00:00:12", "B", task="SQA") | {"options": "['A. Ann', 'B. Bo']"}
SQA = [[entry("c", ask("Who serves?", "00:00:06", "A", ("Ann", "Bo"), task="SQA")), entry("c", WON)]]


@pytest.fixture
def root(tmp_path):
    (tmp_path / "questions_real.json").write_text(json.dumps(REAL), "utf-8")
    (tmp_path / "questions_sqa.json").write_text(json.dumps(SQA), "utf-8")
    return tmp_path


@pytest.fixture
def annotations(root):
    return read_streaming_choice_annotations(root)


def test_annotations_of_all_parts_are_read(annotations):
    assert annotations.counts.read == {"real": 3, "sqa": 2}
    read = [(q.id, q.time, q.answer, q.options, q.sequence) for q in annotations.questions]
    assert read == [
        ("real.0.0", 80, "B", ("x", "y", "z", "w"), ""),
        ("real.0.1", 10, "A", ("x", "y", "z", "w"), ""),
        ("real.1.0", 5, "D", ("x", "y", "z", "the longest one"), ""),
        ("sqa.0.0.0", 6, "A", ("Ann", "Bo"), "sqa.0"),
        ("sqa.0.1.0", 12, "B", ("Ann", "Bo"), "sqa.0"),
    ]


@pytest.mark.parametrize(
    ("value", "options"),
    [
        (["A. x", "B. y"], ("x", "y")),
        (["A.x", "B.y"], ("x", "y")),
        (["A) x", "B) y"], ("x", "y")),
        (["x", "y"], ("x", "y")),
        (["A. x", "y"], ("A. x", "y")),
        (["B. x", "A. y"], ("B. x", "A. y")),
        ("['A. x', 'B. y']", ("x", "y")),
        ("no list", None),
        (["x"], None),
        ([1, 2], None),
        (None, None),
    ],
)
def test_read_choice_options(value, options):
    assert read_choice_options(value) == options


def test_annotations_keys_of_other_names_are_read(tmp_path):
    asked = ask("What?", "00:00:05", "(C)")
    asked["timestamp"] = asked.pop("time_stamp")
    file = tmp_path / "questions_omni.json"
    file.write_text(json.dumps([{"video": "v.mp4", "questions": [asked]}]), "utf-8")
    (question,) = read_streaming_choice_annotations(file).questions
    assert (question.part, question.video, question.time, question.answer) == ("omni", "v.mp4", 5, "C")


def test_annotations_refused_questions_are_counted(tmp_path):
    good = ask("What?", "00:00:05", "A")
    bad = [
        good, {**good, "answer": "E"}, {**good, "options": None}, {**good, "time_stamp": "soon"}, {"question": "x"}, 7,
    ]  # fmt: skip
    file = tmp_path / "questions_real.json"
    entries = [{"video_path": "v", "questions": [good, *bad]}, 3, {"questions": [good]}, {"video_path": "v"}]
    file.write_text(json.dumps(entries), "utf-8")
    counts = read_streaming_choice_annotations(file).counts
    assert counts.read == {"real": 1}
    assert counts.refused == {
        "the same video, text and time as an earlier question": 1,
        "the answer is not the letter of an option": 1,
        "the question has no options": 1,
        "the time stamp is no clock time": 1,
        "the question has no text or no time stamp": 1,
        "the question is not an object": 1,
        "the entry has no list questions": 2,
        "the entry names no video": 1,
    }


@pytest.mark.parametrize("content", ["[]", "{}", "[1]", "not json"])
def test_annotations_of_another_kind_are_one_line(tmp_path, content):
    file = tmp_path / "questions_real.json"
    file.write_text(content)
    with pytest.raises(DataError) as caught:
        read_streaming_choice_annotations(file)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="holds none of"):
        read_streaming_choice_annotations(tmp_path / "..")


def results(tmp_path, real, sqa, **changes):
    """A file with these responses to the questions of REAL and one with those to SQA."""
    for name, entries, given in (("real", REAL, real), ("sqa", SQA, sqa)):
        copied = json.loads(json.dumps(entries))
        flat = [e for part in copied for e in (part if isinstance(part, list) else [part])]
        asked = [question for e in flat for question in e["questions"]]
        for question, response in zip(asked, given, strict=True):
            question.update({} if response is ... else {"m": response}, **changes)
        (tmp_path / f"{name}_output.json").write_text(json.dumps(copied), "utf-8")
    return [tmp_path / "real_output.json", tmp_path / "sqa_output.json"]


def test_first_character_of_the_response_counts(annotations, tmp_path):
    paths = results(tmp_path, ["Because", " A", "D. it"], ["A", "(B)"])
    score = score_streaming_choices(annotations, read_streaming_choice_results(paths, annotations))
    assert score.values == {
        "real": 2 / 3, "real.Object Perception": 1.0, "real.Counting": 0.0, "omni": None, "sqa": 0.5, "sqa.SQA": 0.5,
    }  # fmt: skip


def test_empty_responses_are_wrong_in_real_and_left_out_in_sqa(annotations, tmp_path):
    paths = results(tmp_path, ["", None, ...], ["A", ""])
    score = score_streaming_choices(annotations, read_streaming_choice_results(paths, annotations))
    assert (score.values["real"], score.values["sqa"]) == (0.0, 1.0)
    assert (score.count("failed"), score.count("missing"), score.count("scored")) == (3, 1, 1)
    assert "null or empty responses in real, counted as wrong; the published counter stops: 2" in score.notes
    assert "null or empty responses in sqa, left out: 1" in score.notes


def test_results_model_is_found_or_asked_for(annotations, tmp_path):
    paths = results(tmp_path, ["B"] * 3, ["A"] * 2, other="C")
    with pytest.raises(UserError, match="holds several models; name one of"):
        read_streaming_choice_results(paths, annotations)
    with pytest.raises(UserError, match="no question has the model key 'answer'"):
        read_streaming_choice_results(paths, annotations, "answer")
    assert read_streaming_choice_results(paths, annotations, "m").rows[0].response == "B"


def test_problems_name_repeated_and_empty_options_and_the_order_of_sequences(tmp_path):
    first, second = ask("One?", "00:00:09", "A", ("x", "x")), ask("Two?", "00:00:03", "A", ("x", " "))
    file = tmp_path / "questions_sqa.json"
    file.write_text(json.dumps([[entry("v", first), entry("v", second)]]), "utf-8")
    found = BENCHMARK.find_problems(read_streaming_choice_annotations(file))
    assert [(problem.id, problem.kind) for problem in found] == [
        ("sqa.0.0.0", "an option is listed twice"),
        ("sqa.0.1.0", "an option is empty"),
        ("sqa.0.1.0", "the questions of a sequence are not in the order of time"),
    ]


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))
def test_oracle_reaches_the_best_values(annotations, protocol):
    made = make_streaming_choice_episodes(annotations, protocol, KnownLengths())
    assert_sound(made.episodes)
    score = score_streaming_choice_records(annotations, oracle_records(made.episodes, protocol))
    assert (score.values["real"], score.values["sqa"], score.values["omni"]) == (1.0, 1.0, None)


def polls_of(annotations, protocol):
    made = make_streaming_choice_episodes(annotations, protocol, KnownLengths())
    return {poll.id: poll for episode in made.episodes for poll in episode.polls}


def test_polls_stand_at_the_time_stamps_with_their_choices(annotations):
    polls = polls_of(annotations, OFFICIAL)
    assert [(p.time, p.clip_start) for p in (polls["real.0.1"], polls["real.0.0"])] == [(10, 0.0), (80, 20.0)]
    assert (polls["real.1.0"].choices[3], polls["real.1.0"].accepted) == ("the longest one", ("D",))


def test_sequential_polls_stay_in_the_stream_or_list_the_right_answers(annotations):
    own, gold = polls_of(annotations, ONE_PASS), polls_of(annotations, OFFICIAL)
    assert [own[f"sqa.0.{k}.0"].history for k in (0, 1)] == ["cumulative", "cumulative"]
    assert own["real.0.0"].history == "isolated"
    assert gold["sqa.0.1.0"].history == "isolated"
    assert "Answer: A" in gold["sqa.0.1.0"].question
    assert "Answer: A" not in own["sqa.0.1.0"].question
    assert gold["sqa.0.0.0"].question.startswith("Who serves?")


def test_question_after_the_end_of_its_video_is_refused(annotations):
    made = make_streaming_choice_episodes(annotations, ONE_PASS, KnownLengths(1, {"./a.mp4": 30}))
    assert made.refused == {"real.0.0": AFTER_END}


def test_autonomous_protocol_is_refused(annotations):
    with pytest.raises(UserError, match="cannot be autonomous"):
        make_streaming_choice_episodes(annotations, ReplayProtocol(), KnownLengths())


def test_records_are_scored_over_the_held_questions(annotations):
    made = {e.id: e for e in make_streaming_choice_episodes(annotations, ONE_PASS, KnownLengths()).episodes}
    records = [answering_record(made["b"], ONE_PASS, lambda poll: "D."), failed_record(made["c"], ONE_PASS)]
    score = score_streaming_choice_records(annotations, records)
    assert (score.values["real"], score.values["sqa"]) == (1.0, None)
    assert (score.count("scored"), score.count("failed"), score.count("missing")) == (1, 2, 0)
    constants = streaming_choice_constants_of_records(annotations, records)
    assert (constants["letter_A"].values["real"], constants["longest_option"].values["real"]) == (0.0, 1.0)
    assert constants["letter_A"].values["sqa"] == 0.5


@pytest.mark.integration
@pytest.mark.slow
def test_run_of_the_oracle_writes_official_values(root):
    write_tiny_videos(root, {"b.mp4": 12, "c.mp4": 20})
    official = run_oracle("streamingbench_choices", root, root / "run", "--limit", 2, "--on-missing", "skip")
    assert (official["missing_videos"], official["counts"]["scored"]) == (1, 3)
    assert (official["values"]["real"]["value"], official["values"]["sqa"]["value"]) == (1.0, 1.0)
