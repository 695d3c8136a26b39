"""ProactiveVideoQA as episodes, and records of them as its own results, on small invented questions."""

from __future__ import annotations

import json

import pytest

from prospect_core.records import ReplayProtocol
from prospect_core.util.errors import UserError
from prospect_eval.suites.episode_window import AFTER_END
from prospect_eval.suites.proactivevideoqa.annotations import read_proactivevideoqa_annotations
from prospect_eval.suites.proactivevideoqa.episodes import make_proactivevideoqa_episodes
from prospect_eval.suites.proactivevideoqa.records import (
    proactivevideoqa_constants_of_records,
    read_proactivevideoqa_records,
    score_proactivevideoqa_records,
)
from prospect_eval.suites.proactivevideoqa.reply_judge import judge_proactivevideoqa_replies
from prospect_eval.suites.suite import open_suite
from tests.helpers.replayed_benchmarks import (
    KnownLengths,
    assert_sound,
    failed_record,
    oracle_records,
    run_oracle,
    speaking_record,
    write_tiny_videos,
)

PROTOCOLS = open_suite("proactivevideoqa").protocols
AUTONOMOUS, OFFICIAL = PROTOCOLS["autonomous"], PROTOCOLS["official"]


def turn(start, end, content="the dog"):
    return {"content": content, "related_timespan": [start, end], "reply_timespan": [start, end]}


def entry(name, *turns, asked=2, **more):
    said = [{"role": "user", "content": "What happens?", "time": asked}]
    return {
        "question_id": name, "video": f"{name}.mp4", "duration": 20.0, "conversation": said, "answer": list(turns), **more,
    }  # fmt: skip


def read(folder, *entries):
    file = folder / "anno.json"
    file.write_text(json.dumps(entries), "utf-8")
    return read_proactivevideoqa_annotations(folder)


@pytest.fixture
def annotations(tmp_path):
    return read(tmp_path, entry("q", turn(3.5, 6), turn(8, 12, "")), entry("r", turn(1, 5)))


def by_item(annotations, protocol, lengths=None):
    made = make_proactivevideoqa_episodes(annotations, protocol, lengths or KnownLengths())
    return {episode.meta["item"]: episode for episode in made.episodes}


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))
def test_episodes_are_sound_under_each_protocol(annotations, protocol):
    made = make_proactivevideoqa_episodes(annotations, protocol, KnownLengths())
    assert_sound(made.episodes)
    assert ([episode.id for episode in made.episodes], made.refused) == (["q-q", "r-r"], {})


def test_question_stands_with_a_reference_in_each_reply_span(annotations):
    question, *references = by_item(annotations, AUTONOMOUS, KnownLengths(1, {"q.mp4": 20}))["q"].events
    assert (question.time, question.text, question.open_until) == (2, "What happens?", 20.0)
    assert [(e.time, e.text, e.reply_span, e.answers_to, e.group) for e in references] == [
        (4.0, "the dog", (3.5, 6.0), "question", "q"),
        (8.0, "Now.", (8.0, 12.0), "question", "q"),
    ]


def test_reply_span_begins_with_the_question_at_the_earliest(annotations):
    (_, reference) = by_item(annotations, AUTONOMOUS)["r"].events
    assert (reference.time, reference.reply_span) == (2.0, (2, 5.0))
    (question, reference) = by_item(annotations, ReplayProtocol(question_time="start"))["r"].events
    assert (question.time, reference.reply_span) == (0.0, (1.0, 5.0))


def test_official_window_ends_with_the_last_reply_span(annotations):
    lengths = KnownLengths(1, {"q.mp4": 20})
    ends = [by_item(annotations, protocol, lengths)["q"].end_frame for protocol in (OFFICIAL, AUTONOMOUS)]
    assert ends == [13, 20]


def test_later_turns_of_the_user_come_at_their_times(tmp_path):
    conversation = [
        {"role": "user", "content": "What happens?", "time": 2},
        {"role": "user", "content": "And now?", "time": 7},
        {"role": "user", "content": "Thanks.", "time": 40},
        {"role": "user", "content": "When?"},
    ]
    annotations = read(tmp_path, entry("q", turn(3, 6), turn(8, 12)) | {"conversation": conversation})
    episode = by_item(annotations, OFFICIAL)["q"]
    assert episode.problems() == []
    assert [(event.time, event.text) for _, event in episode.user_turns()] == [(2, "What happens?"), (7, "And now?")]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (entry("x"), "no reference reply"),
        (entry("x", turn(6, 5)), "ends before it starts"),
        (entry("x", turn(3, 5), conversation=[]), "no text"),
        (entry("x", turn(3, 5), video=""), "no video"),
        (entry("x", turn(3, 5), asked=5), "end of the window"),
        (entry("x", turn(-3, 5)), "before the start"),
    ],
)
def test_question_that_cannot_be_asked_is_refused(tmp_path, broken, reason):
    made = make_proactivevideoqa_episodes(read(tmp_path, broken, entry("r", turn(3, 5))), OFFICIAL, KnownLengths())
    assert [episode.meta["item"] for episode in made.episodes] == ["r"]
    assert reason in made.refused["x"]


def test_reply_after_the_end_of_the_video_is_refused(annotations):
    made = make_proactivevideoqa_episodes(annotations, AUTONOMOUS, KnownLengths(1, {"q.mp4": 6}))
    assert made.refused == {"q": AFTER_END}


def test_polled_protocol_is_refused(annotations):
    with pytest.raises(UserError, match="cannot be polled"):
        make_proactivevideoqa_episodes(annotations, ReplayProtocol("polled"), KnownLengths())


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))
def test_oracle_with_the_best_verdicts_loses_the_time_to_its_frame_alone(annotations, protocol):
    """Replies start 0.5 s late in a span of 2.5 s, and 1 s late, with the question, in a span of 4 s."""
    made = make_proactivevideoqa_episodes(annotations, protocol, KnownLengths())
    records = oracle_records(made.episodes, protocol)
    replies = read_proactivevideoqa_records(records).replies
    verdicts = judge_proactivevideoqa_replies(annotations.questions, replies, lambda prompt: "3", "stub")
    score = score_proactivevideoqa_records(annotations, records, verdicts)
    late = [0.5 / 2.5, 0.0, 2 / 4]
    assert score.values["omega=0"] == pytest.approx(100 * sum(1 - 0.75 * share for share in late) / 3)
    assert score.values["omega=1"] == 100.0


def test_replies_without_verdicts_leave_the_value_undefined(annotations):
    records = oracle_records(by_item(annotations, AUTONOMOUS).values(), AUTONOMOUS)
    score = score_proactivevideoqa_records(annotations, records)
    assert score.values["omega=0.5"] is None
    assert any("give an LLM judge" in note for note in score.notes)


def test_silence_and_words_outside_the_spans_need_no_judge(annotations):
    episodes = by_item(annotations, AUTONOMOUS, KnownLengths(1, {"q.mp4": 20}))
    said = {1: "before the question", 7: "between", 15: "after all"}
    score = score_proactivevideoqa_records(annotations, [speaking_record(episodes["q"], AUTONOMOUS, said)])
    assert (score.values["omega=0.5"], [item.id for item in score.items]) == (25.0, ["q"])


def test_reply_has_the_time_of_its_frame(annotations):
    record = speaking_record(by_item(annotations, AUTONOMOUS, KnownLengths(2))["q"], AUTONOMOUS, {2: "no", 9: "yes"})
    (reply,) = read_proactivevideoqa_records([record]).replies["q"]
    assert (reply.time, reply.text) == (4.5, "yes")


def test_failed_record_is_silence_and_a_failed_item(annotations):
    failed = failed_record(by_item(annotations, AUTONOMOUS)["q"], AUTONOMOUS)
    score = score_proactivevideoqa_records(annotations, [failed])
    assert (score.count("failed"), score.values["omega=0.5"]) == (1, 25.0)


def test_constants_are_over_the_held_questions(annotations):
    records = oracle_records([by_item(annotations, AUTONOMOUS)["r"]], AUTONOMOUS)
    constants = proactivevideoqa_constants_of_records(annotations, records)
    assert {item.id for item in constants["silent"].items} == {"r"}
    assert constants["silent"].values["omega=1"] == 25.0


@pytest.mark.integration
@pytest.mark.slow
def test_run_of_the_oracle_writes_undefined_values_with_a_reason(annotations, tmp_path):
    write_tiny_videos(tmp_path, {"q.mp4": 19})
    official = run_oracle(
        "proactivevideoqa", tmp_path, tmp_path / "run", "--protocol", "official", "--limit", 2, "--on-missing", "skip"
    )
    assert (official["protocol"], official["missing_videos"]) == (OFFICIAL.describe(), 1)
    assert official["values"]["omega=0.5"]["value"] is None
    assert any("give an LLM judge" in note for note in official["notes"])
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text("utf-8"))["metrics"]
    assert metrics["span_f1"]["value"] == 1.0
