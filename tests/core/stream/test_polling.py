"""Polls and teacher forcing on a real runner with a random model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prospect_core.records import Knobs, ReplayProtocol
from prospect_core.stream.batching import StreamBatcher
from prospect_core.stream.polling import StreamRules, format_poll_question
from prospect_core.stream.replay import replay_episode
from prospect_core.stream.runner import VLMStreamRunner
from prospect_core.timeline import Episode, Event, Poll
from prospect_core.util.errors import UserError
from tests.helpers.streams import STRATEGIES, TASK, Scripted, busy_episode, least, pictures

pytestmark = pytest.mark.integration

FRAMES = 60
WANTED = {4: ("in_progress", "not_started"), 9: ("completed", "in_progress"), 21: ("completed", "completed")}
SPEAKS = {2, 9, 14, 15, 40}
POLLS = tuple(
    Poll(f"p{k}", time, f"How many cubes were moved by {time:g} s?", ("none", "one", "two"), ("B",))
    for k, time in enumerate([0.0, 2.0, 4.7, 4.7, 7.0, 21.0, 29.5])
)


def polled(polls=POLLS) -> Episode:
    return replace(busy_episode(FRAMES), polls=tuple(polls)).validate()


def make_runner(model, tokenizer, knobs, **options) -> Scripted:
    return Scripted(model, tokenizer, knobs, WANTED, SPEAKS, **options)


def stream_of(record):
    return replace(record, answers=(), episode=replace(record.episode, polls=()))


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("longest", [1, 16])
def test_runner_ask_leaves_stream_bit_equal(model, tokenizer, name, longest):
    knobs = Knobs(name, least(model, tokenizer, name) + 30) if name else Knobs()
    without, _ = replay_episode(
        make_runner(model, tokenizer, knobs), polled(()), pictures(FRAMES), knobs, "x", longest_span=longest
    )
    asked, _ = replay_episode(
        make_runner(model, tokenizer, knobs), polled(), pictures(FRAMES), knobs, "x", longest_span=longest
    )
    assert [answer.poll for answer in asked.answers] == [poll.id for poll in POLLS]
    assert [answer.frame for answer in asked.answers] == [0, 4, 9, 9, 14, 42, 59]
    assert asked.problems() == []
    assert stream_of(asked) == without


def test_runner_ask_unread_tokens_are_read_in_next_step(model, tokenizer):
    runner = make_runner(model, tokenizer, Knobs())
    runner.reset(TASK)
    for picture in pictures(10):
        runner.step(picture)
    context = runner.stream.context
    before = (list(context.ids), context.unread, context.cache.length, len(context.meta))
    assert context.unread > 0
    answer = runner.ask("What now?", max_tokens=5)
    assert answer.tokens <= 5
    assert (list(context.ids), context.unread, context.cache.length, len(context.meta)) == before


def test_runner_ask_twice_gives_same_answer(model, tokenizer):
    runner = make_runner(model, tokenizer, Knobs())
    runner.reset(TASK)
    for picture in pictures(5):
        runner.step(picture)
    assert runner.ask("What now?") == runner.ask("What now?")


def test_runner_ask_keep_adds_question_and_answer(model, tokenizer):
    runner = make_runner(model, tokenizer, Knobs())
    runner.reset(TASK)
    runner.step(pictures(1)[0])
    answer = runner.ask("What now?", keep=True)
    assert runner.stream.said == [("User", "What now?"), ("Assistant", answer.text)]
    text = tokenizer.decode(runner.stream.context.ids)
    assert "What now?" in text
    assert len(runner.stream.context.meta) == len(runner.stream.context.ids)
    runner.step(pictures(1)[0])


def test_runner_ask_long_question_is_read_completely(model, tokenizer, monkeypatch):
    runner = make_runner(model, tokenizer, Knobs())
    runner.reset(TASK)
    runner.step(pictures(1)[0])
    read = []
    forward = runner.contexts.forward
    monkeypatch.setattr(
        runner.contexts, "forward", lambda context, ids, *more, **named: read.append(context.to_read(ids)) or forward(context, ids, *more, **named)
    )  # fmt: skip
    question = "Which of these many things was moved? " * 20
    runner.ask(question, ("a red cube", "a blue ball"))
    assert "B. a blue ball" in tokenizer.decode(read[0])


def test_batcher_polled_streams_equal_single_streams(model, tokenizer):
    episodes = [replace(polled(POLLS[k : k + 3]), id=f"e{k}") for k in range(4)]
    single = {
        episode.id: replay_episode(make_runner(model, tokenizer, Knobs()), episode, pictures(FRAMES), Knobs(), "x")[0]
        for episode in episodes
    }
    batcher = StreamBatcher(model)

    def job(episode):
        runner = make_runner(model, tokenizer, Knobs(), reader=batcher)
        return lambda: replay_episode(runner, episode, pictures(FRAMES), Knobs(), "x")[0]

    for record in batcher.run(map(job, episodes), 4):
        assert record == single[record.episode.id]


def test_replay_polled_protocol_never_speaks(model, tokenizer):
    knobs = Knobs(protocol=ReplayProtocol("polled"))
    record, _ = replay_episode(make_runner(model, tokenizer, knobs), polled(), pictures(FRAMES), knobs, "x")
    assert record.utterances == ()
    assert len(record.answers) == len(POLLS)
    assert [t.frame for t in record.transitions] == [4, 9, 9, 21]


def test_replay_recut_polls_use_own_clips(model, tokenizer):
    """A stream without events gives the same answers in one pass and over clips that begin at 0."""
    polls = [poll for poll in POLLS if poll.time < 10]
    episode = Episode("e", "v", 2, 0, FRAMES, TASK, polls=tuple(polls)).validate()
    shown = pictures(FRAMES)
    read = []

    def clip(start, end):
        read.append((start, end))
        return shown[start:end]

    answers = {}
    for polling in ("one_pass", "recut"):
        knobs = Knobs(speaking_threshold=1.0, update_threshold=1.0, protocol=ReplayProtocol("polled", polling=polling))
        runner = VLMStreamRunner(model, tokenizer, knobs)
        answers[polling] = replay_episode(runner, episode, clip, knobs, "x")[0].answers
    assert answers["recut"] == answers["one_pass"]
    assert read == [(0, FRAMES), (0, 1), (0, 5), (0, 10), (0, 10), (0, 15)]


def test_replay_recut_clip_starts_with_poll(model, tokenizer):
    poll = replace(POLLS[4], clip_start=3.2)
    episode = Episode("e", "v", 2, 0, FRAMES, TASK, polls=(poll,)).validate()
    read = []
    knobs = Knobs(protocol=ReplayProtocol("polled", polling="recut"))
    runner = VLMStreamRunner(model, tokenizer, knobs)
    replay_episode(runner, episode, lambda *span: read.append(span) or pictures(FRAMES)[slice(*span)], knobs, "x")
    assert read == [(6, 15)]


def test_replay_recut_without_clip_reader_raises(model, tokenizer):
    knobs = Knobs(protocol=ReplayProtocol("polled", polling="recut"))
    with pytest.raises(UserError, match="read the video again"):
        replay_episode(VLMStreamRunner(model, tokenizer, knobs), polled(), pictures(FRAMES), knobs, "x")


def test_replay_gold_history_replaces_own_words(model, tokenizer):
    turns = (
        Event("a1", 3.0, "assistant", "Take the red cube.", frame=6),
        Event("a2", 4.5, "assistant", "Put it away.", frame=9),
    )
    episode = Episode("e", "v", 2, 0, FRAMES, TASK, turns, file_order=True).validate()
    contexts = {}
    for history in ("own", "gold"):
        knobs = Knobs(protocol=ReplayProtocol(history=history))
        runner = make_runner(model, tokenizer, knobs)
        record, _ = replay_episode(runner, episode, pictures(FRAMES), knobs, "x")
        assert {u.frame for u in record.utterances} <= SPEAKS
        contexts[history] = tokenizer.decode(runner.stream.context.ids)
        assert len(runner.stream.context.meta) == len(runner.stream.context.ids)
    gold = [("Assistant", "Take the red cube."), ("Assistant", "Put it away.")]
    assert runner.stream.said == gold
    assert "Take the red cube." in contexts["gold"]
    assert "Take the red cube." not in contexts["own"]
    assert contexts["gold"].count("[ASST]") == 2


def test_replay_gold_history_spans_equal_single_frames(model, tokenizer):
    turns = tuple(Event(f"a{k}", k / 2, "assistant", f"Number {k}.", frame=k) for k in (3, 9, 10, 33))
    episode = Episode("e", "v", 2, 0, FRAMES, TASK, turns, file_order=True).validate()
    knobs = Knobs(protocol=ReplayProtocol(history="gold"))
    one, many = (
        replay_episode(make_runner(model, tokenizer, knobs), episode, pictures(FRAMES), knobs, "x", longest_span=n)[0]
        for n in (1, 16)
    )
    assert one == many


def test_stream_rules_have_reference_by_frame():
    turns = (Event("a1", 3.0, "assistant", "Yes."), Event("a2", 3.1, "assistant", "Now."))
    episode = Episode("e", "v", 2, 0, 10, TASK, turns)
    assert StreamRules.of(ReplayProtocol(), episode) == StreamRules()
    assert StreamRules.of(ReplayProtocol("chunked", "gold"), episode) == StreamRules(False, {6: "Yes. Now."})


def test_format_poll_question_lists_choices_by_letter():
    assert format_poll_question("Which?", ("a", "b")) == "Which?\nA. a\nB. b"
    assert format_poll_question("Which?", ()) == "Which?"
