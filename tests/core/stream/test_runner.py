"""The runner: the golden test, budgets, strategies, and the rules of updates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from prospect_core.data.frame_format import FrameFormat
from prospect_core.features.feature_cache import encode_feature_cache_pictures
from prospect_core.model.image_processing import process_images_to_pixels
from prospect_core.model.modeling import DSTSmolVLM
from prospect_core.records import Knobs
from prospect_core.sequence.builder import SequenceBuilder
from prospect_core.stream import forward
from prospect_core.stream.packed_forward import packed_forward
from prospect_core.stream.replay import replay_episode
from prospect_core.stream.runner import VLMStreamRunner
from prospect_core.timeline import DialogState, Episode, Event, Task
from prospect_core.util.errors import UserError
from tests.helpers.small_models import small_config
from tests.helpers.streams import TASK, Scripted, pictures, says

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("size", [{}, {"text_config": None}, {"tokens_per_frame": 1}, {"tie_word_embeddings": False}])
def test_runner_golden_stream_equals_one_forward(tokenizer, monkeypatch, size):
    """Compares a stream with KV cache, user turns, updates and answers with one pass over its
    tokens.
    """
    options = dict(size)
    if "text_config" in options:
        options["text_config"] = {**small_config(tokenizer).text_config.to_dict(), "num_hidden_layers": 4,
                                  "num_key_value_heads": 4, "hidden_size": 64}  # fmt: skip
    torch.manual_seed(1)
    model = DSTSmolVLM(small_config(tokenizer, **options)).eval()
    hidden: dict[int, torch.Tensor] = {}

    def recording(text, embeds, counts, caches, pool):
        (before,) = [cache.length for cache in caches]
        out = packed_forward(text, embeds, counts, caches, pool)
        # rejected draft tokens are overwritten, and padding tokens are left out
        hidden.update({before + k: out[k] for k in range(sum(counts))})
        return out

    monkeypatch.setattr(forward, "packed_forward", recording)
    wanted = {
        4: ("in_progress", "not_started"),
        9: ("completed", "in_progress"),
        13: ("completed", "completed"),
    }
    runner = Scripted(model, tokenizer, Knobs(), wanted, speaks={2, 9, 14})
    frames = pictures(18)
    runner.reset(TASK)
    outputs = [runner.step(f, {1: "What now?", 11: "How many are left?"}.get(k)) for k, f in enumerate(frames)]
    assert [o.frame for o in outputs if o.transitions] == [4, 9, 13]
    assert runner.stream.context.ids.count(runner.builder.special.asst) == 3
    streamed_TD = torch.stack([hidden[k] for k in range(runner.stream.context.cache.length)])
    assert len(streamed_TD) == len(runner.stream.context.ids) == runner.stream.context.cache.length == runner.length

    ids = torch.tensor([runner.stream.context.ids])
    image = ids[0] == runner.builder.special.image
    per_frame = model.config.tokens_per_frame
    frame_last = image.nonzero().flatten()[per_frame - 1 :: per_frame]
    markers = (ids[0] == runner.builder.special.step).nonzero().flatten()
    with torch.no_grad():
        whole = model(
            input_ids=ids,
            pixel_values=process_images_to_pixels(frames),
            frame_index=frame_last[None],
            marker_index=markers[None],
        )
        torch.testing.assert_close(
            model.lm_logits(streamed_TD), model.lm_logits(whole.hidden_BTD[0]), atol=1e-4, rtol=0
        )
    for k, (speaking, update, state) in enumerate(runner.raw):
        torch.testing.assert_close(speaking, whole.speaking_BF[0, k], atol=1e-4, rtol=0)
        torch.testing.assert_close(update, whole.update_BF[0, k], atol=1e-4, rtol=0)
        torch.testing.assert_close(state, whole.state_BFK3[0, k], atol=1e-4, rtol=0)


def test_runner_tokens_equal_training_sequence(model, tokenizer, monkeypatch):
    """The predictions, written as an episode, give the same tokens in the training builder."""
    wanted = {3: ("in_progress", "not_started"), 8: ("completed", "in_progress")}
    runner = Scripted(model, tokenizer, Knobs(), wanted, speaks={5, 8})
    said = iter(["Good.", "Next, the blue ball."])
    says(monkeypatch, runner, said)
    events = [Event("u", 1.0, "user", "What now?", frame=4)]
    asked = Episode("e", "v", 2, 0, 12, TASK, tuple(events))
    record, _ = replay_episode(runner, asked, pictures(12), Knobs(), "x")
    predicted = [
        *(Event(f"d{k}", t.frame / 2, "transition", step=t.step, change=t.change, frame=t.frame)
          for k, t in enumerate(record.transitions)),
        *(Event(f"a{u.frame}", u.frame / 2, "assistant", u.text, frame=u.frame) for u in record.utterances),
    ]  # fmt: skip
    order = sorted([*events, *predicted], key=lambda e: (e.frame, {"transition": 0, "assistant": 1, "user": 2}[e.kind]))
    written = replace(asked, events=tuple(order), file_order=True).validate()
    builder = SequenceBuilder.of(model.config, tokenizer)
    assert builder.window(written).ids == runner.stream.context.ids
    assert [(u.frame, u.text) for u in record.utterances] == [(5, "Good."), (8, "Next, the blue ball.")]


@pytest.mark.parametrize("name", ["drop_all", "dst_refresh"])
def test_runner_stays_within_budget_and_records_compressions(model, tokenizer, name):
    least = VLMStreamRunner(model, tokenizer, Knobs(name, 10**6)).least_budget(TASK)
    knobs = Knobs(name, least + 20)
    runner = Scripted(model, tokenizer, knobs, {6: ("in_progress", "not_started")}, speaks=set(range(0, 80, 7)))
    users = tuple(Event(f"u{k}", k / 2, "user", "word " * 40, frame=k) for k in range(3, 70, 5))
    episode = Episode("e", "v", 2, 0, 80, TASK, users, file_order=True)
    record, timing = replay_episode(runner, episode, pictures(80), knobs, "x")
    assert record.problems() == []
    assert max(record.cache_tokens) <= knobs.budget
    assert len(record.compressions) >= 2
    for event in record.compressions:
        assert event.tokens_after <= knobs.budget // 2 < event.tokens_before
        assert event.bytes_after * event.tokens_before == event.bytes_before * event.tokens_after
    assert len(timing.compression_seconds) == len(record.compressions)


def test_runner_cache_bytes_are_exact(model, tokenizer):
    runner = VLMStreamRunner(model, tokenizer, Knobs())
    runner.reset(TASK)
    text = model.config.text_config
    per_token = (
        2 * text.num_hidden_layers * text.num_key_value_heads * (text.hidden_size // text.num_attention_heads) * 4
    )
    assert runner.step(pictures(1)[0]).cache_bytes == runner.length * per_token


def test_dst_refresh_keeps_state_and_last_words(model, tokenizer):
    """The origin dropped its summaries: a strategy's kept text must be in the following tokens."""
    knobs = Knobs("dst_refresh", VLMStreamRunner(model, tokenizer, Knobs("dst_refresh", 10**6)).least_budget(TASK))
    runner = Scripted(model, tokenizer, knobs, {4: ("in_progress", "not_started"), 5: ("completed", "not_started")})
    runner.reset(TASK, fps=2)
    compression = None
    for k, frame in enumerate(pictures(80)):
        compression = runner.step(frame, "Where is it?" if k == 8 else None).compression
        if compression:
            break
    assert compression is not None
    text = tokenizer.decode(runner.stream.context.ids)
    assert "S1 (completed 1st, 2 s): put the red cube in the box<step>" in text
    assert "S2 (not started): put the blue ball in the bin<step>" in text
    assert text.endswith("User: Where is it?\n")
    assert "[DST]" not in text
    assert runner.state["S1"] == "completed"


def test_drop_all_keeps_steps_without_states(model, tokenizer):
    knobs = Knobs("drop_all", VLMStreamRunner(model, tokenizer, Knobs("drop_all", 10**6)).least_budget(TASK))
    runner = Scripted(model, tokenizer, knobs, {4: ("in_progress", "not_started"), 5: ("completed", "not_started")})
    runner.reset(TASK)
    while not runner.step(pictures(1)[0]).compression:
        pass
    assert "S1: put the red cube in the box<step>" in tokenizer.decode(runner.stream.context.ids)
    assert runner.state["S1"] == "completed"


def test_runner_small_budget_names_smallest(model, tokenizer):
    runner = VLMStreamRunner(model, tokenizer, Knobs("drop_all", 50))
    least = runner.least_budget(TASK)
    with pytest.raises(UserError, match=f"at least {least} tokens"):
        runner.reset(TASK)
    VLMStreamRunner(model, tokenizer, Knobs("drop_all", least)).reset(TASK)


@pytest.mark.parametrize(
    ("name", "budget", "message"),
    [
        ("none", 100, "remove --budget"),
        ("drop_all", None, "needs a budget"),
        ("drop_al", 9, "did you mean 'drop_all'"),
    ],
)
def test_runner_knobs_without_effect_raise(model, tokenizer, name, budget, message):
    with pytest.raises(UserError, match=message):
        VLMStreamRunner(model, tokenizer, Knobs(name, budget))


def test_runner_lasting_jump_is_start_and_complete(model, tokenizer):
    """Nearly all wrong jumps of a well-trained model are shorter, and a written wrong jump misleads
    the model.
    """
    runner = Scripted(model, tokenizer, Knobs(), dict.fromkeys(range(4), ("completed", "in_progress")))
    runner.reset(TASK)
    outputs = [runner.step(frame) for frame in pictures(4)]
    assert [[(t.step, t.change) for t in o.transitions] for o in outputs] == [
        [("S2", "start")], [], [], [("S1", "start"), ("S1", "complete")]
    ]  # fmt: skip
    assert not any(o.refusals for o in outputs)
    assert tokenizer.decode(runner.stream.context.ids).endswith("[DST]S1->start; S1->complete<eos>")


def test_runner_illegal_update_is_refused_and_counted(model, tokenizer):
    start = DialogState(TASK.step_ids, ("completed", "not_started"), (("S1", 0.0),))
    rest = model.config.update_rest_frames = 2
    wanted = dict.fromkeys(range(10), ("not_started", "not_started"))
    runner = Scripted(model, tokenizer, Knobs(), wanted)
    runner.reset(TASK, start)
    outputs = [runner.step(f) for f in pictures(8)]
    assert [o.frame for o in outputs if o.refusals] == list(range(0, 8, rest + 1))
    assert outputs[0].refusals[0].wanted == "not_started"
    assert not any(o.transitions for o in outputs)
    assert "[DST]" not in tokenizer.decode(runner.stream.context.ids)
    assert runner.state == start


@pytest.mark.parametrize("at_once", [1, 4])
def test_runner_interrupted_jump_is_not_committed(model, tokenizer, at_once):
    """Of a span that is read in one call, only the last frame reaches the state tracker."""
    wanted = dict.fromkeys((0, 1, 3, 4, 5, 6), ("completed", "not_started"))
    runner = Scripted(model, tokenizer, Knobs(), wanted)
    runner.reset(TASK)
    frames, outputs = [(frame, None) for frame in pictures(8)], []
    while len(outputs) < 8:
        outputs += runner.advance(frames[len(outputs) : len(outputs) + at_once])
    assert [o.frame for o in outputs if o.transitions] == [6]


def test_runner_lasting_jump_with_illegal_update_is_committed(model, tokenizer):
    model.config.update_rest_frames = 2
    start = DialogState(TASK.step_ids, ("completed", "not_started"), (("S1", 0.0),))
    runner = Scripted(model, tokenizer, Knobs(), dict.fromkeys(range(8), ("not_started", "completed")))
    runner.reset(TASK, start)
    outputs = [runner.step(f) for f in pictures(8)]
    assert [o.frame for o in outputs if o.transitions] == [3]
    assert runner.state["S2"] == "completed"


def test_runner_update_after_empty_update_is_committed(model, tokenizer):
    """The frame before a change has no label, so an update can fire there too early; the rest
    period then lost the change.
    """
    model.config.update_rest_frames = 2
    runner = Scripted(model, tokenizer, Knobs(), {0: ("not_started", "not_started"), 1: ("in_progress", "not_started")})
    runner.reset(TASK)
    outputs = [runner.step(f) for f in pictures(2)]
    assert [[(t.step, t.change) for t in o.transitions] for o in outputs] == [[], [("S1", "start")]]


def test_runner_partly_legal_update_is_committed(model, tokenizer):
    start = DialogState(TASK.step_ids, ("completed", "not_started"), (("S1", 0.0),))
    runner = Scripted(model, tokenizer, Knobs(), {0: ("not_started", "in_progress"), 1: ("in_progress", "in_progress")})
    runner.reset(TASK, start)
    first, second = (runner.step(f) for f in pictures(2))
    assert [(t.step, t.change) for t in first.transitions] == [("S2", "start")]
    assert [r.step for r in first.refusals] == ["S1"]
    assert [(t.step, t.change) for t in second.transitions] == [("S1", "reopen")]


def test_runner_truncated_reply_is_marked(model, tokenizer):
    runner = Scripted(model, tokenizer, Knobs(), speaks={0})
    model.config.eos_token_id = len(tokenizer) - 1  # a token that a random model does not generate
    runner.builder.special = replace(runner.builder.special, eos=len(tokenizer) - 1)
    runner.reset(TASK)
    output = runner.step(pictures(1)[0])
    if output.utterance is not None:
        assert output.utterance.cut
        assert output.utterance.tokens == model.config.max_reply_tokens
    assert runner.stream.context.ids[-1] == len(tokenizer) - 1
    assert (
        runner.stream.context.cache.length == len(runner.stream.context.ids) - 1
    )  # the end token is read with the next tokens


def test_runner_reply_has_no_special_token(model, tokenizer):
    """An image slot in a reply would need a frame; a marker would be read as a command."""
    special = SequenceBuilder(tokenizer, 4).special
    embedding = model.model.text_model.get_input_embeddings()
    with torch.no_grad():
        embedding.weight[list(special.unsayable)] *= 50
    runner = Scripted(model, tokenizer, Knobs(), speaks=set(range(6)))
    runner.reset(TASK)
    for frame in pictures(6):
        runner.step(frame)
    assert runner.stream.context.ids.count(special.asst) == 6
    assert runner.stream.context.ids.count(special.image) == 6 * model.config.tokens_per_frame


def test_runner_task_without_steps_or_text(model, tokenizer):
    runner = VLMStreamRunner(model, tokenizer, Knobs(speaking_threshold=1.0, update_threshold=0.0))
    runner.reset(Task("watch"))
    output = runner.step(pictures(1)[0])
    assert output.state_probs.shape == (0, 3)
    assert (output.transitions, output.text) == ((), "")


def test_runner_step_before_reset_raises(model, tokenizer):
    with pytest.raises(UserError, match="reset"):
        VLMStreamRunner(model, tokenizer, Knobs()).step(pictures(1)[0])


def test_replay_is_deterministic_for_pictures_and_features(model, tokenizer, world):
    episode = replace(next(world.episodes("test")), end_frame=30, events=())
    source = world.frame_source(episode, FrameFormat(32))
    encoded = encode_feature_cache_pictures(model, source.frames(0, 30))
    runner = VLMStreamRunner(model, tokenizer, Knobs(speaking_threshold=0.45))
    one, _ = replay_episode(runner, episode, encoded, runner.knobs, "x")
    two, _ = replay_episode(runner, episode, encoded, runner.knobs, "x")
    assert one == two
    seen, _ = replay_episode(runner, episode, list(source.frames(0, 30)), runner.knobs, "x")
    np.testing.assert_allclose(seen.speaking_prob, one.speaking_prob, atol=1e-4)


def test_runner_user_turn_is_read_before_next_frame(model, tokenizer):
    runner = VLMStreamRunner(model, tokenizer, Knobs(speaking_threshold=1.0, update_threshold=1.0))
    episode = Episode("e", "v", 2, 10, 14, TASK, (Event("u", 5.5, "user", "Hm?"),)).validate()
    replay_episode(runner, episode, pictures(4), runner.knobs, "x")
    body = tokenizer.decode(runner.stream.context.ids).split("<image>", 1)[1]
    image = "<image>" * 4
    assert ("<image>" + body) == image * 2 + "[USER]Hm?" + image * 2
