"""StreamingBench, Proactive Output, as episodes, and records of them as its own results, on small invented questions."""

from __future__ import annotations

import json

import pytest

from prospect_core.records import ReplayProtocol
from prospect_core.util.errors import UserError
from prospect_eval.suites.episode_window import AFTER_END
from prospect_eval.suites.streamingbench.annotations import read_proactive_annotations
from prospect_eval.suites.streamingbench.episodes import make_streamingbench_episodes
from prospect_eval.suites.streamingbench.records import (
    read_streamingbench_records,
    score_streamingbench_records,
    select_held_questions,
    streamingbench_constants_of_records,
)
from prospect_eval.suites.streamingbench.results import LastTurn
from prospect_eval.suites.suite import open_suite
from tests.helpers.replayed_benchmarks import (
    KnownLengths,
    answering_record,
    assert_sound,
    failed_record,
    oracle_records,
    run_oracle,
    speaking_record,
    write_tiny_videos,
)

PROTOCOLS = open_suite("streamingbench").protocols
AUTONOMOUS, POLLED, OFFICIAL = PROTOCOLS["autonomous"], PROTOCOLS["polled"], PROTOCOLS["official"]


def fields(ask, gold, output="40", question=None):
    return {
        "question": question or f'When it shows {output}, output "{output}".', "time_stamp": f"00:00:{ask:02}",
        "ground_truth_time_stamp": f"00:00:{gold:02}", "ground_truth_output": output,
        "task_type": "Proactive Output",
    }  # fmt: skip


@pytest.fixture
def annotations(tmp_path):
    entries = [
        {"video_path": "./videos/a.mp4", "questions": [fields(3, 7), fields(10, 12, "goal")]},
        {"video_path": "./videos/b.mp4", "questions": [fields(5, 6)]},
    ]
    file = tmp_path / "questions_proactive.json"
    file.write_text(json.dumps(entries), "utf-8")
    return read_proactive_annotations(file)


def by_id(made):
    return {episode.id: episode for episode in made.episodes}


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))
def test_episodes_are_sound_under_each_protocol(annotations, protocol):
    made = make_streamingbench_episodes(annotations, protocol, KnownLengths())
    assert_sound(made.episodes)
    assert made.refused == {}


def test_polls_go_from_one_second_after_the_question_to_four_after_the_gold_time(annotations):
    episode = by_id(make_streamingbench_episodes(annotations, OFFICIAL, KnownLengths()))["videos/a"]
    first = [poll for poll in episode.polls if poll.meta["item"] == "0.0" and poll.meta["part"] == "poll"]
    assert [poll.time for poll in first] == [4, 5, 6, 7, 8, 9, 10, 11]
    assert [poll.accepted[0] for poll in first] == ["No", "Yes", "Yes", "Yes", "Yes", "Yes", "No", "No"]
    assert {(poll.clip_start, poll.history) for poll in first} == {(3, "isolated")}
    assert 'output "40"? Answer' in first[0].question
    outputs = [poll for poll in episode.polls if poll.meta["item"] == "0.0" and poll.meta["part"] == "output"]
    assert [poll.time for poll in outputs] == [poll.time for poll in first]
    assert {poll.question for poll in outputs} == {'When it shows 40, output "40".'}
    assert [poll.accepted for poll in outputs] == [(), *[("40",)] * 5, (), ()]
    assert (episode.start_frame, episode.end_frame) == (3, 17)


def test_poll_names_the_gold_output_only_where_the_protocol_reveals_it(annotations):
    for protocol, named in ((OFFICIAL, True), (POLLED, False)):
        made = by_id(make_streamingbench_episodes(annotations, protocol, KnownLengths()))
        asked = next(p for p in made["videos/b"].polls if p.meta["part"] == "poll").question
        assert ('time to output "40"?' in asked) is named


def test_polls_of_the_whole_video_end_with_it(annotations):
    protocol = ReplayProtocol("polled")
    made = by_id(make_streamingbench_episodes(annotations, protocol, KnownLengths(1, {"./videos/b.mp4": 31})))
    assert [p.time for p in made["videos/b"].polls if p.meta["part"] == "poll"] == list(range(6, 31))
    assert (made["videos/b"].start_frame, made["videos/b"].end_frame) == (0, 31)


def test_autonomous_question_stays_open_over_the_whole_video(annotations):
    made = by_id(make_streamingbench_episodes(annotations, AUTONOMOUS, KnownLengths(1, {"./videos/a.mp4": 40})))
    assert sorted(made) == ["videos/a-0.0", "videos/a-0.1", "videos/b-1.0"]
    question, answer = made["videos/a-0.0"].events
    assert (question.time, question.open_until) == (3.0, 40.0)
    assert (answer.time, answer.text, answer.reply_span, answer.group) == (7.0, "40", (5, 9.0), "0.0")
    assert (made["videos/a-0.0"].start_frame, made["videos/a-0.0"].end_frame) == (0, 40)
    official = ReplayProtocol(horizon="official")
    window = by_id(make_streamingbench_episodes(annotations, official, KnownLengths()))["videos/a-0.0"]
    assert (window.start_frame, window.end_frame) == (3, 12)


def test_question_time_start_asks_at_zero(annotations):
    standing = make_streamingbench_episodes(annotations, ReplayProtocol(question_time="start"), KnownLengths())
    assert standing.episodes[0].events[0].time == 0.0
    polled = ReplayProtocol("polled", horizon="official", question_time="start")
    made = by_id(make_streamingbench_episodes(annotations, polled, KnownLengths()))
    assert [p.time for p in made["videos/b"].polls if p.meta["part"] == "poll"] == list(range(1, 11))


def test_question_that_the_video_cannot_hold_is_refused(annotations):
    made = make_streamingbench_episodes(annotations, OFFICIAL, KnownLengths(1, {"./videos/a.mp4": 9}))
    assert made.refused == {"0.1": AFTER_END}
    assert_sound(made.episodes)
    last = by_id(made)["videos/a"].polls[-1]
    assert (last.time, last.meta["second"]) == (9, "11")


def test_chunked_protocol_is_refused(annotations):
    with pytest.raises(UserError, match="no candidate intervals"):
        make_streamingbench_episodes(annotations, ReplayProtocol("chunked"), KnownLengths())


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))
def test_oracle_reaches_the_best_values(annotations, protocol):
    made = make_streamingbench_episodes(annotations, protocol, KnownLengths())
    score = score_streamingbench_records(annotations, oracle_records(made.episodes, protocol))
    assert score.values == {"time_accuracy": 1.0, "answer_accuracy": 1.0}
    assert score.count("scored") == 3


def turns(annotations, records):
    held = select_held_questions(annotations, records)
    return {row.question.id: row.turn for row in read_streamingbench_records(held, records).rows}


def test_first_yes_ends_the_polling_and_the_output_of_its_second_counts(annotations):
    given = {"0.0@4": "no", "0.0@5": "No, yesterday", "0.0@5.output": "forty", "0.0@6": "yes", "0.0@6.output": "40"}
    made = make_streamingbench_episodes(annotations, OFFICIAL, KnownLengths())
    records = [answering_record(episode, OFFICIAL, lambda p: given.get(p.id, "No")) for episode in made.episodes]
    assert turns(annotations, records) == {
        "0.0": LastTurn(5, "forty"),
        "0.1": LastTurn(16, "No"),
        "1.0": LastTurn(10, "No"),
    }
    assert score_streamingbench_records(annotations, records).values == {"time_accuracy": 1 / 3, "answer_accuracy": 0}


def test_first_utterance_after_the_question_is_the_output(annotations):
    episode = by_id(make_streamingbench_episodes(annotations, AUTONOMOUS, KnownLengths()))["videos/a-0.0"]
    said = {2: "hello", 3: "with the question", 6: "It is 40.", 7: "41"}
    assert turns(annotations, [speaking_record(episode, AUTONOMOUS, said)]) == {"0.0": LastTurn(6.0, "It is 40.")}
    assert turns(annotations, [speaking_record(episode, AUTONOMOUS, {})]) == {"0.0": LastTurn(11, "")}


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))
def test_failed_record_gives_failed_items(annotations, protocol):
    made = make_streamingbench_episodes(annotations, protocol, KnownLengths())
    score = score_streamingbench_records(annotations, [failed_record(episode, protocol) for episode in made.episodes])
    assert (score.count("failed"), score.values["time_accuracy"]) == (3, 0.0)


def test_constants_print_what_the_protocol_lets_them_know(tmp_path):
    file = tmp_path / "questions_proactive.json"
    asked = fields(3, 7, question='When it shows, output "41".')
    file.write_text(json.dumps([{"video_path": "v.mp4", "questions": [asked, fields(3, 7)]}]), "utf-8")
    annotations = read_proactive_annotations(file)
    found = {}
    for name, protocol in PROTOCOLS.items():
        made = make_streamingbench_episodes(annotations, protocol, KnownLengths())
        constants = streamingbench_constants_of_records(annotations, oracle_records(made.episodes, protocol))
        found[name] = {k: tuple(constants[f"yes_ask_plus_{k}"].values.values()) for k in (2, 4, 7)}
    assert found == {
        "autonomous": {2: (1.0, 0.5), 4: (1.0, 0.5), 7: (0.0, 0.0)},
        "polled": {2: (1.0, 0.5), 4: (1.0, 0.5), 7: (0.0, 0.0)},
        "official": {2: (1.0, 1.0), 4: (1.0, 1.0), 7: (0.0, 0.0)},
    }


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.parametrize("protocol", list(PROTOCOLS))
def test_run_of_the_oracle_writes_official_values(annotations, tmp_path, protocol):
    write_tiny_videos(tmp_path, {"videos/a.mp4": 20})
    official = run_oracle(
        "streamingbench", tmp_path, tmp_path / "run", "--protocol", protocol, "--limit", 2, "--on-missing", "skip"
    )
    assert (official["protocol"], official["missing_videos"]) == (PROTOCOLS[protocol].describe(), 1)
    assert official["counts"] == {"scored": 2, "missing": 0, "failed": 0}
    assert official["values"]["answer_accuracy"]["value"] == 1.0
