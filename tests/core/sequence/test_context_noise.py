"""Context noise in training windows: the written context, and labels that stay correct."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prospect_core.sequence.builder import SequenceBuilder
from prospect_core.sequence.context_noise import LATEST, ContextNoise, NoiseRates
from prospect_core.sequence.labels import IGNORE
from prospect_core.timeline import STEP_STATES, Episode, Event, Step, Task
from prospect_core.train.data.window_sampler import WindowSampler
from tests.helpers.random_episodes import episodes

pytestmark = pytest.mark.integration

TASK = Task("tea", (Step("S1", "boil"), Step("S2", "pour"), Step("S3", "stir")))
EPISODE = Episode(
    "e", "v", 1, 0, 14, TASK,
    (
        Event("a", 2.0, "transition", step="S1", change="start"),
        Event("b", 6.0, "transition", step="S1", change="complete"),
        Event("c", 9.0, "transition", step="S2", change="start"),
    ),
).validate()  # fmt: skip


@pytest.fixture(scope="module")
def builder(tokenizer):
    return SequenceBuilder(tokenizer, 1)


def written(builder, sequence):
    """Return {frame: text that is written after it}."""
    ends = [*sequence.frame_last[1:], len(sequence.ids)]
    pieces = [sequence.ids[a + 1 : b] for a, b in zip(sequence.frame_last, ends, strict=True)]
    texts = [builder.tokenizer.decode(piece).split("<image>")[0] for piece in pieces]
    return {
        frame: text[len("[DST]") : -len("<eos>")] for frame, text in zip(sequence.frames, texts, strict=True) if text
    }


X = IGNORE


@pytest.mark.parametrize(
    ("context_noise", "said", "update"),
    [
        (
            ContextNoise(),
            {2: "S1->start", 6: "S1->complete", 9: "S2->start"},
            [0, X, 1, X, 0, X, 1, X, X, 1, X, 0, 0, 0],
        ),
        # late: the update is due on every frame until it is written
        (
            ContextNoise(frozenset({2, 3, 4})),
            {5: "S1->start", 6: "S1->complete", 9: "S2->start"},
            [0, X, 1, 1, 1, 1, 1, X, X, 1, X, 0, 0, 0],
        ),
        # missed: the next written update contains both
        (
            ContextNoise(frozenset(range(2, 6))),
            {6: "S1->start; S1->complete", 9: "S2->start"},
            [0, X, 1, 1, 1, 1, 1, X, X, 1, X, 0, 0, 0],
        ),
        # another step is started: the correct one is still due, and the wrong start cannot be
        # undone
        (
            ContextNoise(wrong={2: ("S3", "start")}),
            {2: "S3->start", 3: "S1->start", 6: "S1->complete", 9: "S2->start"},
            [0, X, 1, 1, 0, X, 1, X, X, 1, X, 0, 0, 0],
        ),
        # completed too early: the step is reopened
        (
            ContextNoise(wrong={4: ("S1", "complete")}),
            {2: "S1->start", 4: "S1->complete", 5: "S1->reopen", 6: "S1->complete", 9: "S2->start"},
            [0, X, 1, X, 0, 1, 1, X, X, 1, X, 0, 0, 0],
        ),
        # not legal at that time: the due update is written
        (
            ContextNoise(wrong={2: ("S2", "complete")}),
            {2: "S1->start", 6: "S1->complete", 9: "S2->start"},
            [0, X, 1, X, 0, X, 1, X, X, 1, X, 0, 0, 0],
        ),
    ],
)
def test_context_noise_written_and_due_updates(builder, context_noise, said, update):
    sequence = builder.window(EPISODE, written=context_noise.apply_to(EPISODE))
    assert written(builder, sequence) == said
    assert sequence.update == update
    assert sequence.states == builder.window(EPISODE).states


def test_context_noise_missed_update_keeps_labels(world, tokenizer):
    """A model that always saw every update in its place relied on the context and never recovered
    from a miss.
    """
    builder = SequenceBuilder(tokenizer, 4)
    episode = next(e for e in world.episodes("train") if len(e.transitions()) > 2)
    frame = episode.transitions()[0][0]
    whole = builder.window(episode)
    without = builder.window(
        episode, written=ContextNoise(frozenset(range(frame, episode.end_frame))).apply_to(episode)
    )
    assert "[DST]" in builder.tokenizer.decode(whole.ids)
    assert builder.tokenizer.decode(without.ids).count("[DST]") == 0
    assert (whole.states, whole.speaking) == (without.states, without.speaking)
    assert set(without.update[frame - episode.start_frame :]) == {1}


@settings(deadline=None, max_examples=80)
@given(episode=episodes(), seed=st.integers(0, 1000))
def test_context_noise_ends_in_reference_state(builder, episode, seed):
    """A brute-force reader of the written text ends in the reference state, except for wrongly
    started steps.
    """
    context_noise = NoiseRates(0, 0.5, 0.3, 0, 0).draw(random.Random(seed), episode)
    # on the last frame all due updates are written
    context_noise = context_noise.within(episode.start_frame, episode.end_frame - 1)
    wrongly = {step for step, change in context_noise.wrong.values() if change == "start"}
    sequence = builder.window(episode, written=context_noise.apply_to(episode))
    states = dict(zip(episode.task.step_ids, episode.initial_state.states, strict=True))
    for text in builder.tokenizer.decode(sequence.ids).split("[DST]")[1:]:
        for part in text.split("<eos>")[0].split("; "):
            step, change = part.split("->")
            states[step] = {"start": "in_progress", "complete": "completed", "reopen": "in_progress"}[change]
    true = episode.state_at(episode.end_frame - 1)
    for step, state in states.items():
        assert state == true[step] or step in wrongly
    assert [[STEP_STATES[k] for k in row] for row in sequence.states] == [
        list(episode.state_at(frame).states) for frame in sequence.frames
    ]


def test_noise_rates_are_kept_and_delays_end(world):
    every = [e for e in world.episodes("train") if e.transitions()]
    shares, rng = NoiseRates(0, 0.5, 0.4, 0.3, 0.2), random.Random(0)
    late = wrong = early = unsaid = changes = replies = 0
    for _ in range(60):
        for episode in every:
            context_noise = shares.draw(rng, episode)
            frames = {frame for frame, _, _ in episode.transitions()}
            late += len(frames & context_noise.missed)
            wrong += len(context_noise.wrong)
            early, unsaid = early + len(context_noise.early), unsaid + len(context_noise.unsaid)
            changes, replies = changes + len(frames), replies + len(episode.utterances())
            assert all(any(f - k in frames for k in range(LATEST)) for f in context_noise.missed)
            assert not context_noise.early & context_noise.unsaid
            for frame, (step, change) in context_noise.wrong.items():
                assert episode.state_at(frame - 1).is_legal(step, change)
                assert episode.state_at(frame - 1).apply(step, change, 0)[step] != episode.state_at(frame)[step]
    # updates within the delay of the previous change are missed too
    assert 0.45 < late / changes < 0.75
    assert 0.2 < wrong / changes <= 0.42
    assert early / replies == pytest.approx(0.3, abs=0.03)
    assert unsaid / replies == pytest.approx(0.2 * 0.7, abs=0.03)


def test_context_noise_windows_fit_token_limit(world, tokenizer):
    builder = SequenceBuilder(tokenizer, 4)
    sampler = WindowSampler(20, 400, context_noise=NoiseRates(0.1, 0.3, 1.0, 0.3, 0.1))
    rng = random.Random(1)
    sizes = [
        len(sampler.draw(rng, episode, builder, 700).tokens(builder).ids)
        for episode in world.episodes("train")
        for _ in range(12)
    ]
    assert 0.9 * 700 < np.max(sizes) <= 700
