"""OVO-Timing as episodes, and records of them as its own results, on small invented items."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prospect_core.records import ReplayProtocol
from prospect_core.util.errors import UserError
from prospect_eval.suites.episode_window import AFTER_END
from prospect_eval.suites.ovo_timing.annotations import TimingAnnotations, read_timing_annotations
from prospect_eval.suites.ovo_timing.episodes import make_ovo_timing_episodes
from prospect_eval.suites.ovo_timing.records import ovo_timing_constants_of_records, score_ovo_timing_records
from prospect_eval.suites.suite import open_suite
from tests.helpers.ovo_bench_items import clue_entry, count_entry, step_entry, write_ovo_bench
from tests.helpers.replayed_benchmarks import (
    KnownLengths,
    assert_sound,
    failed_record,
    oracle_records,
    run_oracle,
    speaking_record,
    write_tiny_videos,
)

PROTOCOLS = open_suite("ovo_timing").protocols
WHOLE, OFFICIAL = PROTOCOLS["autonomous"], PROTOCOLS["official"]


@pytest.fixture
def annotations(tmp_path):
    file = tmp_path / "ovo_bench_new.json"
    write_ovo_bench(file, [count_entry(2), step_entry(3), clue_entry(4)])
    return read_timing_annotations(file)


def by_item(made):
    return {episode.meta["item"]: episode for episode in made.episodes}


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))
def test_episodes_are_sound_under_each_protocol(annotations, protocol):
    made = make_ovo_timing_episodes(annotations, protocol, KnownLengths(2))
    assert_sound(made.episodes)
    assert (len(made.episodes), made.refused) == (3, {})


def test_sample_is_a_standing_question_with_a_reference_at_each_gold_time(annotations):
    made = by_item(make_ovo_timing_episodes(annotations, WHOLE, KnownLengths(2, {"v4.mp4": 60})))
    question, answer = made["4"].events
    assert (question.time, question.kind, question.open_until) == (4.0, "user", 30.0)
    assert (answer.time, answer.text, answer.reply_span, answer.answers_to) == (9.0, "a dog", (7.0, 11.0), "question")
    steps = made["3"].events[1:]
    assert [(e.time, e.text, e.reply_span) for e in steps] == [(4.0, "boil", (2.0, 6.0)), (12.0, "pour", (10.0, 14.0))]
    counts = made["2"].events[1:]
    assert [(e.time, e.text, e.reply_span) for e in counts] == [(3.0, "Now.", (1.0, 5.0)), (7.0, "Now.", (5.0, 9.0))]


def test_official_window_is_from_the_question_to_the_last_poll(annotations):
    lengths = KnownLengths(2, {"v4.mp4": 60})
    windows = {}
    for protocol in (OFFICIAL, WHOLE):
        episode = by_item(make_ovo_timing_episodes(annotations, protocol, lengths))["4"]
        windows[protocol.horizon] = (episode.start_frame, episode.end_frame)
    assert windows == {"official": (8, 23), "video": (0, 60)}


@pytest.mark.parametrize(("horizon", "asked"), [("video", 0.0), ("official", 4.0)])
def test_question_time_start_asks_with_the_first_frame(annotations, horizon, asked):
    protocol = ReplayProtocol(question_time="start", horizon=horizon)
    episode = by_item(make_ovo_timing_episodes(annotations, protocol, KnownLengths(2)))["4"]
    assert episode.events[0].time == asked


def test_gold_time_beyond_the_window_keeps_what_of_its_span_lies_inside(annotations):
    (sample,) = [s for s in annotations.samples if s.sample_id == 4]
    late = replace(sample, gt_timestamp=(12.5, 14.0), replies=())
    made = make_ovo_timing_episodes(TimingAnnotations((late,), annotations.counts), OFFICIAL, KnownLengths(2))
    assert_sound(made.episodes)
    assert [(e.time, e.reply_span) for e in made.episodes[0].events[1:]] == [(11.0, (10.5, 14.5))]


def test_samples_without_video_or_outside_of_it_are_refused(annotations):
    nameless = TimingAnnotations((replace(annotations.samples[0], video=""),), annotations.counts)
    made = make_ovo_timing_episodes(nameless, WHOLE, KnownLengths(2))
    assert (made.episodes, list(made.refused)) == ((), ["2"])
    assert "no video" in made.refused["2"]
    short = make_ovo_timing_episodes(annotations, WHOLE, KnownLengths(2, {"v4.mp4": 10}))
    assert short.refused == {"4": AFTER_END}


def test_polled_protocol_is_refused(annotations):
    with pytest.raises(UserError, match="cannot be polled"):
        make_ovo_timing_episodes(annotations, ReplayProtocol("polled"), KnownLengths(2))


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))
def test_oracle_reaches_the_best_values(annotations, protocol):
    made = make_ovo_timing_episodes(annotations, protocol, KnownLengths(2))
    score = score_ovo_timing_records(annotations, oracle_records(made.episodes, protocol))
    assert score.values["average_f1_at_2s"] == 1.0
    assert score.count("scored") == 3


def test_utterances_after_the_question_are_detections_at_the_time_of_their_frame(annotations):
    episode = by_item(make_ovo_timing_episodes(annotations, WHOLE, KnownLengths(2)))["4"]
    said = {2: "too early", 8: "with the question", 13: "6.5 s", 14: "7 s", 20: "10 s"}
    score = score_ovo_timing_records(annotations, [speaking_record(episode, WHOLE, said)])
    assert score.values["CRR.recall_at_2s"] == 1.0
    assert score.values["CRR.precision_at_2s"] == pytest.approx(1 / 3)
    assert [item.id for item in score.items] == ["4"]


def test_failed_record_is_silence_and_a_failed_item(annotations):
    episode = by_item(make_ovo_timing_episodes(annotations, WHOLE, KnownLengths(2)))["4"]
    score = score_ovo_timing_records(annotations, [failed_record(episode, WHOLE)])
    assert (score.count("failed"), score.values["CRR.f1_at_2s"]) == (1, 0.0)


def test_constants_are_over_the_held_samples(annotations):
    episode = by_item(make_ovo_timing_episodes(annotations, OFFICIAL, KnownLengths(2)))["4"]
    constants = ovo_timing_constants_of_records(annotations, oracle_records([episode], OFFICIAL))
    assert {item.id for item in constants["every_5s"].items} == {"4"}
    assert constants["every_5s"].values["CRR.recall_at_2s"] == 1.0  # 9 s
    assert constants["silent"].values["CRR.recall_at_2s"] == 0.0


@pytest.mark.integration
@pytest.mark.slow
def test_run_of_the_oracle_writes_official_values(annotations, tmp_path):
    write_tiny_videos(tmp_path, {"v3.mp4": 20, "v4.mp4": 20})
    official = run_oracle(
        "ovo_timing", tmp_path, tmp_path / "run", "--protocol", "official", "--limit", 2, "--on-missing", "skip"
    )
    assert (official["protocol"], official["missing_videos"]) == (OFFICIAL.describe(), 1)
    assert {item["task"] for item in official["items"]} == {"SSR", "CRR"}
    assert official["values"]["SSR.f1_at_2s"]["value"] == 1.0
    assert official["values"]["average_f1_at_2s"]["value"] == pytest.approx(2 / 3)
