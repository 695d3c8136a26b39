"""Clocks of a stream: hand-computed schedules, and properties over random episodes."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prospect_core.records import (
    ClockSettings,
    EpisodeTiming,
    Knobs,
    PredictedMistake,
    PredictedUtterance,
    ReplayProtocol,
    digest_records,
)
from prospect_core.stream.clocked_outputs import ReadyUtterance, time_speech
from prospect_core.stream.recorded_latencies import read_recorded_latencies
from prospect_core.stream.replay import replay_episode
from prospect_core.timeline import Poll
from prospect_core.util.atomic import write_atomic
from prospect_core.util.errors import DataError, UserError
from prospect_core.util.json_io import dump_json, load_json
from tests.helpers.clocked_streams import ScriptedSpans, ScriptedStream, clocked, short_video, simulated

#: 1250 ms are 2.5 frames at 2 frames per second
FRAMES_2_5 = 1250


def seen_frames(model: ScriptedStream) -> list[int]:
    return [number for number, _, _ in model.shown]


def test_drop_latency_of_2_5_frames_shows_newest_frame():
    """Steps begin at frame times 0, 2.5, 5, 7.5: the newest frames are 0, 2, 5, 7."""
    model = ScriptedStream()
    record, _ = clocked(model, short_video(10), simulated(frame=FRAMES_2_5))
    assert seen_frames(model) == [0, 2, 5, 7]
    assert [picture for _, picture, _ in model.shown] == [0, 2, 5, 7]
    assert record.dropped == ((1, 1), (3, 4), (6, 6), (8, 9))


def test_queue_latency_of_2_5_frames_shows_all_frames_late():
    """Step k begins at frame time 2.5 k; the video ends at 10, so frames 4 and later wait in vain."""
    model = ScriptedStream()
    record, _ = clocked(model, short_video(10), simulated("queue", frame=FRAMES_2_5))
    assert seen_frames(model) == [0, 1, 2, 3]
    assert record.dropped == ((4, 9),)


def test_drop_latency_below_frame_period_drops_nothing():
    model = ScriptedStream()
    record, _ = clocked(model, short_video(10), simulated(frame=499))
    assert seen_frames(model) == list(range(10))
    assert record.dropped == ()


def test_drop_latency_of_one_frame_period_drops_nothing():
    """A step that ends exactly when the next frame arrives is in time."""
    model = ScriptedStream()
    clocked(model, short_video(10), simulated(frame=500))
    assert seen_frames(model) == list(range(10))


@pytest.mark.parametrize(
    ("busy", "decided", "frame"), [("drop", 2, 5), ("drop", 5, 7), ("queue", 1, 5), ("queue", 2, 7)]
)
def test_utterance_is_ready_when_step_ends(busy, decided, frame):
    """Under ``drop`` the step on frame 2 ends at 5.0, that on frame 5 at 7.5; under ``queue`` the
    steps on frames 1 and 2 end at 5.0 and 7.5."""
    model = ScriptedStream({decided: "Put it there."})
    record, _ = clocked(model, short_video(10), simulated(busy, frame=FRAMES_2_5))
    [utterance] = record.utterances
    assert (utterance.decided, utterance.frame, utterance.text) == (decided, frame, "Put it there.")


def test_utterance_tokens_delay_utterance_and_next_frame():
    """0.1 s for the frame and 20 x 50 ms for the reply: ready at 1.1 s, which is frame 2.2."""
    model = ScriptedStream({0: "Well done."}, tokens=20)
    record, _ = clocked(model, short_video(10), simulated(frame=100, output_token=50))
    assert (record.utterances[0].decided, record.utterances[0].frame) == (0, 2)
    assert record.utterances[0].spoken == (1.1, 1.9)
    assert seen_frames(model) == [0, *range(2, 10)]


def test_prompt_tokens_of_model_without_count_are_whole_context():
    """10 tokens of context x 125 ms are 2.5 frames."""
    model = ScriptedStream()
    clocked(model, short_video(10), simulated(prompt_token=125))
    assert seen_frames(model) == [0, 2, 5, 7]


def test_transition_takes_effect_when_step_ends():
    model = ScriptedStream(changes={2: "start"})
    record, _ = clocked(model, short_video(10), simulated(frame=FRAMES_2_5))
    assert [(t.decided, t.frame) for t in record.transitions] == [(2, 5)]
    assert [state.states for _, state in record.tracked_states()] == [("not_started",), ("in_progress",)]


class ReportingStream(ScriptedStream):
    """Reports a mistake on the second frame that it sees."""

    def step(self, frame, user_text=None):
        output = super().step(frame, user_text)
        second = len(self.shown) == 2
        report = PredictedMistake(output.frame, "S1") if second else None
        return replace(output, mistake_prob=0.9 if second else 0.1, mistake=report)


def test_mistake_report_takes_effect_when_step_ends():
    record, _ = clocked(ReportingStream(), short_video(10), simulated(frame=FRAMES_2_5))
    assert record.mistakes == (PredictedMistake(5, "S1"),)
    assert record.mistake_prob == (0, 0, 0.1, 0, 0, 0.9, 0, 0.1, 0, 0)


def test_probabilities_are_zero_on_frames_without_step_end():
    """Steps end at frame times 2.5, 5, 7.5, which are frames 2, 5 and 7; the last ends with the video."""
    model = ScriptedStream({2: "Go on."})
    record, _ = clocked(model, short_video(10), simulated(frame=FRAMES_2_5))
    assert record.speaking_prob == (0, 0, 0.1, 0, 0, 0.9, 0, 0.1, 0, 0)
    assert record.cache_tokens == (10,) * 10


def test_utterance_ready_after_video_is_undelivered():
    model = ScriptedStream({7: "Too late."})
    record, _ = clocked(model, short_video(10), simulated(frame=FRAMES_2_5))
    assert record.utterances == ()
    assert [(u.decided, u.frame, u.text) for u in record.undelivered] == [(7, 10, "Too late.")]


def test_user_text_of_dropped_frames_comes_with_next_seen_frame():
    """The turns belong to frames 3 and 4, which are dropped; frame 5 is the next."""
    episode = short_video(10, said={1.2: "What now?", 1.6: "Hello?"})
    model = ScriptedStream()
    clocked(model, episode, simulated(frame=FRAMES_2_5))
    assert [text for _, _, text in model.shown] == [None, None, "What now? Hello?", None]


def test_queue_utterances_ready_on_one_frame_become_one():
    """Frame 0 takes 2 s (tokens), frames 1 and 2 follow immediately: all are ready on frame 4."""
    knobs = simulated("queue", output_token=0.1)
    late = ScriptedStream({0: "One.", 1: "Two.", 2: "Three."})
    late.step = _first_reply_of_tokens(late, 20000)  # type: ignore[method-assign]
    record, _ = clocked(late, short_video(10), knobs)
    assert [(u.decided, u.frame, u.text, u.tokens) for u in record.utterances] == [(0, 4, "One. Two. Three.", 20002)]


def _first_reply_of_tokens(model: ScriptedStream, tokens: int):
    step = model.step

    def changed(frame, user_text=None):
        output = step(frame, user_text)
        return replace(output, utterance=replace(output.utterance, tokens=tokens)) if output.frame == 0 else output

    return changed


def test_episode_start_is_time_zero_of_clock():
    model = ScriptedStream({12: "Go on."})
    record, _ = clocked(model, short_video(10, start=10), simulated(frame=FRAMES_2_5))
    assert seen_frames(model) == [10, 12, 15, 17]
    assert [(u.decided, u.frame) for u in record.utterances] == [(12, 15)]


def test_poll_between_frames_is_asked_once_and_takes_no_time():
    class Asked(ScriptedStream):
        def ask(self, question, choices=(), max_tokens=None, keep=False):
            from prospect_core.stream.polling import Answer

            return Answer(f"after {self.shown[-1][0]}")

    polls = tuple(Poll(f"p{k}", time, "How many?") for k, time in enumerate([0.0, 1.6, 4.9]))
    model = Asked()
    record, _ = clocked(model, replace(short_video(10), polls=polls).validate(), simulated(frame=FRAMES_2_5))
    assert seen_frames(model) == [0, 2, 5, 7]
    assert [(answer.frame, answer.text) for answer in record.answers] == [
        (0, "after 0"),
        (3, "after 2"),
        (9, "after 7"),
    ]


@pytest.mark.parametrize(
    ("ready", "turns", "expected"),
    [
        # three words at 60 words a minute take 3 s
        ([1.0], [], [((1.0, 4.0), None)]),
        # the second waits for the end of the first
        ([1.0, 2.0], [], [((1.0, 4.0), None), ((4.0, 7.0), None)]),
        # a user turn at 2.5 s leaves one whole word; the second starts then
        ([1.0, 2.0], [2.5], [((1.0, 2.5), 1), ((2.5, 5.5), None)]),
        # a turn at the start or the end of the speech does not interrupt it
        ([1.0], [1.0, 4.0], [((1.0, 4.0), None)]),
    ],
)
def test_time_speech_scenarios_equal_hand_computed_times(ready, turns, expected):
    items = [ReadyUtterance(PredictedUtterance(k, "one two three"), Fraction(time)) for k, time in enumerate(ready)]
    spoken = time_speech(items, [Fraction(turn) for turn in turns], 60)
    assert [(one.spoken, one.words_heard) for one in spoken] == expected


def test_protocol_that_stops_video_is_refused():
    for switch in ({"history": "gold"}, {"polling": "recut"}):
        knobs = Knobs(protocol=replace(simulated(frame=1).rules, **switch))
        with pytest.raises(UserError, match="needs a video that waits"):
            replay_episode(ScriptedStream(), short_video(4), range(4), knobs, "x")
    with pytest.raises(UserError, match="--latency-model"):
        replay_episode(
            ScriptedStream(), short_video(4), range(4), Knobs(protocol=ReplayProtocol(clock="simulated")), "x"
        )


def test_record_of_replay_keeps_its_json_keys():
    record, _ = clocked(ScriptedStream({1: "Go on."}), short_video(4), Knobs())
    text = dump_json(record)
    for key in ("decided", "spoken", "dropped", "undelivered", "words_heard", "timing"):
        assert f'"{key}"' not in text


def test_record_of_clocked_stream_reads_back_equal():
    record, _ = clocked(ScriptedStream({2: "Go on."}), short_video(10), simulated(frame=FRAMES_2_5))
    assert load_json(type(record), dump_json(record), "record") == record


SCRIPTS = st.fixed_dictionaries(
    {
        "frames": st.integers(1, 40),
        "start": st.integers(0, 7),
        "fps": st.sampled_from([0.5, 1, 2, 29.97]),
        "speaks": st.sets(st.integers(0, 46), max_size=12),
        "said": st.sets(st.integers(0, 38), max_size=4),
        "latency": st.fixed_dictionaries({"frame": st.integers(0, 3000), "output_token": st.integers(0, 900)}),
        "busy": st.sampled_from(["drop", "queue"]),
    }
)


def _open_script(script):
    start, fps = script["start"], script["fps"]
    # a user turn needs a later frame
    after = sorted(frame for frame in script["said"] if frame < script["frames"] - 1)
    said = {round((start + frame + 0.5) / fps, 4): f"turn {frame}" for frame in after}
    episode = short_video(script["frames"], fps, start, said)
    return episode, {frame: f"words of {frame}" for frame in script["speaks"]}


@settings(max_examples=150, deadline=None)
@given(SCRIPTS)
def test_clocked_stream_random_scripts_keep_order_and_causality(script):
    episode, speaks = _open_script(script)
    model = ScriptedStream(speaks)
    record, _ = clocked(model, episode, simulated(script["busy"], **script["latency"]))
    frames = seen_frames(model)
    assert frames == sorted(set(frames))
    assert frames[0] == episode.start_frame
    dropped = {frame for first, last in record.dropped for frame in range(first, last + 1)}
    assert dropped.isdisjoint(frames)
    assert dropped | set(frames) == set(range(episode.start_frame, episode.end_frame))
    for utterance in (*record.utterances, *record.undelivered):
        assert utterance.decision_frame <= utterance.frame
        assert utterance.spoken[0] <= utterance.spoken[1]
        assert utterance.spoken[0] >= utterance.decision_frame / episode.fps - 0.001
    heard = " ".join(text for _, _, text in model.shown if text)
    given_until = max(frames)
    told = [event.text for frame, event in episode.user_turns() if frame + 1 <= given_until]
    assert heard == " ".join(told)


@settings(max_examples=150, deadline=None)
@given(SCRIPTS)
def test_clocked_stream_spans_equal_single_steps(script):
    episode, speaks = _open_script(script)
    knobs = simulated(script["busy"], **script["latency"])
    spans, single = ScriptedSpans(speaks), ScriptedStream(speaks)
    assert clocked(spans, episode, knobs)[0] == clocked(single, episode, knobs)[0]
    assert spans.shown == single.shown


@settings(max_examples=100, deadline=None)
@given(SCRIPTS)
def test_clocked_stream_without_latency_equals_replay(script):
    episode, speaks = _open_script(script)
    replayed, _ = clocked(ScriptedStream(speaks), episode, Knobs())
    record, _ = clocked(ScriptedSpans(speaks), episode, simulated(script["busy"]))
    assert digest_records([record]) == digest_records([replayed])
    silent = [replace(u, spoken=None, words_heard=None) for u in record.utterances]
    assert replace(record, knobs=Knobs(), utterances=tuple(silent)) == replayed


def _write_timings(folder, timing: EpisodeTiming) -> ClockSettings:
    from dataclasses import asdict

    write_atomic(folder / "timings.json", dump_json({"schema": 1, "episodes": {timing.episode: asdict(timing)}}))
    _, digest = read_recorded_latencies(str(folder))
    return ClockSettings(recorded=str(folder), recorded_digest=digest)


class SlowStream(ScriptedStream):
    """Takes 0 to 30 ms a step."""

    def step(self, frame, user_text=None):
        import time

        time.sleep(0.003 * (self.frame * 7 % 11))
        return super().step(frame, user_text)


@pytest.mark.parametrize("fps", [2, 29.97])
def test_recorded_latencies_of_live_stream_repeat_it(fps, tmp_path):
    """At 60 times the speed of a video with 2 frames per second a frame takes 8 ms."""
    speaks = {frame: f"words of {frame}" for frame in range(0, 60, 3)}
    episode = short_video(60, fps, 5)
    live = Knobs(protocol=ReplayProtocol(clock="live", timing=ClockSettings(speed=120 / fps)))
    watched = SlowStream(speaks)
    record, timing = clocked(watched, episode, live)
    assert record.dropped
    timing = replace(timing, episode=episode.id)
    protocol = ReplayProtocol(clock="simulated", timing=_write_timings(tmp_path, timing))
    model = ScriptedStream(speaks)
    repeated, _ = clocked(model, episode, Knobs(protocol=protocol))
    assert model.shown == watched.shown
    assert replace(repeated, knobs=live) == record
    assert [one.frame for one in timing.steps] == seen_frames(model)


def test_recorded_latencies_of_other_model_are_refused(tmp_path):
    episode = short_video(20)
    live = Knobs(protocol=ReplayProtocol(clock="live", timing=ClockSettings(speed=100)))
    _, timing = clocked(SlowStream(), episode, live)
    settings_ = _write_timings(tmp_path, replace(timing, steps=timing.steps[:2]))
    knobs = Knobs(protocol=ReplayProtocol(clock="simulated", timing=settings_))
    with pytest.raises(DataError, match="of another model, or of other settings"):
        replay_episode(ScriptedStream(), episode, range(20), knobs, "x")
