"""Training windows, their supervised frames, and their change with epoch and training progress."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from prospect_core.data.formats.proassist_rows import PROGRESS_BEFORE, SUPERVISED_FROM
from prospect_core.sequence.builder import SequenceBuilder
from prospect_core.sequence.context_noise import NoiseRates
from prospect_core.sequence.labels import IGNORE
from prospect_core.sequence.layout import Context, layout_newest_turns
from prospect_core.timeline import Episode, Event, Step, Task
from prospect_core.train.data.curriculum import Curriculum, curriculum_difficulty
from prospect_core.train.data.frame_samplers import (
    ClassBalanced,
    CombinedSampler,
    Complexity,
    Every,
    KeyFrames,
    Regular,
    Silent,
    Speaking,
    Transitions,
    WindowView,
    frame_sampler_motion,
)
from prospect_core.train.data.window_sampler import (
    TrainingWindow,
    WindowPrefix,
    WindowSampler,
    fit_sampler_window,
    window_sampler_after_reply,
    window_sampler_before_question,
    window_sampler_exchanges,
    window_sampler_frame_costs,
    window_sampler_last_progress,
    window_sampler_prior_dialogue,
)
from prospect_core.util.errors import UserError
from tests.helpers.random_episodes import episodes

pytestmark = pytest.mark.integration

NONE = NoiseRates(0, 0, 0, 0, 0)
TASK = Task("tea", (Step("S1", "boil"), Step("S2", "pour")))


@pytest.fixture(scope="module")
def builder(tokenizer):
    return SequenceBuilder(tokenizer, 4)


def asked():
    """A question after frame 6 that is answered on frame 9, with steps and utterances before and
    after.
    """
    events = (
        Event("d1", 1.0, "transition", step="S1", change="start"),
        Event("a1", 1.0, "assistant", "Boil it.", progress="1 s. Nothing is done."),
        Event("u", 3.0, "user", "How many are left?"),
        Event("a2", 4.5, "assistant", "Two are left."),
        Event("d2", 6.0, "transition", step="S1", change="complete"),
        Event("a3", 6.0, "assistant", "Now pour.", progress="6 s. Boiled."),
        Event("d3", 8.0, "transition", step="S2", change="start"),
    )
    return Episode("e", "v", 2, 0, 24, TASK, events).validate()


def test_window_sampler_prior_dialogue_equals_stream(builder):
    """Turns on one frame are one turn; a user turn just before the window reaches the stream with
    its first frame.
    """
    events = (
        Event("a", 1.0, "assistant", "one"),
        Event("b", 1.0, "assistant", "and more"),
        Event("u", 2.0, "user", "two"),
        Event("v", 2.0, "user", "again"),
        Event("c", 4.0, "assistant", "three"),
    )
    episode = Episode("e", "v", 2, 0, 20, Task("x"), events, file_order=True).validate()
    one = ("Assistant", "one and more")
    assert window_sampler_prior_dialogue(episode, 5) == (one,)
    assert window_sampler_prior_dialogue(episode, 6)[:2] == (one, ("User", "two"))
    said = window_sampler_prior_dialogue(episode, 9)
    assert said[-1] == ("Assistant", "three")
    assert layout_newest_turns(builder, said, 1) == said[-1:]
    assert layout_newest_turns(builder, said, 0) == ()
    assert layout_newest_turns(builder, (("Assistant", "word " * 200), ("User", "Hm.")), 2) == (("User", "Hm."),)


def draw(sampler, episode, builder, seed=0, max_tokens=4000, longest=None):
    return sampler.draw(random.Random(seed), episode, builder, max_tokens, longest)


def test_window_sampler_keeps_shares(world, builder):
    episode = max(world.episodes("train"), key=lambda e: len(e.events))
    sampler = WindowSampler(3, 3, 1.0, blank_share=0.4, summary_share=0.4, recent_share=0.5,
                            context_noise=replace(NONE, missed=0.4), progress_share=0.5)  # fmt: skip
    rng = random.Random(0)
    drawn = [sampler.draw(rng, episode, builder, 4000) for _ in range(600)]
    decided = {d.frame for d in episode.decisions() if d.event.kind != "user"}
    assert all(decided & set(range(w.start, w.end)) for w in drawn)
    later = [w for w in drawn if w.start > 30]
    assert 0.5 < np.mean([w.context.state is None for w in later]) < 0.7
    assert 0.3 < np.mean([bool(w.context.summary) for w in later]) < 0.5
    both = [w for w in later if w.context.summary]
    assert 0.35 < np.mean([w.context.state is None for w in both]) < 0.65
    assert 0.35 < np.mean([bool(w.context.recent) for w in later]) < 0.65
    assert 0.3 < np.mean([bool(w.context_noise.missed) for w in drawn if w.clip.transitions()]) < 0.65
    assert all(w.context_noise.missed <= set(range(w.start, w.end)) for w in drawn)
    assert any(w.summary for w in drawn)


def test_window_sampler_first_window_has_no_summary(builder):
    context, known = WindowPrefix(states=False, summary=True, recent=2).context(builder, asked(), 0)
    assert context == Context(asked().initial_state)
    assert known == {"S1", "S2"}


def test_window_prefix_summary_has_no_changed_steps(builder):
    context, known = WindowPrefix(states=False, summary=True, recent=1).context(builder, asked(), 15)
    assert context == Context(None, "6 s. Boiled.", (("Assistant", "Now pour."),))
    assert known == {"S1", "S2"}
    context, known = WindowPrefix(states=False, summary=True).context(builder, asked(), 20)
    assert (context.summary, known) == ("6 s. Boiled.", {"S1"})
    assert WindowPrefix(states=True, summary=True).context(builder, asked(), 20)[1] == {"S1", "S2"}
    assert window_sampler_last_progress(asked(), 2) is None
    assert window_sampler_last_progress(asked(), 3) == ("1 s. Nothing is done.", set())
    assert window_sampler_last_progress(asked(), 20) == ("6 s. Boiled.", {"S2"})


def test_window_prefix_summary_hides_open_step(builder):
    context, known = WindowPrefix(states=False, summary=True).context(builder, asked(), 12)
    assert context.summary == "1 s. Nothing is done."
    assert asked().state_at(11)["S1"] == "in_progress"
    assert known == {"S2"}


def test_training_window_unknowable_answers_have_no_loss(builder):
    """Answers whose evidence is before the window and not in its prompt can only be guessed."""
    episode = asked()
    context, known = WindowPrefix(states=False, summary=True).context(builder, episode, 20)
    window = TrainingWindow(episode, 20, 24, context, known)
    sequence = window.tokens(builder)
    assert sequence.states == [[2, IGNORE]] * 4
    assert set(sequence.lm_labels) == {IGNORE}
    told = TrainingWindow(episode, 20, 24, Context(episode.state_at(19)), None).tokens(builder)
    assert told.states == [[2, 1]] * 4


def test_window_sampler_summary_is_trained_at_end(builder):
    episode = asked()
    sampler = WindowSampler(
        8,
        8,
        event_share=1.0,
        blank_share=0,
        summary_share=0,
        progress_share=1.0,
        context_noise=NONE,
    )
    with_summary = [w for w in (draw(sampler, episode, builder, seed) for seed in range(40)) if w.summary]
    assert {w.summary for w in with_summary} == {"1 s. Nothing is done.", "6 s. Boiled."}
    window = next(w for w in with_summary if w.summary == "6 s. Boiled.")
    assert window.end == 13
    sequence = window.tokens(builder, set())
    tail = builder.summary(window.summary)
    assert sequence.ids[-len(tail) :] == tail
    assert sequence.lm_labels[-len(tail) :] == [IGNORE, *tail[1:]]
    assert set(sequence.lm_labels[: -len(tail)]) == {IGNORE}


def test_window_sampler_own_summary_is_at_end(builder):
    episode = replace(asked(), summary="Tea is nearly made.")
    sampler = WindowSampler(24, 24, progress_share=1.0, context_noise=NONE)
    assert draw(sampler, episode, builder).summary == "Tea is nearly made."


def test_window_sampler_keeps_question_with_reply(builder):
    episode = asked()
    late = tuple(replace(e, time=5.9, labels="responsive|other") if e.id == "a2" else e for e in episode.events)
    assert window_sampler_exchanges(replace(episode, events=late)) == [(6, 11)]
    assert window_sampler_exchanges(episode) == [(6, 9)]
    assert [window_sampler_before_question(episode, k) for k in (5, 6, 7, 9, 10)] == [5, 6, 6, 6, 10]
    assert [window_sampler_after_reply(episode, k) for k in (5, 6, 7, 9, 10)] == [5, 6, 10, 10, 10]
    sampler = WindowSampler(2, 8, context_noise=NONE)
    starts = {draw(sampler, episode, builder, seed).start for seed in range(300)}
    assert not {7, 8, 9} & starts
    assert {6, 10} <= starts


def test_window_sampler_keeps_two_questions_with_replies():
    events = (
        Event("u1", 1.0, "user", "Hm."), Event("a1", 2.0, "assistant", "Yes?"), Event("u2", 2.0, "user", "What now?"),
        Event("u3", 3.0, "user", "Hello?"), Event("a2", 4.0, "assistant", "Boil."),
    )  # fmt: skip
    episode = Episode("e", "v", 2, 0, 20, TASK, events, file_order=True).validate()
    assert window_sampler_exchanges(episode) == [(2, 4), (4, 8)]
    # frame 4 answers the first question and the second one follows: both stay complete
    assert window_sampler_before_question(episode, 7) == 2
    assert window_sampler_after_reply(episode, 3) == 9


@settings(max_examples=60, deadline=None)
@given(episodes(min_frames=4), st.integers(0, 10**6), st.integers(150, 400))
def test_window_sampler_truncation_keeps_events_complete(tokenizer, episode, seed, max_tokens):
    """With any number of tokens, a window contains each of its events completely: text, label, and
    answered question.
    """
    builder = SequenceBuilder(tokenizer, 4)
    sampler = WindowSampler(2, 80, context_noise=NONE, progress_share=0.3)
    try:
        window = draw(sampler, episode, builder, seed, max_tokens)
    except UserError:
        assume(False)
    sequence = window.tokens(builder)
    assert len(sequence.ids) <= max_tokens
    inside = set(range(window.start, window.end))
    for utterance in episode.utterances():
        if utterance.frame in inside:
            reply = builder.reply(utterance.text)
            at = sequence.frame_last[utterance.frame - window.start] + 1
            assert reply in [sequence.ids[k : k + len(reply)] for k in range(at, len(sequence.ids))]
            cut = utterance.frame == window.start and any(u == window.start - 1 for u, _ in episode.user_turns())
            assert sequence.speaking[utterance.frame - window.start] == (IGNORE if cut else 1)
    for frame, step, _ in episode.transitions():
        if frame in inside:
            # the window does not contain the user turn just before it
            cut = frame == window.start and any(user == frame - 1 for user, _ in episode.user_turns())
            assert sequence.update[frame - window.start] == (IGNORE if cut else 1)
            assert step in builder.tokenizer.decode(sequence.ids)
    for user, reply in window_sampler_exchanges(episode):
        assert not user < window.start <= reply


def test_window_sampler_truncation_drops_summary(world, builder):
    """A truncated window kept the request for a summary whose evidence was cut off."""
    summaries = 0
    for episode in world.episodes("train"):
        ends = {(u.frame + 1, e.progress) for u in episode.utterances() for e in u.events}
        for seed in range(60):
            window = draw(WindowSampler(8, 90, progress_share=1.0), episode, builder, seed, max_tokens=480)
            assert len(window.tokens(builder).ids) <= 480
            if window.summary:
                assert (window.end, window.summary) in ends
                summaries += 1
    assert summaries > 50


def test_window_sampler_keeps_maximum_length(world, builder):
    for episode in world.episodes("train"):
        sampler = WindowSampler(2, 6, progress_share=0)
        exchange = max((reply - user + 1 for user, reply in window_sampler_exchanges(episode)), default=0)
        for seed in range(80):
            window = draw(sampler, episode, builder, seed)
            assert window.end - window.start <= max(6, exchange)


def test_training_window_updates_are_in_step_order(builder):
    """The order is that of a stream, independent of the order in the annotation."""
    events = (
        Event("a", 1.0, "transition", step="S2", change="start"),
        Event("b", 2.0, "transition", step="S2", change="complete"),
        Event("c", 2.0, "transition", step="S1", change="start"),
    )
    sequence = builder.window(Episode("e", "v", 2, 0, 10, TASK, events).validate())
    assert "[DST]S1->start; S2->complete<eos>" in builder.tokenizer.decode(sequence.ids)


def test_fit_sampler_window_too_small_names_need(builder):
    episode = asked()
    with pytest.raises(UserError, match=r"sampling.max_tokens=20: frame 9 of e .* needs \d+; give at least that"):
        fit_sampler_window(builder, episode, 0, 24, 9, WindowPrefix(), "", 20)


def test_window_sampler_frame_costs_equal_added_tokens(builder):
    episode = asked()
    sequence = builder.window(episode)
    prompt = len(builder.prompt(episode.task, Context(episode.initial_state)).ids)
    assert sum(window_sampler_frame_costs(builder, episode)) == len(sequence.ids) - prompt


def test_training_window_event_outside_masks_edge(builder):
    """The frames next to an event have no label, also if the event is outside the window."""
    episode = asked()
    window = TrainingWindow(episode, 3, 9, Context(episode.state_at(2)))
    sequence = window.tokens(builder)
    assert sequence.speaking[0] == IGNORE
    assert sequence.speaking[-1] == IGNORE
    assert sequence.update == [IGNORE, 0, 0, 0, 0, 0]


def test_training_window_unsupervised_frames_have_no_labels(builder):
    episode = asked()
    whole, some = builder.window(episode), builder.window(episode, supervised={9, 12})
    assert some.ids == whole.ids
    assert [k for k, label in enumerate(some.speaking) if label != IGNORE] == [9, 12]
    assert [k for k, row in enumerate(some.states) if row != [IGNORE, IGNORE]] == [9, 12]
    spoken = builder.tokenizer.decode([label for label in some.lm_labels if label != IGNORE])
    assert spoken == "Two are left.<eos>Now pour.<eos>"


def view(motion=None):
    media = None if motion is None else np.cumsum(np.array(motion, dtype=np.float32))[:, None]
    return WindowView(asked(), media)


def test_training_window_user_turn_before_masks_first_frame(builder):
    """The stream gets it with that frame, the window does not: half of these labels were
    unknowable.
    """
    told = Event("u", 2.0, "user", "I am pouring now.")
    started = Event("d1", 2.5, "transition", step="S2", change="start")
    episode = Episode("e", "v", 2, 0, 12, TASK, (told, started)).validate()
    state = episode.state_at(4)
    for start, carries in ((4, True), (5, False), (6, True)):
        before = state if start <= 5 else episode.state_at(5)
        sequence = TrainingWindow(episode, start, 9, Context(before)).tokens(builder)
        first = [sequence.speaking[0], *sequence.states[0]]
        assert all(label != IGNORE for label in first) == carries
        assert all(label == IGNORE for label in first) != carries
        assert all(label != IGNORE for label in sequence.states[1])
        some = TrainingWindow(episode, start, 9, Context(before)).tokens(builder, {start, start + 2})
        assert (some.speaking[0] != IGNORE) == carries
        assert some.speaking[2] != IGNORE


def test_frame_samplers_around_events_by_hand():
    rng = random.Random(0)
    assert Transitions(0, 0)(rng, view()) == {2, 12, 16}
    assert Transitions(0.5, 1)(rng, view()) == {1, 2, 3, 4, 11, 12, 13, 14, 15, 16, 17, 18}
    assert Speaking(1, 0)(rng, view()) == {0, 1, 2, 7, 8, 9, 10, 11, 12}
    assert Every()(rng, view()) == set(range(24))


def test_regular_sampler_redraws_phase():
    drawn = [sorted(Regular(2.0)(random.Random(seed), view())) for seed in range(30)]
    assert all(b - a == 4 for frames in drawn for a, b in pairwise(frames))
    assert {frames[0] for frames in drawn} == {0, 1, 2, 3}


def test_silent_sampler_takes_share_of_quiet_frames():
    quiet = set(range(24)) - {2, 9, 12, 16}
    drawn = [Silent(0.2)(random.Random(seed), view()) for seed in range(50)]
    assert all(frames <= quiet and len(frames) == 4 for frames in drawn)
    assert len({tuple(sorted(frames)) for frames in drawn}) > 30
    assert len(Silent(0.001)(random.Random(0), view())) == 1
    assert Silent(0.0)(random.Random(0), view()) == set()


def test_key_frames_sampler_takes_picture_changes():
    motion = [0.0] * 24
    motion[5], motion[20] = 9.0, 7.0
    assert KeyFrames(2 / 24)(random.Random(0), view(motion)) == {5, 20}
    assert KeyFrames()(random.Random(0), view()) == set()


def test_complexity_sampler_prefers_motion_and_events():
    motion = [0.0] * 24
    for frame in range(18, 24):
        motion[frame] = 5.0
    counts = np.zeros(24)
    for seed in range(400):
        for frame in Complexity(0.25, 0.05)(random.Random(seed), view(motion)):
            counts[frame] += 1
    assert counts.sum() == 400 * 6
    assert counts[18:].mean() > 2 * counts[:18].mean()


def test_combined_sampler_joins_and_thins():
    rng = random.Random(0)
    both = CombinedSampler((Transitions(0, 0), Speaking(0, 0)))(rng, view())
    assert both == {2, 9, 12, 16}
    balanced = ClassBalanced(Every(), 2.0)(rng, view())
    assert {2, 9, 12, 16} <= balanced
    assert len(balanced) == 4 + 8
    assert len(ClassBalanced(Silent(1.0), 2.0)(rng, view())) == 1


def test_frame_sampler_motion_is_mean_difference():
    frames = np.zeros((4, 2, 2, 3), np.uint8)
    frames[2:] = 250
    np.testing.assert_allclose(frame_sampler_motion(frames), [0, 0, 250, 0])


def test_curriculum_starts_short_and_easy():
    easy = Episode("a", "v", 2, 0, 100, Task("x", (Step("S1", "a"),)))
    hard = replace(asked(), id="b")
    curriculum = Curriculum(start=0.5, until=0.5)
    assert [curriculum.share(p) for p in (0, 0.25, 0.5, 1)] == [0.5, 0.75, 1, 1]
    assert curriculum.longest(4, 40, 0) == 20
    assert curriculum.longest(30, 40, 0) == 30
    assert curriculum_difficulty(easy) < curriculum_difficulty(hard)
    assert curriculum.ranked([hard, easy]) == [1, 0]
    assert [curriculum.admitted(10, p) for p in (0, 0.25, 0.5)] == [5, 8, 10]


def later_clip():
    """A published clip that continues another one: context until frame 10, and the steps done until
    there.
    """
    return replace(asked(), meta={SUPERVISED_FROM: "10", PROGRESS_BEFORE: "3 s. The kettle is filled."})


def test_training_window_published_context_has_no_loss(builder):
    """They were labeled silent although the previous clip has utterances on them."""
    context = Context(asked().initial_state)

    def taught(episode, supervised):
        sequence = TrainingWindow(episode, 0, 16, context).tokens(builder, supervised)
        return [f for f, label in zip(sequence.frames, sequence.speaking, strict=True) if label != IGNORE]

    for supervised in (None, {3, 9, 12}):
        usual = taught(asked(), supervised)
        assert min(usual) < 10
        assert taught(later_clip(), supervised) == [frame for frame in usual if frame >= 10]


def test_training_window_later_clip_starts_with_summary(builder):
    context, known = WindowPrefix().context(builder, later_clip(), 0)
    assert context == Context(later_clip().initial_state, "3 s. The kettle is filled.")
    assert known == {"S1", "S2"}
