"""EgoProactive as episodes, and records of them as its own results, on small invented sessions."""

from __future__ import annotations

import json

import pytest

from prospect_core.records import ReplayProtocol
from prospect_core.stream.polling import StreamRules
from prospect_core.util.errors import UserError
from prospect_eval.suites.egoproactive.annotations import read_egoproactive_annotations
from prospect_eval.suites.egoproactive.episodes import make_egoproactive_episodes
from prospect_eval.suites.egoproactive.records import (
    egoproactive_constants_of_records,
    score_egoproactive_records,
)
from prospect_eval.suites.episode_window import AFTER_END
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

PROTOCOLS = open_suite("egoproactive").protocols
AUTONOMOUS, CHUNKED, OFFICIAL = PROTOCOLS["autonomous"], PROTOCOLS["chunked"], PROTOCOLS["official"]


def entry(name, intervals=((0, 4), (4.4, 8), (8, 11.9)), answers=("$interrupt$Boil.", "$silent$", "$interrupt$ Pour.")):
    return {
        "video_path": f"{name}.mp4", "duration_in_sec": 12, "video_intervals": [list(span) for span in intervals],
        "query": "How do I make tea?", "domain": "Cooking", "task": "Tea", "answers": list(answers),
    }  # fmt: skip


def read(folder, entries):
    file = folder / "sessions.jsonl"
    file.write_text("\n".join(map(json.dumps, entries)), "utf-8")
    return read_egoproactive_annotations(file)


@pytest.fixture
def annotations(tmp_path):
    return read(tmp_path, [entry("a"), entry("b"), entry("b")])


def first_episode(annotations, protocol, lengths=None):
    return make_egoproactive_episodes(annotations, protocol, lengths or KnownLengths(2)).episodes[0]


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))
def test_episodes_are_sound_under_each_protocol(annotations, protocol):
    made = make_egoproactive_episodes(annotations, protocol, KnownLengths(2))
    assert_sound(made.episodes)
    assert ([episode.id for episode in made.episodes], made.refused) == (["a-0", "b-1", "b-2"], {})
    for episode in made.episodes:
        assert [(c.start, c.end) for c in episode.candidates] == [(0, 4), (4.4, 8), (8, 11.9)]


def test_chunk_is_polled_at_its_end_with_the_query(annotations):
    episode = first_episode(annotations, CHUNKED)
    assert [episode.poll_frame(poll) for poll in episode.polls] == [8, 16, 23]
    assert [poll.accepted for poll in episode.polls] == [("$interrupt$",), ("$silent$",), ("$interrupt$",)]
    assert {poll.history for poll in episode.polls} == {"cumulative"}
    assert all(poll.question.startswith("How do I make tea?\n") for poll in episode.polls)
    assert episode.events == ()


def test_gold_history_shows_an_answer_after_the_question_of_its_chunk(annotations):
    episode = first_episode(annotations, OFFICIAL)
    assert {poll.history for poll in episode.polls} == {"isolated"}
    assert StreamRules.of(OFFICIAL, episode).gold_replies == {9: "$interrupt$Boil."}
    longer = first_episode(annotations, ReplayProtocol("chunked", "gold"), KnownLengths(2, {"a.mp4": 40}))
    gold = StreamRules.of(OFFICIAL, longer).gold_replies
    assert gold == {9: "$interrupt$Boil.", 24: "$interrupt$ Pour."}


def test_autonomous_session_is_a_standing_question_with_a_reply_span_for_each_interrupt(annotations):
    query, *references = first_episode(annotations, AUTONOMOUS, KnownLengths(2, {"a.mp4": 40})).events
    assert (query.time, query.text, query.open_until) == (0.0, "How do I make tea?", 20.0)
    assert [(e.text, e.reply_span, e.answers_to) for e in references] == [
        ("Boil.", (0, 4), "query"),
        ("Pour.", (8, 11.9), "query"),
    ]


def test_horizon_chooses_the_last_chunk_or_the_video(annotations):
    lengths = KnownLengths(2, {"a.mp4": 40})
    ends = [first_episode(annotations, protocol, lengths).end_frame for protocol in (OFFICIAL, CHUNKED)]
    assert ends == [24, 40]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (entry("a", intervals=[(0, 4)]), "other numbers of chunks"),
        (entry("a", intervals=[(0, 4), (4, 4), (8, 9)]), "no length"),
        (entry("a", intervals=[(4, 8), (0, 4), (8, 9)]), "not in order"),
        (entry("a", intervals=[(0, 0.1), (0.1, 0.2), (0.2, 0.4)]), "first frame"),
        (entry("a", intervals=[(-1, 4), (4, 8), (8, 9)]), "before the start"),
        (entry("a") | {"query": " "}, "no query"),
        (entry("a") | {"video_path": ""}, "no video"),
    ],
)
def test_session_that_cannot_be_asked_is_refused(tmp_path, broken, reason):
    made = make_egoproactive_episodes(read(tmp_path, [broken, entry("b")]), CHUNKED, KnownLengths(2))
    assert [episode.video for episode in made.episodes] == ["b.mp4"]
    (fault,) = made.refused.values()
    assert reason in fault


def test_chunks_after_the_end_of_the_video_are_refused(annotations):
    made = make_egoproactive_episodes(annotations, CHUNKED, KnownLengths(2, {"a.mp4": 12}))
    assert made.refused == {"a.mp4": AFTER_END}


@pytest.mark.parametrize(
    "protocol",
    [ReplayProtocol("polled"), ReplayProtocol(history="gold"), ReplayProtocol("chunked", "gold", polling="recut")],
)
def test_protocol_that_the_benchmark_cannot_have_is_refused(annotations, protocol):
    with pytest.raises(UserError, match="EgoProactive"):
        make_egoproactive_episodes(annotations, protocol, KnownLengths(2))


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))
def test_oracle_reaches_the_best_values(annotations, protocol):
    made = make_egoproactive_episodes(annotations, protocol, KnownLengths(2))
    score = score_egoproactive_records(annotations, oracle_records(made.episodes, protocol))
    assert (score.values["macro_f1"], score.count("scored"), score.notes) == (1.0, 3, ())


def test_answers_keep_their_text(annotations):
    episode = first_episode(annotations, CHUNKED)
    answers = {0: "$interrupt$now", 1: "Sure! $interrupt$now", 2: "nothing"}
    record = answering_record(episode, CHUNKED, lambda poll: answers[int(poll.meta["chunk"])])
    score = score_egoproactive_records(annotations, [record])
    (item,) = score.items
    assert {name: item.totals[name] for name in ("tp", "fp", "tn", "fn")} == {"tp": 1, "fp": 0, "tn": 1, "fn": 1}
    assert any("does not come first" in note for note in score.notes)


def test_utterance_in_a_chunk_is_an_interrupt(annotations):
    episode = first_episode(annotations, AUTONOMOUS, KnownLengths(2, {"a.mp4": 40}))
    said = {0: "with the query", 8: "between the chunks", 9: "chunk 1", 15: "chunk 1", 16: "chunk 2", 30: "after all"}
    score = score_egoproactive_records(annotations, [speaking_record(episode, AUTONOMOUS, said)])
    (item,) = score.items
    assert {name: item.totals[name] for name in ("tp", "fp", "tn", "fn")} == {"tp": 1, "fp": 1, "tn": 0, "fn": 1}


def test_failed_record_is_silent_and_a_failed_item(annotations):
    score = score_egoproactive_records(annotations, [failed_record(first_episode(annotations, CHUNKED), CHUNKED)])
    assert (score.count("failed"), score.values["interrupt_recall"], score.values["silent_recall"]) == (1, 0.0, 1.0)


def test_constants_are_over_the_held_sessions(annotations):
    constants = egoproactive_constants_of_records(
        annotations, oracle_records([first_episode(annotations, CHUNKED)], CHUNKED)
    )
    assert {item.id for item in constants["always silent"].items} == {"a.mp4"}
    assert constants["always interrupt"].values["interrupt_f1"] == pytest.approx(0.8)


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["official", "autonomous"])
def test_run_of_the_oracle_writes_official_values(annotations, tmp_path, protocol):
    write_tiny_videos(tmp_path, {"b.mp4": 12})
    official = run_oracle(
        "egoproactive", tmp_path, tmp_path / "run", "--protocol", protocol, "--limit", 2, "--on-missing", "skip"
    )
    assert (official["protocol"], official["missing_videos"]) == (PROTOCOLS[protocol].describe(), 1)
    assert official["values"]["macro_f1"]["value"] == 1.0
    assert official["counts"] == {"scored": 2, "missing": 0, "failed": 0}
