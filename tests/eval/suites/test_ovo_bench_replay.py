"""OVO-Bench as episodes, and records of them as its own results, on small invented items."""

from __future__ import annotations

import pytest

from prospect_core.records import ReplayProtocol
from prospect_core.util.errors import UserError
from prospect_eval.suites.episode_window import AFTER_END, BEFORE_START
from prospect_eval.suites.ovo_bench.episodes import make_ovo_bench_episodes
from prospect_eval.suites.ovo_bench.records import (
    ovo_bench_constants_of_records,
    read_ovo_bench_records,
    score_ovo_bench_records,
    select_held_items,
)
from prospect_eval.suites.suite import open_suite
from tests.helpers.ovo_bench_items import choice_entry, clue_entry, count_entry, step_entry, write_ovo_bench
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
from tests.helpers.tiers import slow

PROTOCOLS = open_suite("ovo_bench").protocols
POLLED, OFFICIAL, AUTONOMOUS = PROTOCOLS["one_pass"], PROTOCOLS["official"], PROTOCOLS["autonomous"]


@pytest.fixture
def annotations(tmp_path):
    entries = [
        choice_entry(0, video="v.mp4"),
        choice_entry(1, video="v.mp4", realtime=3.5, task="OCR"),
        count_entry(2, video="v.mp4"),
        step_entry(3),
        clue_entry(4),
    ]
    return write_ovo_bench(tmp_path / "ovo_bench_new.json", entries)


def by_id(made):
    return {episode.id: episode for episode in made.episodes}


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))
def test_episodes_are_sound_under_each_protocol(annotations, protocol):
    made = make_ovo_bench_episodes(annotations, protocol, KnownLengths())
    assert_sound(made.episodes)
    assert made.refused == {}


def test_polled_episode_has_all_polls_of_its_video_in_order_of_time(annotations):
    made = by_id(make_ovo_bench_episodes(annotations, POLLED, KnownLengths(1, {"v.mp4": 60})))
    assert sorted(made) == ["v", "v3", "v4"]
    video = made["v"]
    assert [(poll.id, poll.time, poll.kind, poll.accepted) for poll in video.polls] == [
        ("2.0", 3.0, "REC", ("1",)),
        ("1", 3.5, "OCR", ("B",)),
        ("2.1", 7.5, "REC", ("2",)),
        ("0", 12.0, "EPM", ("B",)),
    ]
    assert [video.poll_frame(poll) for poll in video.polls] == [3, 3, 7, 12]
    assert {(poll.history, poll.clip_start) for poll in video.polls} == {("isolated", 0.0)}
    assert video.polls[1].choices == ("on the floor", "on the table", "in the box")
    assert [poll.accepted for poll in made["v3"].polls] == [("Yes",), ("No",)]
    assert [poll.accepted for poll in made["v4"].polls] == [("No",), ("Yes",)]
    assert (video.start_frame, video.end_frame, made["v3"].end_frame) == (0, 60, 16)


def test_official_horizon_ends_with_the_last_poll(annotations):
    made = by_id(make_ovo_bench_episodes(annotations, OFFICIAL, KnownLengths(2, {"v.mp4": 120})))
    assert made["v"].end_frame == 25


def test_autonomous_forward_items_are_standing_questions(annotations):
    made = by_id(make_ovo_bench_episodes(annotations, AUTONOMOUS, KnownLengths()))
    assert sorted(made) == ["v", "v-2", "v3-3", "v4-4"]
    assert [poll.id for poll in made["v"].polls] == ["1", "0"]
    question, *answers = made["v4-4"].events
    assert (question.time, question.open_until, question.kind) == (4.0, 12.0, "user")
    assert [(e.time, e.text, e.reply_span, e.answers_to, e.group) for e in answers] == [
        (9.0, "a dog", (9.0, 12.0), "question", "4")
    ]
    assert [(e.time, e.text, e.reply_span) for e in made["v-2"].events[1:]] == [
        (3.0, "1", (3.0, 7.0)),
        (7.0, "2", (7.0, 8.0)),
    ]
    assert [(e.time, e.text) for e in made["v3-3"].events[1:]] == [
        (2.0, "boil"), (9.0, "Done."), (10.0, "pour"), (15.0, "Done."),
    ]  # fmt: skip


def test_question_time_start_asks_at_zero(annotations):
    protocol = ReplayProtocol(question_time="start")
    made = by_id(make_ovo_bench_episodes(annotations, protocol, KnownLengths()))
    assert made["v4-4"].events[0].time == 0.0


def test_items_that_the_video_cannot_hold_are_refused(tmp_path):
    entries = [
        choice_entry(0, video="v.mp4", realtime=13.5),
        choice_entry(1, video="v.mp4", realtime=12.5),
        choice_entry(2, video="v.mp4", realtime=-1),
        count_entry(3, video="v.mp4", test_info=[]),
    ]
    annotations = write_ovo_bench(tmp_path / "a.json", entries)
    made = make_ovo_bench_episodes(annotations, POLLED, KnownLengths(1, {"v.mp4": 12}))
    assert made.refused == {"0": AFTER_END, "2": BEFORE_START, "3": "the item has no poll"}
    (episode,) = made.episodes
    assert_sound([episode])
    assert [(poll.id, poll.time, episode.poll_frame(poll)) for poll in episode.polls] == [("1", 12.0, 11)]


def test_chunked_protocol_is_refused(annotations):
    with pytest.raises(UserError, match="no candidate intervals"):
        make_ovo_bench_episodes(annotations, ReplayProtocol("chunked"), KnownLengths())


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))
def test_oracle_reaches_the_best_values(annotations, protocol):
    made = make_ovo_bench_episodes(annotations, protocol, KnownLengths())
    score = score_ovo_bench_records(annotations, oracle_records(made.episodes, protocol))
    assert (score.values["backward"], score.values["realtime"], score.values["forward"]) == (1.0, 1.0, 1.0)
    assert score.count("scored") == 8


def test_answers_are_the_responses(annotations):
    made = make_ovo_bench_episodes(annotations, POLLED, KnownLengths())
    given = {"0": "C", "1": "The answer is B.", "2.0": "1", "2.1": "about 3", "3.0": "No", "3.1": "No", "4.0": "Yes"}
    records = [answering_record(episode, POLLED, lambda poll: given.get(poll.id)) for episode in made.episodes]
    values = score_ovo_bench_records(annotations, records).values
    assert {task: values[task] for task in ("EPM", "OCR", "REC", "SSR", "CRR")} == {
        "EPM": 0.0, "OCR": 1.0, "REC": 0.5, "SSR": 0.5, "CRR": 0.0,
    }  # fmt: skip


def test_score_is_over_the_held_items_alone(annotations):
    made = by_id(make_ovo_bench_episodes(annotations, POLLED, KnownLengths()))
    records = oracle_records([made["v4"]], POLLED)
    score = score_ovo_bench_records(annotations, records)
    assert [(item.id, item.status) for item in score.items] == [("4.0", "scored"), ("4.1", "scored")]
    assert score.values["CRR"] == 1.0
    constants = ovo_bench_constants_of_records(annotations, records)
    assert (constants["mc_A"].values["CRR"], constants["all_no"].values["CRR"]) == (0.5, 0.5)
    assert {item.id for item in constants["mc_A"].items} == {"4.0", "4.1"}


@pytest.mark.parametrize("protocol", [POLLED, AUTONOMOUS], ids=["polled", "autonomous"])
def test_failed_record_gives_failed_items(annotations, protocol):
    made = make_ovo_bench_episodes(annotations, protocol, KnownLengths())
    score = score_ovo_bench_records(annotations, [failed_record(episode, protocol) for episode in made.episodes])
    assert (score.count("failed"), score.values["forward"], score.values["backward"]) == (8, 0.0, 0.0)


def responses(annotations, number, said):
    """The responses to the polls of a forward item whose stream said these texts by frame."""
    made = make_ovo_bench_episodes(annotations, AUTONOMOUS, KnownLengths())
    episode = next(e for e in made.episodes if e.meta.get("item") == str(number))
    records = [speaking_record(episode, AUTONOMOUS, said)]
    (row,) = read_ovo_bench_records(select_held_items(annotations, records), records).forward
    return [poll.response for poll in row.polls]


@pytest.mark.parametrize(
    ("number", "said", "expected"),
    [
        (2, {}, ["0", "0"]),
        (2, {3: "That was 1.", 6: "Well done."}, ["That was 1.", "That was 1."]),
        (2, {4: "1", 7: "2", 8: "3"}, ["0", "2"]),
        (3, {}, ["No", "No"]),
        (3, {11: "Now POUR it."}, ["Yes", "Yes"]),
        (3, {11: "Now pour.", 14: "Done."}, ["Yes", "No"]),
        (3, {11: "pour", 12: "boil"}, ["No", "No"]),
        (3, {11: "pour", 12: "Nice."}, ["Yes", "Yes"]),
        (4, {}, ["No", "No"]),
        (4, {3: "A dog.", 4: "A cat."}, ["No", "No"]),
        (4, {5: "A dog."}, ["Yes", "Yes"]),
        (4, {6: "A dog."}, ["No", "Yes"]),
    ],
)
def test_responses_of_a_stream_follow_from_what_was_said_before_the_poll(annotations, number, said, expected):
    assert responses(annotations, number, said) == expected


@pytest.mark.integration
@pytest.mark.parametrize("protocol", ["one_pass", slow("official"), slow("autonomous")])
def test_run_of_the_oracle_writes_official_values(annotations, tmp_path, protocol):
    write_tiny_videos(tmp_path, {"v.mp4": 20, "v3.mp4": 20})
    official = run_oracle(
        "ovo_bench", tmp_path, tmp_path / "run", "--protocol", protocol, "--limit", 2, "--on-missing", "skip"
    )
    assert (official["protocol"], official["missing_videos"]) == (PROTOCOLS[protocol].describe(), 1)
    assert {item["task"] for item in official["items"]} <= {"EPM", "OCR", "REC", "SSR"}
    assert official["values"]["EPM"]["value"] == 1.0
    assert official["counts"]["missing"] == 0
