"""Input ablation: neither training nor a stream shows the model an ablated input."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from prospect_core.model.configuration import DSTSmolVLMConfig
from prospect_core.records import Knobs
from prospect_core.sequence.builder import SequenceBuilder
from prospect_core.sequence.layout import Context
from prospect_core.stream.runner import VLMStreamRunner
from prospect_core.stream.teacher_forcing import run_teacher_forcing
from prospect_core.timeline import DialogState, Episode, Event, Step, Task
from prospect_core.train.config.compose import compose_config
from prospect_core.train.data.window_sampler import WindowSampler
from prospect_core.util.errors import UserError

pytestmark = pytest.mark.integration

TASK = Task("tidy", (Step("S1", "wipe the cup"), Step("S2", "put the cup away")))
EVENTS = (
    Event("u", 1.0, "user", "What now?", frame=2),
    Event("a", 1.5, "assistant", "Wipe the cup.", frame=3),
    Event("d", 2.0, "transition", step="S1", change="start", frame=4),
    Event("e", 3.0, "transition", step="S1", change="complete", frame=6),
    Event("b", 3.0, "assistant", "Good.", frame=6),
)
EPISODE = Episode("e", "v.mp4", 2, 0, 10, TASK, EVENTS, file_order=True).validate()


@pytest.fixture
def plain(model, tokenizer):
    return model, tokenizer


def lacking(plain, *ablated_inputs):
    model, tokenizer = plain
    model.config.ablated_inputs = list(ablated_inputs)
    return model, tokenizer, SequenceBuilder.of(model.config, tokenizer)


def told(builder, sequence):
    return builder.tokenizer.decode(sequence.ids)


def test_ablated_pictures_are_black(plain):
    model, _, _ = lacking(plain, "pictures")
    size = model.config.image_size
    pixels = torch.rand(2, 3, size, size)
    assert torch.equal(model.encode_frames(pixels), model.encode_frames(-torch.ones(2, 3, size, size)))
    model.config.ablated_inputs = []
    assert not torch.equal(model.encode_frames(pixels), model.encode_frames(-torch.ones(2, 3, size, size)))


def test_ablated_pictures_have_other_vision_digest(plain):
    from prospect_core.features.feature_cache import feature_cache_vision_digest

    model, _, _ = lacking(plain)
    before = feature_cache_vision_digest(model)
    model.config.ablated_inputs = ["pictures"]
    assert feature_cache_vision_digest(model) != before


def test_ablated_steps_prompt_has_only_ids(plain):
    _, _, builder = lacking(plain, "steps")
    prompt = builder.prompt(TASK, Context(EPISODE.initial_state))
    assert "cup" not in prompt.text
    assert "S2 (not started): " in prompt.text
    assert len(prompt.markers) == 2


def test_ablated_state_is_absent_from_context(plain):
    model, tokenizer, builder = lacking(plain, "state")
    window = builder.window(EPISODE.window(5, 10), Context(EPISODE.state_at(4)))
    assert "progress" not in told(builder, window)
    assert "->" not in told(builder, window)
    runner = VLMStreamRunner(model, tokenizer, Knobs("none", None, 1.0, 0.0))
    runner.reset(TASK, EPISODE.state_at(4))
    size = model.config.image_size
    outputs = [runner.step(np.full((size, size, 3), k, np.uint8)) for k in range(6)]
    assert any(output.transitions for output in outputs)
    assert builder.special.dst not in runner.stream.context.ids
    assert "progress" not in tokenizer.decode(runner.stream.context.ids)


def test_ablated_past_stream_reads_each_frame_first(plain):
    model, tokenizer, builder = lacking(plain, "past")
    runner = VLMStreamRunner(model, tokenizer, Knobs("none", None, 1.0, 1.0))
    size = model.config.image_size
    frames = [np.random.default_rng(k).integers(0, 255, (size, size, 3), np.uint8) for k in range(4)]
    runner.reset(TASK, EPISODE.state_at(8))
    streamed = [runner.step(frame).speaking_prob for frame in frames]
    for frame, speaking in zip(frames, streamed, strict=True):
        runner.reset(TASK)
        assert runner.step(frame).speaking_prob == pytest.approx(speaking, abs=1e-6)
    prompt = len(runner.stream.prompt.ids)
    assert runner.length == prompt + builder.tokens_per_frame
    # the model gets a question with the frame on which it was asked
    runner.step(frames[0], "What now?")
    assert runner.length > prompt + 2 * builder.tokens_per_frame
    runner.step(frames[1])
    assert runner.length == prompt + builder.tokens_per_frame


def test_ablated_past_windows_have_one_frame(plain):
    _, _, builder = lacking(plain, "past")
    sampler = WindowSampler(recent_share=1, summary_share=0.5, progress_share=0, event_share=0.5)
    lengths = set()
    for seed in range(40):
        window = sampler.draw(random.Random(seed), EPISODE, builder, 512)
        sequence = window.tokens(builder)
        lengths.add(window.end - window.start)
        assert all(label >= 0 for states in sequence.states for label in states)
        assert "User:" not in told(builder, sequence)
    # the window of a reply starts with its question
    assert lengths == {1, 2}


def test_ablated_state_windows_label_visible_states(plain):
    _, _, builder = lacking(plain, "state")
    state = DialogState.initial(TASK).apply("S1", "start", 0.0)
    episode = Episode("e", "v.mp4", 2, 0, 4, TASK, (), state, file_order=True).validate()
    window = WindowSampler(min_frames=2, max_frames=2, progress_share=0).draw(random.Random(3), episode, builder, 512)
    assert all(label < 0 for states in window.tokens(builder).states for label in states) == (window.start > 0)


def test_ablated_past_teacher_forcing_raises(plain):
    model, tokenizer, builder = lacking(plain, "past")
    with pytest.raises(UserError, match="not possible for a model without the past"):
        run_teacher_forcing(model, tokenizer, EPISODE, torch.zeros(10, builder.tokens_per_frame, 8), 0.5)


def test_ablated_inputs_unknown_name_raises():
    with pytest.raises(ValueError, match="ablated_inputs sound: use any of pictures, steps, state, past"):
        DSTSmolVLMConfig(ablated_inputs=["sound"])
    with pytest.raises(UserError, match=r"model\.ablated_inputs"):
        compose_config(["model.ablated_inputs=[sound]"])
    assert compose_config(["model.ablated_inputs=[pictures,past]"])[0].model.ablated_inputs == ("pictures", "past")


def test_model_config_old_key_raises():
    with pytest.raises(ValueError, match=r"rename it in config\.json"):
        DSTSmolVLMConfig(lacks=["pictures"])
