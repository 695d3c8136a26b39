"""OmniMMI as episodes, and records of them as its own results, on small invented items."""

from __future__ import annotations

import json

import pytest

from prospect_core.records import ReplayProtocol
from prospect_core.util.errors import UserError
from prospect_eval.suites.episode_window import AFTER_END
from prospect_eval.suites.omnimmi.annotations import read_omnimmi_annotations
from prospect_eval.suites.omnimmi.episodes import make_omnimmi_episodes
from prospect_eval.suites.omnimmi.grounding_judge import judge_omnimmi_grounding
from prospect_eval.suites.omnimmi.records import (
    omnimmi_constants_of_records,
    read_omnimmi_records,
    score_omnimmi_records,
    select_held_omnimmi_items,
)
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

PROTOCOLS = open_suite("omnimmi").protocols
AUTONOMOUS, POLLED, OFFICIAL = PROTOCOLS["autonomous"], PROTOCOLS["polled"], PROTOCOLS["official"]
ALERT = {"video": "a_0_12.mp4", "question": "Say when the cat comes.", "answer": [4.5, 8]}
TALK = {
    "video": "t.mp4",
    "conversation": [
        {"human": "Who is it?", "assistant": "A man."},
        {"human": "Where is he?", "assistant": "At home."},
        {"human": "Never mind."},
    ],
}
STATES = {
    "video": "s.mp4",
    "qa": [
        {"question": "What now?", "answer": "cutting", "timestamp": "0.0 -- 6.0"},
        {"question": "And now?", "answer": "frying", "timestamp": "6.0 -- 11.0"},
    ],
}


def read(folder, alerts=(ALERT,), talks=(TALK,), states=(STATES,)):
    files = {"proactive_alerting": alerts, "proactive_turntaking": talks, "dynamic_state_grounding": states}
    for name, entries in files.items():
        (folder / f"{name}.json").write_text(json.dumps(entries), "utf-8")
    return read_omnimmi_annotations(folder)


@pytest.fixture
def annotations(tmp_path):
    return read(tmp_path)


def by_item(annotations, protocol, lengths=None):
    made = make_omnimmi_episodes(annotations, protocol, lengths or KnownLengths())
    return {episode.meta["item"]: episode for episode in made.episodes}


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))
def test_episodes_are_sound_under_each_protocol(annotations, protocol):
    made = make_omnimmi_episodes(annotations, protocol, KnownLengths(1, {"t.mp4": 20}))
    assert_sound(made.episodes)
    assert ([episode.id for episode in made.episodes], made.refused) == (
        ["pa/a_0_12.mp4", "pt/t.mp4", "sg/s.mp4"],
        {},
    )


def test_alert_is_a_standing_question_with_one_reply_span(annotations):
    episode = by_item(annotations, AUTONOMOUS)["pa/a_0_12.mp4"]
    question, answer = episode.events
    assert (question.time, question.text, question.open_until) == (0.0, "Say when the cat comes.", 13.0)
    assert (answer.time, answer.reply_span, answer.answers_to) == (5.0, (4.5, 8.0), "question")
    assert (episode.start_frame, episode.end_frame, episode.polls) == (0, 13, ())


def test_alert_is_polled_once_a_second(annotations):
    episode = by_item(annotations, POLLED)["pa/a_0_12.mp4"]
    assert [poll.time for poll in episode.polls] == list(range(1, 13))
    right = [poll.time for poll in episode.polls if poll.accepted == ("Yes",)]
    assert (right, episode.events) == ([5, 6, 7, 8], ())


@pytest.mark.parametrize("protocol", [AUTONOMOUS, POLLED], ids=["autonomous", "polled"])
def test_turn_taking_is_one_poll_at_the_end_with_the_last_two_turns(annotations, protocol):
    episode = by_item(annotations, protocol, KnownLengths(1, {"t.mp4": 20}))["pt/t.mp4"]
    (poll,) = episode.polls
    assert (poll.time, poll.accepted) == (19.0, ())
    assert poll.question == "User: Where is he?\nAssistant: At home.\nUser: Never mind."


def test_grounding_is_polled_in_the_middle_of_each_span_and_stays_in_the_stream(annotations):
    episode = by_item(annotations, AUTONOMOUS)["sg/s.mp4"]
    assert [(p.time, p.question, p.accepted, p.history) for p in episode.polls] == [
        (3.0, "What now?", ("cutting",), "cumulative"),
        (8.5, "And now?", ("frying",), "cumulative"),
    ]


def test_horizon_chooses_the_last_span_or_the_video(annotations):
    lengths = KnownLengths(1, {"s.mp4": 40, "a_0_12.mp4": 12, "t.mp4": 20})
    ends = {
        protocol.horizon: [e.end_frame for e in by_item(annotations, protocol, lengths).values()]
        for protocol in (AUTONOMOUS, OFFICIAL)
    }
    assert ends == {"video": [12, 20, 40], "official": [12, 20, 12]}


def test_items_that_cannot_be_asked_are_refused(tmp_path):
    alerts = [ALERT, ALERT | {"video": "b.mp4", "question": " "}, ALERT | {"video": "c.mp4", "answer": [9, 8]}]
    talks = [TALK | {"conversation": [{"human": " "}]}]
    turns = STATES["qa"]
    states = [
        {"video": "d.mp4", "qa": [turns[0] | {"timestamp": "soon"}]},
        {"video": "e.mp4", "qa": turns[::-1]},
        {"video": "f.mp4", "qa": [turns[0] | {"question": ""}]},
    ]
    annotations = read(tmp_path, alerts, talks, states)
    made = make_omnimmi_episodes(annotations, AUTONOMOUS, KnownLengths(1, {"a_0_12.mp4": 3}))
    assert made.episodes == ()
    assert made.refused == {
        "pa/a_0_12.mp4": AFTER_END,
        "pa/b.mp4": "the question is empty",
        "pa/c.mp4": "the span ends before it starts",
        "pt/t.mp4": "the last turn is empty",
        "sg/d.mp4": "a question has no readable span",
        "sg/e.mp4": "the questions are not in order of time",
        "sg/f.mp4": "a question is empty",
    }


def test_chunked_protocol_is_refused(annotations):
    with pytest.raises(UserError, match="no candidate intervals"):
        make_omnimmi_episodes(annotations, ReplayProtocol("chunked"), KnownLengths())


@pytest.mark.parametrize(("name", "iou"), [("autonomous", 0.0), ("official", 0.0), ("polled", 3 / 3.5)])
def test_oracle_reaches_the_best_values(annotations, name, iou):
    """One alert has IoU 0 by the published formula; polls once a second have alerts near both ends."""
    protocol = PROTOCOLS[name]
    made = make_omnimmi_episodes(annotations, protocol, KnownLengths())
    score = score_omnimmi_records(annotations, oracle_records(made.episodes, protocol))
    assert {value: score.values[value] for value in ("pa_accuracy", "pa_precision", "pt_accuracy")} == {
        "pa_accuracy": 1.0,
        "pa_precision": 1.0,
        "pt_accuracy": 1.0,
    }
    assert score.values["pa_iou"] == pytest.approx(iou)


def test_alerts_of_the_first_second_are_dropped(annotations):
    episode = by_item(annotations, AUTONOMOUS, KnownLengths(2))["pa/a_0_12.mp4"]
    record = speaking_record(episode, AUTONOMOUS, {0: "a", 1: "0.5 s", 2: "1 s", 12: "6 s"})
    results = read_omnimmi_records(select_held_omnimmi_items(annotations, [record]), [record])
    assert results.alerts == {"pa/a_0_12.mp4": (1.0, 6.0)}


@pytest.mark.parametrize(("text", "alerts"), [("Yes.", (5.0,)), ("yesterday", ()), ("", ()), ("No, YES", (5.0,))])
def test_polled_alert_is_an_answer_with_the_word_yes(annotations, text, alerts):
    episode = by_item(annotations, POLLED)["pa/a_0_12.mp4"]
    record = answering_record(episode, POLLED, lambda poll: text if poll.meta["place"] == "5" else "No")
    results = read_omnimmi_records(select_held_omnimmi_items(annotations, [record]), [record])
    assert results.alerts == {"pa/a_0_12.mp4": alerts}


@pytest.mark.parametrize(("reply", "value"), [("", 1.0), ("<2>", 1.0), (" ", 0.0), ("Fine.", 0.0)])
def test_reply_of_turn_taking_is_the_answer_to_the_poll(annotations, reply, value):
    record = answering_record(by_item(annotations, OFFICIAL)["pt/t.mp4"], OFFICIAL, lambda poll: reply)
    score = score_omnimmi_records(annotations, [record])
    assert (score.values["pt_accuracy"], [item.id for item in score.items]) == (value, ["pt/t.mp4"])


def test_grounding_is_undefined_without_verdicts_and_scored_with_them(annotations):
    record = answering_record(by_item(annotations, OFFICIAL)["sg/s.mp4"], OFFICIAL, lambda poll: poll.accepted[0])
    unjudged = score_omnimmi_records(annotations, [record])
    assert (unjudged.values["sg_accuracy"], unjudged.count("missing")) == (None, 1)
    assert any("give an LLM judge" in note for note in unjudged.notes)
    held = select_held_omnimmi_items(annotations, [record])
    results = read_omnimmi_records(held, [record])
    assert results.answers == {"sg/s.mp4": ("cutting", "frying")}
    verdicts = judge_omnimmi_grounding(held, results, lambda prompt: "{'pred': 'yes', 'score': 4}", "stub").verdicts
    judged = score_omnimmi_records(annotations, [record], verdicts)
    assert (judged.values["sg_accuracy"], judged.values["sg_score"]) == (1.0, 4.0)


def test_failed_records_are_failed_items(annotations):
    failed = [failed_record(episode, AUTONOMOUS) for episode in by_item(annotations, AUTONOMOUS).values()]
    score = score_omnimmi_records(annotations, failed)
    assert (score.count("failed"), score.count("missing")) == (2, 1)
    assert (score.values["pa_accuracy"], score.values["pt_accuracy"]) == (0.0, 0.0)


def test_constants_are_over_the_held_items(annotations):
    records = oracle_records([by_item(annotations, AUTONOMOUS)["pa/a_0_12.mp4"]], AUTONOMOUS)
    constants = omnimmi_constants_of_records(annotations, records)
    assert constants["alert at half of the clip"].values["pa_accuracy"] == 1.0
    assert constants["silent"].values["pt_accuracy"] is None


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["official", "polled"])
def test_run_of_the_oracle_writes_official_values(annotations, tmp_path, protocol):
    write_tiny_videos(tmp_path, {"a_0_12.mp4": 12, "s.mp4": 12})
    official = run_oracle(
        "omnimmi", tmp_path, tmp_path / "run", "--protocol", protocol, "--limit", 2, "--on-missing", "skip"
    )
    assert (official["protocol"], official["missing_videos"]) == (PROTOCOLS[protocol].describe(), 1)
    assert official["values"]["pa_accuracy"]["value"] == 1.0
    assert official["values"]["sg_accuracy"]["value"] is None
    assert official["counts"] == {"scored": 1, "missing": 1, "failed": 0}
